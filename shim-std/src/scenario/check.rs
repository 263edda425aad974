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
    checker.list(stmts, None, 0);
    checker.out.sort_by_key(|item| item.span.start);
    checker.out
}

/// The variables that some statement sets, and those of the texts around a `sh -c`.
struct Scope<'a> {
    names: HashSet<&'a str>,
    outer: Option<&'a Self>,
}

impl Scope<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.contains(name) || self.outer.is_some_and(|outer| outer.has(name))
    }
}

struct Checker<'t> {
    text: &'t str,
    out: Vec<Diagnostic>,
}

impl Checker<'_> {
    /// `outer` are the variables that an enclosing `sh -c` may find set.
    fn list(&mut self, stmts: &[Stmt], outer: Option<&Scope<'_>>, depth: usize) {
        let mut names = HashSet::new();
        walk(stmts, &mut |stmt| {
            if let StmtKind::Assign { name, .. } | StmtKind::For { name, .. } = &stmt.kind {
                names.insert(name.as_str());
            }
        });
        let scope = Scope { names, outer };
        walk(stmts, &mut |stmt| {
            if self.out.len() >= Diagnostics::MAX {
                return;
            }
            for word in stmt.words() {
                self.variables(word, &scope);
            }
            if let StmtKind::Command { words, .. } = &stmt.kind {
                self.command(words, &scope, depth);
            }
        });
    }

    fn variables(&mut self, word: &Word, scope: &Scope<'_>) {
        for part in &word.parts {
            if let Part::Var { name, .. } = part
                && !scope.has(name)
            {
                let mut known: Vec<&str> = scope.names.iter().copied().collect();
                known.sort_unstable();
                let message = format!("the variable {} is never set", quote(name));
                self.out.push(Diagnostic::new(word.span, message).suggest_only(name, &known));
            }
        }
    }

    fn command(&mut self, words: &[Word], scope: &Scope<'_>, depth: usize) {
        let literal: Option<Vec<Arg>> = words.iter().map(Arg::literal).collect();
        let Some(argv) = literal else {
            if let Some(name) = words.first().and_then(Arg::literal)
                && let Err(error) = command::known(&name)
            {
                self.out.push(error);
            }
            return;
        };
        self.argv(&argv, scope, depth);
    }

    /// Decodes a command, and the command inside it, and the one inside that.
    fn argv(&mut self, argv: &[Arg], scope: &Scope<'_>, depth: usize) {
        let mut owned: Vec<Arg>;
        let mut argv = argv;
        for _ in 0..parser::MAX_WORDS {
            match decode(argv) {
                Err(error) => return self.out.push(error),
                Ok(Cmd::ShC(text)) => return self.shell(&text, scope, depth + 1),
                Ok(command) => match command.into_inner() {
                    Some(rest) => owned = rest,
                    None => return,
                },
            }
            argv = &owned;
        }
    }

    fn shell(&mut self, arg: &Arg, scope: &Scope<'_>, depth: usize) {
        match arg.verbatim {
            Some(at) => match parser::script(self.text, Span::new(at, at + arg.text.len()), depth) {
                Ok(script) => self.list(&script.stmts, Some(scope), depth),
                Err(error) => self.out.push(error),
            },
            // The text is not in the source as it is, so its errors can only point at the whole of it.
            None => {
                let mut inner = Checker { text: &arg.text, out: Vec::new() };
                match parser::script(&arg.text, Span::new(0, arg.text.len()), depth) {
                    Ok(script) => inner.list(&script.stmts, Some(scope), depth),
                    Err(error) => inner.out.push(error),
                }
                self.out.extend(inner.out.into_iter().map(|item| Diagnostic { span: arg.span, ..item }));
            }
        }
    }
}
