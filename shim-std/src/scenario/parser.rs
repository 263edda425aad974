//! From tokens to statements: recursive descent, one function a construct.
//!
//! The first syntax error ends the parse; guessing how to go on would only add errors that are not there. Depth is
//! counted in [`Parser::enter`], so neither the parser nor anything that walks the tree later can overflow the stack.

use ifnet::Errno;

use super::ast::{Expect, Part, Script, Stmt, StmtKind, Word};
use super::diag::{Diagnostic, quote};
use super::lexer::{MAX_DEPTH, RawPart, RawWord, Tok, Token, tokens, too_deep};
use super::source::Span;

/// The most words one command may have.
pub const MAX_WORDS: usize = 1024;

/// Parses `text[span]`, which already stands `depth` levels deep. No command is decoded.
pub(super) fn script(text: &str, span: Span, depth: usize) -> Result<Script, Diagnostic> {
    if depth > MAX_DEPTH {
        return Err(too_deep(span));
    }
    let tokens = tokens(text, span, depth)?;
    let stmts = Parser { tokens: &tokens, at: 0, end: span.end, depth }.statements(&Stop::End)?;
    Ok(Script { stmts })
}

/// What ends a list of statements.
enum Stop {
    End,
    Paren,
    Words(&'static [&'static str]),
}

/// Words that are no commands where a command may start.
const KEYWORDS: &[&str] = &[
    "for",
    "do",
    "done",
    "if",
    "then",
    "else",
    "elif",
    "fi",
    "{",
    "}",
    "!",
    "while",
    "until",
    "case",
    "esac",
    "function",
    "wait",
    "net_epoch",
    "expect",
];

