//! A thread of a scenario: its variables, its vnet, its children, and how each statement runs.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use ifnet::{Errno, Thread};

use super::host::Host;
use super::world::World;
use super::{Fail, Status};
use crate::scenario::command::{Words, decode};
use crate::scenario::expand::{self, Env};
use crate::scenario::{Arg, Diagnostic, Diagnostics, Expect, Source, Span, Stmt, StmtKind, Word};

/// Why the script of a thread ends early.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// An expectation was not met. A condition that does not hold is one, too, until the `if` takes it.
    Expectation {
        /// The error that came, if it has a number.
        errno: Option<Errno>,
        diagnostics: Diagnostics,
    },
    /// A line that cannot be run.
    Syntax(Diagnostics),
}

/// A thread of a scenario.
pub(crate) struct Interp<'t, 'k, H: Host> {
    pub(crate) world: &'t Arc<World<H>>,
    pub(crate) td: &'t Thread<'k, H>,
    pub(crate) name: String,
    /// What the statements were parsed from: the scenario, or the text of a `sh -c`.
    pub(crate) source: Arc<Source>,
    /// How many `sh -c` this is inside.
    pub(crate) shells: usize,
    vars: BTreeMap<String, String>,
    /// The outputs being captured, innermost last.
    captures: Vec<String>,
    children: Vec<H::Join>,
    /// How many `net_epoch` blocks this is inside.
    sections: usize,
    /// How many commands this is inside: `jail -c command=…` runs others.
    commands: usize,
    /// The invariants are looked at after commands that no other overlaps.
    pub(crate) checks: bool,
    /// How the last `$( … )` of the word being expanded ended.
    substituted: Result<(), Stop>,
}

impl<'t, 'k, H: Host> Interp<'t, 'k, H> {
    pub(crate) fn new(world: &'t Arc<World<H>>, td: &'t Thread<'k, H>, name: &str, source: Arc<Source>) -> Self {
        Self {
            world,
            td,
            name: name.to_owned(),
            source,
            shells: 0,
            vars: BTreeMap::new(),
            captures: Vec::new(),
            children: Vec::new(),
            sections: 0,
            commands: 0,
            checks: true,
            substituted: Ok(()),
        }
    }

    /// Runs a whole script, and waits for what it started, however it ended.
    pub(crate) fn script(&mut self, stmts: &[Stmt]) -> Result<(), Stop> {
        let done = self.block(stmts);
        self.wait();
        done
    }

    pub(crate) fn block(&mut self, stmts: &[Stmt]) -> Result<(), Stop> {
        stmts.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), Stop> {
        match &stmt.kind {
            StmtKind::Command { words, expect } => {
                let status = self.command(words, stmt.span)?;
                self.judge(*expect, status, stmt.span)
            }
            StmtKind::AndThen(chain) => self.and_then(chain),
            StmtKind::Assign { name, value, expect } => {
                self.substituted = Ok(());
                let value = self.expand(value)?;
                self.vars.insert(name.clone(), value);
                let status = match core::mem::replace(&mut self.substituted, Ok(())) {
                    Ok(()) => Ok(()),
                    Err(Stop::Expectation { errno, diagnostics }) => {
                        Err(Fail { errno, cause: Some(diagnostics), what: None })
                    }
                    Err(stop) => return Err(stop),
                };
                self.judge(*expect, status, stmt.span)
            }
            StmtKind::Background(body) => {
                self.spawn(body);
                Ok(())
            }
            StmtKind::Subshell(body) => {
                let vars = self.vars.clone();
                let done = self.block(body);
                self.vars = vars;
                done
            }
            StmtKind::Group(body) => self.block(body),
            StmtKind::Wait => {
                self.wait();
                Ok(())
            }
            StmtKind::For { name, words, body } => {
                let values = expand::fields(words, self).map_err(|error| self.unexpanded(error))?;
                for value in values {
                    self.vars.insert(name.clone(), value);
                    self.block(body)?;
                }
                Ok(())
            }
            StmtKind::If { cond, then, otherwise } => match self.stmt(cond) {
                Ok(()) => self.block(then),
                Err(Stop::Expectation { .. }) => self.block(otherwise),
                Err(stop) => Err(stop),
            },
            StmtKind::NetEpoch(body) => self.section(|this| this.block(body)),
            StmtKind::ExpectPanic(text) => {
                self.world.host().expect_panic(text);
                Ok(())
            }
        }
    }

