//! The canonical text of a scenario: one statement a line, blocks indented, quotes only where they are needed.
//!
//! What is printed parses back to an equal tree. A fuzzer's or a minimiser's scenario can so be kept as a file, and a
//! story can quote its statements.

use core::fmt::{self, Display, Formatter, Write};

use super::ast::{Expect, Part, Script, Stmt, StmtKind, Word};
use super::parser::{is_keyword, starts_assignment};

impl Display for Script {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        lines(f, &self.stmts, 0)
    }
}

impl Display for Stmt {
    /// The statement on one line.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StmtKind::Command { words, expect } => command(f, words, *expect),
            StmtKind::AndThen(chain) => {
                for (n, stmt) in chain.iter().enumerate() {
                    write!(f, "{}{stmt}", if n == 0 { "" } else { " && " })?;
                }
                Ok(())
            }
            StmtKind::Assign { name, value, expect } => {
                bang(f, *expect)?;
                write!(f, "{name}=")?;
                if !value.parts.is_empty() {
                    word(f, value)?;
                }
                or_true(f, *expect)
            }
            StmtKind::Background(body) => write!(f, "( {}) &", Inline(body)),
            StmtKind::Subshell(body) => write!(f, "( {})", Inline(body)),
            StmtKind::Group(body) => write!(f, "{{ {}}}", Inline(body)),
            StmtKind::Wait => f.write_str("wait"),
            StmtKind::For { body, .. } => {
                for_head(f, self)?;
                write!(f, "; do {}done", Inline(body))
            }
            StmtKind::If { cond, then, otherwise } => {
                write!(f, "if {cond}; then {}", Inline(then))?;
                if !otherwise.is_empty() {
                    write!(f, "else {}", Inline(otherwise))?;
                }
                f.write_str("fi")
            }
            StmtKind::NetEpoch(body) => write!(f, "net_epoch {{ {}}}", Inline(body)),
            StmtKind::ExpectPanic(text) => {
                f.write_str("expect panic ")?;
                quoted(f, text)
            }
        }
    }
}

impl Display for Word {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        word(f, self)
    }
}

/// Statements on one line, each with its terminator and a blank behind it.
struct Inline<'a>(&'a [Stmt]);

impl Display for Inline<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for stmt in self.0 {
            let end = if matches!(stmt.kind, StmtKind::Background(_)) { "" } else { ";" };
            write!(f, "{stmt}{end} ")?;
        }
        Ok(())
    }
}

fn lines(f: &mut Formatter<'_>, stmts: &[Stmt], level: usize) -> fmt::Result {
    for stmt in stmts {
        indent(f, level)?;
        let block = |f: &mut Formatter<'_>, open: &str, body: &[Stmt], close: &str| {
            writeln!(f, "{open}")?;
            lines(f, body, level + 1)?;
            indent(f, level)?;
            writeln!(f, "{close}")
        };
        match &stmt.kind {
            StmtKind::Background(body) => block(f, "(", body, ") &")?,
            StmtKind::Subshell(body) => block(f, "(", body, ")")?,
            StmtKind::Group(body) => block(f, "{", body, "}")?,
            StmtKind::NetEpoch(body) => block(f, "net_epoch {", body, "}")?,
            StmtKind::For { body, .. } => {
                for_head(f, stmt)?;
                block(f, "; do", body, "done")?;
            }
            StmtKind::If { cond, then, otherwise } => {
                write!(f, "if {cond}; ")?;
                if otherwise.is_empty() {
                    block(f, "then", then, "fi")?;
                } else {
                    block(f, "then", then, "else")?;
                    lines(f, otherwise, level + 1)?;
                    indent(f, level)?;
                    writeln!(f, "fi")?;
                }
            }
            _ => writeln!(f, "{stmt}")?,
        }
    }
    Ok(())
}

fn indent(f: &mut Formatter<'_>, level: usize) -> fmt::Result {
    write!(f, "{:width$}", "", width = level * 4)
}

fn for_head(f: &mut Formatter<'_>, stmt: &Stmt) -> fmt::Result {
    if let StmtKind::For { name, words, .. } = &stmt.kind {
        write!(f, "for {name} in")?;
        for item in words {
            write!(f, " {item}")?;
        }
    }
    Ok(())
}

fn bang(f: &mut Formatter<'_>, expect: Expect) -> fmt::Result {
    match expect {
        Expect::Failure(Some(errno)) => write!(f, "!{} ", errno.name()),
        Expect::Failure(None) => f.write_str("! "),
        Expect::Success | Expect::Any => Ok(()),
    }
}

fn or_true(f: &mut Formatter<'_>, expect: Expect) -> fmt::Result {
    if expect == Expect::Any { f.write_str(" || true") } else { Ok(()) }
}

fn command(f: &mut Formatter<'_>, words: &[Word], expect: Expect) -> fmt::Result {
    bang(f, expect)?;
    for (n, item) in words.iter().enumerate() {
        if n > 0 {
            f.write_char(' ')?;
        }
        match item.parts.first() {
            // At the start of a command some plain words mean something else.
            Some(Part::Text(text))
                if n == 0 && (is_keyword(text) || text.starts_with('!') || starts_assignment(text)) =>
            {
                quoted(f, text)?;
                parts(f, &item.parts[1..])?;
            }
            _ => word(f, item)?,
        }
    }
    or_true(f, expect)
}

fn word(f: &mut Formatter<'_>, word: &Word) -> fmt::Result {
    match word.parts.as_slice() {
        [] => f.write_str("''"),
        [Part::Text(text)] if text == "}" => quoted(f, text),
        parts_ => parts(f, parts_),
    }
}

fn parts(f: &mut Formatter<'_>, parts: &[Part]) -> fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        match part {
            // A `#` is a comment at the start of a word only, but quoting it everywhere is simpler to read.
            Part::Text(text) if text.chars().all(is_plain) => f.write_str(text)?,
            Part::Text(text) => quoted(f, text)?,
            Part::Var { name, suffix, quoted } => {
                let mark = if *quoted { "\"" } else { "" };
                let tight = matches!(parts.get(n + 1), Some(Part::Text(next))
                    if next.starts_with(|c: char| c == '_' || c.is_ascii_alphanumeric()));
                match suffix {
                    Some(suffix) => write!(f, "{mark}${{{name}%{suffix}}}{mark}")?,
                    None if tight && !quoted => write!(f, "${{{name}}}")?,
                    None => write!(f, "{mark}${name}{mark}")?,
                }
            }
            Part::Command { body, quoted } => {
                let mark = if *quoted { "\"" } else { "" };
                let inner = Inline(body).to_string();
                let inner = inner.trim_end_matches(' ');
                let inner = inner.strip_suffix(';').unwrap_or(inner);
                let gap = if inner.starts_with('(') { " " } else { "" };
                write!(f, "{mark}$({gap}{inner}){mark}")?;
            }
        }
    }
    Ok(())
}

/// Characters that mean themselves outside quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:%+,=@!?[]*^~{}".contains(c)
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    if !text.contains('\'') {
        return write!(f, "'{text}'");
    }
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}