/// True if `word` must be quoted to be a command's name.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    end: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Diagnostic>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn bump(&mut self) {
        self.at += 1;
    }

    /// The word here, if it is plain text.
    fn plain(&self) -> Option<&'t str> {
        match &self.peek()?.tok {
            Tok::Word(word) => word.plain(),
            _ => None,
        }
    }

    /// Where the next token is, or where the text ends.
    fn here(&self) -> Span {
        self.peek().map_or_else(|| Span::new(self.end, self.end), |token| token.span)
    }

    /// Where the token before this one is.
    fn last(&self) -> Span {
        self.at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map_or_else(|| Span::new(self.end, self.end), |t| t.span)
    }

    /// Goes one level deeper for `f`.
    fn enter<T>(&mut self, f: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.last()));
        }
        let out = f(self)?;
        self.depth -= 1;
        Ok(out)
    }

    fn unexpected(&self, wanted: &str) -> Diagnostic {
        let Some(token) = self.peek() else {
            return Diagnostic::new(self.here(), format!("the scenario ends here; {wanted} expected"));
        };
        let found = match &token.tok {
            Tok::Newline => "end of line".to_owned(),
            Tok::Semi => "`;`".to_owned(),
            Tok::Amp => "`&`".to_owned(),
            Tok::AndIf => "`&&`".to_owned(),
            Tok::OrIf => "`||`".to_owned(),
            Tok::Open => "`(`".to_owned(),
            Tok::Close => "`)`".to_owned(),
            Tok::Word(word) => word.plain().map_or_else(|| "word".to_owned(), quote),
        };
        Diagnostic::new(token.span, format!("unexpected {found}; {wanted} expected"))
    }

    fn skip_newlines(&mut self) {
        while matches!(self.peek(), Some(Token { tok: Tok::Newline, .. })) {
            self.bump();
        }
    }

    fn stops(&self, stop: &Stop) -> bool {
        match (stop, self.peek()) {
            (_, None) => true,
            (Stop::Paren, Some(token)) => matches!(token.tok, Tok::Close),
            (Stop::Words(words), Some(_)) => self.plain().is_some_and(|word| words.contains(&word)),
            (Stop::End, Some(_)) => false,
        }
    }

    /// Statements up to, and without, what `stop` names.
    fn statements(&mut self, stop: &Stop) -> Parsed<Vec<Stmt>> {
        let mut out = Vec::new();
        loop {
            while matches!(self.peek(), Some(Token { tok: Tok::Newline | Tok::Semi, .. })) {
                self.bump();
            }
            if self.stops(stop) {
                return Ok(out);
            }
            let stmt = self.statement()?;
            match self.peek().map(|token| &token.tok) {
                Some(Tok::Newline | Tok::Semi) => out.push(stmt),
                Some(Tok::Amp) => {
                    let span = stmt.span.to(self.here());
                    if matches!(stmt.kind, StmtKind::ExpectPanic(_) | StmtKind::Wait) {
                        return Err(Diagnostic::new(span, "this statement cannot run in the background"));
                    }
                    self.bump();
                    let body = match stmt.kind {
                        StmtKind::Subshell(body) | StmtKind::Group(body) => body,
                        kind => vec![Stmt { kind, ..stmt }],
                    };
                    out.push(Stmt { span, kind: StmtKind::Background(body) });
                }
                _ if self.stops(stop) => out.push(stmt),
                _ => return Err(self.unexpected("end of line, `;`, `&`, `&&` or `||`")),
            }
        }
    }

    /// A chain: `a && b && c || true`.
    fn statement(&mut self) -> Parsed<Stmt> {
        let mut chain = vec![self.simple()?];
        while let Some(Token { tok: Tok::AndIf, .. }) = self.peek() {
            self.bump();
            self.skip_newlines();
            chain.push(self.simple()?);
        }
        if let Some(Token { tok: Tok::OrIf, .. }) = self.peek() {
            let or = self.here();
            self.bump();
            if !matches!(self.plain(), Some("true" | ":")) {
                let wanted = Diagnostic::new(or.to(self.here()), "only `|| true` can follow a command");
                return Err(wanted.help("for a choice, write `if cmd; then …; else …; fi`"));
            }
            self.bump();
            if let Some(last) = chain.last_mut() {
                Self::tolerate(last, or)?;
            }
        }
        if chain.len() > 1 {
            if let Some(bad) = chain.iter().find(|s| matches!(s.kind, StmtKind::ExpectPanic(_) | StmtKind::Wait)) {
                return Err(Diagnostic::new(bad.span, "this statement cannot stand in a chain of `&&`"));
            }
            let span = chain[0].span.to(self.last());
            return Ok(Stmt { span, kind: StmtKind::AndThen(chain) });
        }
        chain.pop().ok_or_else(|| self.unexpected("a command"))
    }

    /// `|| true` after `stmt`.
    fn tolerate(stmt: &mut Stmt, or: Span) -> Parsed<()> {
        match &mut stmt.kind {
            StmtKind::Command { expect, .. } | StmtKind::Assign { expect, .. } if *expect == Expect::Success => {
                *expect = Expect::Any;
                Ok(())
            }
            StmtKind::Command { .. } | StmtKind::Assign { .. } => {
                Err(Diagnostic::new(or, "`!` and `|| true` contradict each other")
                    .help("`! cmd` must fail; `cmd || true` may fail"))
            }
            _ => Err(Diagnostic::new(or, "`|| true` can only follow a command")
                .help("put it behind each command that may fail")),
        }
    }

    /// One member of a chain, with the `!` before it.
    fn simple(&mut self) -> Parsed<Stmt> {
        let start = self.here();
        let expect = self.bang()?;
        let stmt = self.primary(expect)?;
        if expect != Expect::Success && !matches!(stmt.kind, StmtKind::Command { .. } | StmtKind::Assign { .. }) {
            return Err(Diagnostic::new(start, "`!` can only stand before a command"));
        }
        Ok(Stmt { span: start.to(stmt.span), ..stmt })
    }

    fn bang(&mut self) -> Parsed<Expect> {
        let Some(name) = self.plain().and_then(|word| word.strip_prefix('!')) else { return Ok(Expect::Success) };
        let span = self.here();
        self.bump();
        if name.is_empty() {
            return Ok(Expect::Failure(None));
        }
        match Errno::ALL.iter().find(|errno| errno.name() == name) {
            Some(&errno) => Ok(Expect::Failure(Some(errno))),
            None => {
                let names: Vec<&str> = Errno::ALL.iter().map(|errno| errno.name()).collect();
                Err(Diagnostic::new(span, format!("unknown error name {}", quote(name))).suggest(name, &names))
            }
        }
    }

    fn primary(&mut self, expect: Expect) -> Parsed<Stmt> {
        let start = self.here();
        let kind = match self.peek().map(|token| &token.tok) {
            Some(Tok::Open) => {
                self.bump();
                let body = self.enter(|p| p.statements(&Stop::Paren))?;
                if !matches!(self.peek(), Some(Token { tok: Tok::Close, .. })) {
                    return Err(Diagnostic::new(start, "`(` is not closed").help("add `)`"));
                }
                self.bump();
                StmtKind::Subshell(body)
            }
            Some(Tok::Word(word)) => match word.plain() {
                Some("for") => self.for_loop(start)?,
                Some("if") => self.if_else(start)?,
                Some("{") => StmtKind::Group(self.block(start)?),
                Some("net_epoch") => {
                    self.bump();
                    if self.plain() != Some("{") {
                        return Err(self.unexpected("`{`"));
                    }
                    let brace = self.here();
                    StmtKind::NetEpoch(self.block(brace)?)
                }
                Some("wait") => {
                    self.bump();
                    StmtKind::Wait
                }
                Some("expect") => self.expect_panic(start)?,
                Some("elif") => {
                    return Err(Diagnostic::new(start, "`elif` is not part of the scenario language")
                        .help("write `else`, and an `if` of its own inside"));
                }
                Some(name @ ("while" | "until" | "case" | "esac" | "function")) => {
                    let message = format!("`{name}` is not part of the scenario language");
                    return Err(
                        Diagnostic::new(start, message).help("a loop is written `for x in $(seq 10); do …; done`")
                    );
                }
                Some(name) if is_keyword(name) => return Err(self.unexpected("a command")),
                _ => self.command(expect)?,
            },
            _ => return Err(self.unexpected("a command")),
        };
        Ok(Stmt { span: start.to(self.last()), kind })
    }

    /// `{ … }`; the brace is here.
    fn block(&mut self, open: Span) -> Parsed<Vec<Stmt>> {
        self.bump();
        let body = self.enter(|p| p.statements(&Stop::Words(&["}"])))?;
        if self.peek().is_none() {
            return Err(Diagnostic::new(open, "`{` is not closed").help("add `}`"));
        }
        self.bump();
        Ok(body)
    }

    /// Takes a keyword that belongs to the construct opened at `open`.
    fn keyword(&mut self, word: &str, open: Span, of: &str) -> Parsed<()> {
        if self.plain() == Some(word) {
            self.bump();
            return Ok(());
        }
        match self.peek() {
            None => Err(Diagnostic::new(open, format!("this `{of}` has no `{word}`"))),
            Some(_) => Err(self.unexpected(&format!("`{word}`"))),
        }
    }

    fn for_loop(&mut self, start: Span) -> Parsed<StmtKind> {
        self.bump();
        let name = match self.plain() {
            Some(name) if is_name(name) => name.to_owned(),
            _ => return Err(self.unexpected("the name of a variable")),
        };
        self.bump();
        self.keyword("in", start, "for")?;
        let mut words = Vec::new();
        while let Some(Token { span, tok: Tok::Word(raw) }) = self.peek() {
            words.push(self.word(*span, raw)?);
            self.bump();
        }
        if !matches!(self.peek(), None | Some(Token { tok: Tok::Newline | Tok::Semi, .. })) {
            return Err(self.unexpected("`;` or end of line"));
        }
        while matches!(self.peek(), Some(Token { tok: Tok::Newline | Tok::Semi, .. })) {
            self.bump();
        }
        self.keyword("do", start, "for")?;
        let body = self.enter(|p| p.statements(&Stop::Words(&["done"])))?;
        self.keyword("done", start, "for")?;
        Ok(StmtKind::For { name, words, body })
    }

    fn if_else(&mut self, start: Span) -> Parsed<StmtKind> {
        self.bump();
        let cond = Box::new(self.enter(Self::statement)?);
        if matches!(cond.kind, StmtKind::ExpectPanic(_) | StmtKind::Wait) {
            return Err(Diagnostic::new(cond.span, "this statement cannot be a condition"));
        }
        while matches!(self.peek(), Some(Token { tok: Tok::Newline | Tok::Semi, .. })) {
            self.bump();
        }
        self.keyword("then", start, "if")?;
        let then = self.enter(|p| p.statements(&Stop::Words(&["else", "fi"])))?;
        let mut otherwise = Vec::new();
        if self.plain() == Some("else") {
            self.bump();
            otherwise = self.enter(|p| p.statements(&Stop::Words(&["fi"])))?;
        }
        self.keyword("fi", start, "if")?;
        Ok(StmtKind::If { cond, then, otherwise })
    }

    fn expect_panic(&mut self, start: Span) -> Parsed<StmtKind> {
        self.bump();
        if self.plain() != Some("panic") {
            return Err(self.unexpected("`panic \"TEXT\"`"));
        }
        self.bump();
        let Some(Token { span, tok: Tok::Word(raw) }) = self.peek() else {
            return Err(self.unexpected("the panic's text in quotes"));
        };
        let word = self.word(*span, raw)?;
        self.bump();
        match word.literal() {
            _ if self.depth > 0 => Err(Diagnostic::new(start, "`expect panic` can only stand at top level")),
            Some("") | None => Err(Diagnostic::new(*span, "the panic's text must be written out")),
            Some(text) => Ok(StmtKind::ExpectPanic(text.to_owned())),
        }
    }

    fn command(&mut self, expect: Expect) -> Parsed<StmtKind> {
        let mut words = Vec::new();
        while let Some(Token { span, tok: Tok::Word(raw) }) = self.peek() {
            if raw.plain() == Some("}") {
                break;
            }
            if words.is_empty()
                && let Some(assign) = self.assign(*span, raw, expect)?
            {
                return Ok(assign);
            }
            if words.len() == MAX_WORDS {
                return Err(Diagnostic::new(*span, format!("a command has at most {MAX_WORDS} words")));
            }
            words.push(self.word(*span, raw)?);
            self.bump();
        }
        if let Some(Token { tok: Tok::Open, .. }) = self.peek() {
            let help = "quote it to pass it on; functions are not part of the scenario language";
            return Err(self.unexpected("end of line, `;`, `&`, `&&` or `||`").help(help));
        }
        Ok(StmtKind::Command { words, expect })
    }

    /// `name=value`, if the word here is one.
    fn assign(&mut self, span: Span, raw: &RawWord, expect: Expect) -> Parsed<Option<StmtKind>> {
        let Some(RawPart::Text(text)) = raw.parts.first() else { return Ok(None) };
        let Some((name, value)) = text.split_once('=') else { return Ok(None) };
        if !is_name(name) || name.len() >= raw.plain {
            return Ok(None);
        }
        let mut word = self.word(span, raw)?;
        match word.parts.first_mut() {
            Some(Part::Text(text)) if !value.is_empty() => *text = value.to_owned(),
            _ => drop(word.parts.remove(0)),
        }
        word.verbatim = None;
        word.span.start += name.len() + 1;
        self.bump();
        if let Some(Token { tok: Tok::Word(next), .. }) = self.peek()
            && next.plain() != Some("}")
        {
            return Err(self.unexpected("end of line or `;`").help("an assignment stands alone, or quote the value"));
        }
        Ok(Some(StmtKind::Assign { name: name.to_owned(), value: word, expect }))
    }

    fn word(&mut self, span: Span, raw: &RawWord) -> Parsed<Word> {
        let mut parts = Vec::with_capacity(raw.parts.len());
        for part in &raw.parts {
            parts.push(match part {
                RawPart::Text(text) => Part::Text(text.clone()),
                RawPart::Var { name, suffix, quoted } => {
                    Part::Var { name: name.clone(), suffix: suffix.clone(), quoted: *quoted }
                }
                RawPart::Command { tokens, end, quoted } => {
                    let depth = self.depth + 1;
                    if depth > MAX_DEPTH {
                        return Err(too_deep(span));
                    }
                    let mut inner = Parser { tokens, at: 0, end: end.saturating_sub(1), depth };
                    Part::Command { body: inner.statements(&Stop::End)?, quoted: *quoted }
                }
            });
        }
        Ok(Word { span, parts, verbatim: raw.verbatim })
    }
}

/// True for the name of a variable.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

/// The name that would start an assignment if `text` stood where a command starts.
pub(super) fn starts_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| is_name(name))
}