    /// A failure before the last one ends the chain and is none of the script's.
    fn and_then(&mut self, chain: &[Stmt]) -> Result<(), Stop> {
        let Some((last, others)) = chain.split_last() else { return Ok(()) };
        for stmt in others {
            match self.stmt(stmt) {
                Err(Stop::Expectation { .. }) => return Ok(()),
                done => done?,
            }
        }
        self.stmt(last)
    }

    /// Starts a thread, in the vnet and with a copy of the variables of this one.
    fn spawn(&mut self, body: &[Stmt]) {
        let span = body.first().map_or_else(Span::default, |stmt| stmt.span);
        let body = body.to_vec();
        self.start(span, move |child| child.script(&body));
    }

    /// Starts a thread that does what `body` says, which stands at `span`.
    pub(crate) fn start(
        &mut self,
        span: Span,
        body: impl FnOnce(&mut Interp<'_, '_, H>) -> Result<(), Stop> + Send + 'static,
    ) {
        let world = Arc::clone(self.world);
        let (vnet, source, vars) = (self.td.curvnet(), Arc::clone(&self.source), self.vars.clone());
        let (name, shells) = (world.thread_name(), self.shells);
        let called = name.clone();
        let run = move || {
            match world.kernel.thread() {
                Ok(td) => world.host().enter(td.id(), || {
                    let _cur = td.curvnet_set(Some(vnet));
                    let mut child = Interp { vars, shells, ..Interp::new(&world, &td, &called, source) };
                    let done = body(&mut child);
                    world.stopped(done);
                }),
                Err(errno) => {
                    let what = Diagnostic::new(span, "too many threads at a time");
                    let diagnostics = Diagnostics::new((*source).clone(), vec![what]);
                    world.stopped(Err(Stop::Expectation { errno: Some(errno), diagnostics }));
                }
            }
            drop(world);
        };
        self.children.push(self.world.host().spawn(name, Box::new(run)));
    }

    /// `net_epoch { … }`.
    pub(crate) fn section<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> R {
        let td = self.td;
        let _section = td.net_epoch_enter();
        self.sections += 1;
        let done = body(self);
        self.sections -= 1;
        done
    }

    /// Joins everything that this thread has started.
    pub(crate) fn wait(&mut self) {
        let children = core::mem::take(&mut self.children);
        if !children.is_empty() {
            self.world.host().join(&children);
        }
    }

    /// Expands, decodes and runs a command.
    fn command(&mut self, words: &[Word], span: Span) -> Result<Status, Stop> {
        let mut argv = Vec::with_capacity(words.len());
        for word in words {
            argv.push(match Arg::literal(word) {
                Some(arg) => arg,
                None => Arg::new(self.expand(word)?, word.span),
            });
        }
        // What a substitution inside a word came to is nobody's business but an assignment's.
        self.substituted = Ok(());
        self.argv(&argv, span)
    }

