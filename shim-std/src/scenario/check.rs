//! What can be known before anything runs.
//!
//! A command whose words are all written out is decoded here, so that a slip in line 90 is reported before line 1 has run.
//! Of other commands the name is looked at. A literal `sh -c 'text'` is parsed in place. A variable that no statement ever
//! sets is reported too: the run could only stop there.

use std::collections::HashSet;

use super::ast::{Part, Stmt, StmtKind, Word, walk};
use super::command::{self, Arg, Cmd, decode};
use super::diag::{Diagnostic, Diagnostics, quote};
use super::parser;
use super::source::Span;

/// Everything wrong with `stmts` that does not depend on the run. `text` is what they were parsed from.
pub(super) fn check(text: &str, stmts: &[Stmt]) -> Vec<Diagnostic> {
    let mut checker = Checker { text, out: Vec::new() };
    checker.list(stmts, &HashSet::new(), 0);
    checker.out.sort_by_key(|item| item.span.start);
    checker.out
}

struct Checker<'t> {
    text: &'t str,
    out: Vec<Diagnostic>,
}

impl Checker<'_> {
    /// `outer` are the variables that an enclosing `sh -c` may find set.
    fn list(&mut self, stmts: &[Stmt], outer: &HashSet<&str>, depth: usize) {
        let mut names = outer.clone();
        walk(stmts, &mut |stmt| {
            if let StmtKind::Assign { name, .. } | StmtKind::For { name, .. } = &stmt.kind {
                names.insert(name);
            }
        });
        walk(stmts, &mut |stmt| {
            if self.out.len() >= Diagnostics::MAX {
                return;
            }
            for word in stmt.words() {
                self.variables(word, &names);
            }
            if let StmtKind::Command { words, .. } = &stmt.kind {
                self.command(words, &names, depth);
            }
        });
    }

    fn variables(&mut self, word: &Word, names: &HashSet<&str>) {
        for part in &word.parts {
            if let Part::Var { name, .. } = part
                && !names.contains(name.as_str())
            {
                let mut known: Vec<&str> = names.iter().copied().collect();
                known.sort_unstable();
                let message = format!("the variable {} is never set", quote(name));
                self.out.push(Diagnostic::new(word.span, message).suggest_only(name, &known));
            }
        }
    }

    fn command(&mut self, words: &[Word], names: &HashSet<&str>, depth: usize) {
        let literal: Option<Vec<Arg>> = words.iter().map(Arg::literal).collect();
        let Some(argv) = literal else {
            if let Some(name) = words.first().and_then(Arg::literal)
                && let Err(error) = command::known(&name)
            {
                self.out.push(error);
            }
            return;
        };
        self.argv(&argv, names, depth);
    }

    /// Decodes a command, and the command inside it, and the one inside that.
    fn argv(&mut self, argv: &[Arg], names: &HashSet<&str>, depth: usize) {
        let mut owned: Vec<Arg>;
        let mut argv = argv;
        for _ in 0..parser::MAX_WORDS {
            match decode(argv) {
                Err(error) => return self.out.push(error),
                Ok(Cmd::ShC(text)) => return self.shell(&text, names, depth + 1),
                Ok(command) => match command.into_inner() {
                    Some(rest) => owned = rest,
                    None => return,
                },
            }
            argv = &owned;
        }
    }

    fn shell(&mut self, arg: &Arg, names: &HashSet<&str>, depth: usize) {
        match arg.verbatim {
            Some(at) => match parser::script(self.text, Span::new(at, at + arg.text.len()), depth) {
                Ok(script) => self.list(&script.stmts, names, depth),
                Err(error) => self.out.push(error),
            },
            // The text is not in the source as it is, so its errors can only point at the whole of it.
            None => {
                let mut inner = Checker { text: &arg.text, out: Vec::new() };
                match parser::script(&arg.text, Span::new(0, arg.text.len()), depth) {
                    Ok(script) => inner.list(&script.stmts, names, depth),
                    Err(error) => inner.out.push(error),
                }
                self.out.extend(inner.out.into_iter().map(|item| Diagnostic { span: arg.span, ..item }));
            }
        }
    }
}