    /// Decodes and runs a command, and lets the host and the invariants know.
    pub(crate) fn argv(&mut self, argv: &[Arg], span: Span) -> Result<Status, Stop> {
        let cmd = decode(argv).map_err(|error| Stop::Syntax(self.at(error)))?;
        let text: &dyn fmt::Display = &Words(argv);
        let outermost = self.commands == 0;
        self.world.host().command_started(&self.name, text);
        if outermost {
            self.world.host().observer().command(self.td.id(), Some(text));
            self.world.begin();
        }
        self.commands += 1;
        let status = self.perform(cmd, span);
        self.commands -= 1;
        if outermost {
            // Inside a section the locks of the check cannot be taken.
            self.world.end(self.td, self.checks && self.sections == 0);
            self.world.host().observer().command(self.td.id(), None);
        }
        let result = match &status {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fail)) => Err(fail.errno),
            Err(_) => Err(None),
        };
        self.world.host().command_finished(&self.name, text, result);
        status
    }

    /// Looks at the invariants in the middle of a command.
    pub(crate) fn check_between(&self) {
        if self.sections == 0 {
            self.world.check_alone(self.td);
        }
    }

    /// Compares what came with what was expected.
    fn judge(&self, expect: Expect, status: Status, span: Span) -> Result<(), Stop> {
        let wanted = match (expect, &status) {
            (Expect::Any, _) | (Expect::Success, Ok(())) | (Expect::Failure(None), Err(_)) => return Ok(()),
            (Expect::Failure(Some(wanted)), Err(fail)) if fail.errno == Some(wanted) => return Ok(()),
            (Expect::Success, Err(_)) => "success",
            (Expect::Failure(None), Ok(())) => "a failure",
            (Expect::Failure(Some(wanted)), _) => wanted.name(),
        };
        let errno = status.as_ref().err().and_then(|fail| fail.errno);
        let diagnostics = match status {
            // The line inside says more than the line around it.
            Err(Fail { cause: Some(cause), .. }) if expect == Expect::Success => cause,
            Err(Fail { what: Some(what), .. }) => self.at(Diagnostic::new(span, what)),
            Err(Fail { errno: Some(errno), .. }) => {
                let what = format!("expected {wanted}, got {}", errno.name());
                self.at(Diagnostic::new(span, what).help(format!("{} is `{errno}`", errno.name())))
            }
            Err(_) => self.at(Diagnostic::new(span, format!("expected {wanted}, got a failure without a number"))),
            Ok(()) => self.at(Diagnostic::new(span, format!("expected {wanted}, got success"))),
        };
        Err(Stop::Expectation { errno, diagnostics })
    }

    fn at(&self, diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics::new((*self.source).clone(), vec![diagnostic])
    }

    fn expand(&mut self, word: &Word) -> Result<String, Stop> {
        expand::expand(word, self).map_err(|error| self.unexpanded(error))
    }

    fn unexpanded(&self, error: expand::ExpandError<Stop>) -> Stop {
        match error.diagnostic() {
            Ok(diagnostic) => Stop::Syntax(self.at(diagnostic)),
            Err(stop) => stop,
        }
    }

    /// Prints a line, to where the output of this command goes.
    pub(crate) fn print(&mut self, line: &str) {
        match self.captures.last_mut() {
            Some(capture) => {
                capture.push_str(line);
                capture.push('\n');
            }
            None => self.world.host().output(line),
        }
    }

    /// Runs `body` and returns what it printed.
    pub(crate) fn capture<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> (R, String) {
        self.captures.push(String::new());
        let result = body(self);
        (result, self.captures.pop().unwrap_or_default())
    }

    /// `sleep`: tasks of a kernel with one CPU get their turn, too.
    pub(crate) fn pause(&self, length: core::time::Duration) {
        self.world.host().pause(length);
        self.td.platform().preempt();
    }
}

impl<H: Host> Env for Interp<'_, '_, H> {
    type Error = Stop;

    fn variable(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    fn substitute(&mut self, body: &[Stmt]) -> Result<String, Stop> {
        // A subshell: its assignments do not leave it.
        let vars = self.vars.clone();
        let (done, output) = self.capture(|this| this.block(body));
        self.vars = vars;
        match done {
            Err(stop @ Stop::Syntax(_)) => Err(stop),
            done => {
                self.substituted = done;
                Ok(output)
            }
        }
    }
}
