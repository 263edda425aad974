//! What each command does.

use core::mem;
use std::sync::Arc;

use ifnet::platform::Mutex as _;
use ifnet::{Errno, bpf_open, drivers};

use super::host::Host;
use super::interp::{Interp, Stop};
use super::{Done, Fail, Status};
use crate::scenario::command::{Arg, Cmd, Devctl, Test};
use crate::scenario::{Span, parse_sh};

impl<H: Host> Interp<'_, '_, H> {
    /// Runs a decoded command.
    pub(super) fn perform(&mut self, cmd: Cmd, span: Span) -> Done {
        let status = match cmd {
            Cmd::Ifconfig(call) => self.ifconfig(call),
            Cmd::JailCreate(jail) => return self.jail_create(jail, span),
            Cmd::JailRemove { jail, later: false } => self.jail_remove(&jail).map_err(Fail::from),
            Cmd::JailRemove { jail, later: true } => self.jail_remove_later(&jail).map_err(Fail::from),
            Cmd::Jls => {
                self.jls();
                Ok(())
            }
            Cmd::Jexec { jail, rest } => return self.jexec(&jail, &rest, span),
            Cmd::Devctl(Devctl::Attach(name)) => self.devctl_attach(&name).map_err(Fail::from),
            Cmd::Devctl(Devctl::Detach(name)) => self.devctl_detach(&name).map_err(Fail::from),
            Cmd::Kldload { module } => self.kldload(&module).map_err(Fail::from),
            Cmd::Kldunload { module } => self.kldunload(&module).map_err(Fail::from),
            Cmd::Tcpdump { interface } => self.tcpdump(&interface).map_err(Fail::from),
            Cmd::Ping { interface, to } => self.ping(&interface, to).map_err(Fail::from),
            Cmd::Kpi(kpi) => self.kpi(kpi).map_err(Fail::from),
            Cmd::Show(show) => self.show(show).map_err(Fail::from),
            Cmd::Order(events) => self.world.host().observer().in_order(&events).map_err(Fail::because),
            Cmd::Settle => {
                self.settle();
                Ok(())
            }
            Cmd::Sequence(text) => self.say(&format!("## {text}")),
            Cmd::Step(text) => self.say(&format!("  - {text}")),
            Cmd::Result(text) => self.say(&format!("    => {text}")),
            Cmd::Echo(text) => self.say(&text),
            Cmd::Errno { rest } => return self.errno(&rest, span),
            Cmd::Nomem { first, every, rest } => return self.nomem(first, every, &rest, span),
            Cmd::Sleep(length) => {
                self.pause(length);
                Ok(())
            }
            Cmd::Seq(seq) => (seq.first..=seq.last).try_for_each(|n| self.say(&n.to_string())),
            Cmd::Test(test) => judge(&test),
            Cmd::True => Ok(()),
            Cmd::False => Err(Fail::because("`false` fails")),
            Cmd::ShC(text) => return self.shell(&text),
            Cmd::Ip(ip) => return self.ip(ip, span),
        };
        Ok(status)
    }

    /// `settle`: until no other command and no work is under way, and nothing is queued or deferred. For one thread at a
    /// time: two would wait for each other.
    fn settle(&self) {
        self.world.wait_alone();
        while self.world.kernel.run_deferred(self.td) {}
        self.td.net_epoch_drain_callbacks();
        while self.world.kernel.run_deferred(self.td) {}
        self.world.wait_alone();
    }

    fn say(&mut self, line: &str) -> Status {
        self.print(line);
        Ok(())
    }

    /// `errno CMD…`: prints what came of it in the place of its output.
    fn errno(&mut self, rest: &[Arg], span: Span) -> Done {
        let (status, _) = self.capture(|this| this.argv(rest, span));
        let name = match status? {
            Ok(()) => "0",
            Err(fail) => fail.errno.map_or("1", Errno::name),
        };
        self.print(name);
        Ok(Ok(()))
    }

    /// `nomem FIRST EVERY CMD…`: the command while memory is refused, and once more when it is back if it has failed. What
    /// failed for lack of memory says so, and has changed nothing that keeps it from working.
    fn nomem(&mut self, first: u32, every: u32, rest: &[Arg], span: Span) -> Done {
        let before = self.world.host().refuse_none();
        self.world.host().refuse(first.into(), every.into());
        let status = self.argv(rest, span);
        let refused = self.world.host().refuse_none() - before;
        let Err(fail) = status? else { return Ok(Ok(())) };
        let wrong = match (fail.errno, refused) {
            (Some(Errno::ENOMEM), 0) => "ENOMEM, with memory".to_owned(),
            (_, 0) => return Ok(Err(fail)),
            (errno, _) => {
                self.check_between();
                let again = self.argv(rest, span)?;
                match (errno, &again) {
                    (Some(Errno::ENOMEM), Err(Fail { errno: Some(Errno::ENOMEM), .. })) => {
                        "ENOMEM again, with memory".to_owned()
                    }
                    (Some(Errno::ENOMEM), _) | (_, Err(_)) => return Ok(again),
                    (errno, Ok(())) => {
                        let said = errno.map_or("a failure without a number", Errno::name);
                        format!("{said} for lack of memory, in place of ENOMEM")
                    }
                }
            }
        };
        let command: Vec<&str> = rest.iter().map(|arg| arg.text.as_str()).collect();
        self.world.broken(format!("errno: {}: {wrong}", command.join(" ")));
        Ok(Ok(()))
    }

    /// `sh -c 'text'`. Fails if a command in it does.
    fn shell(&mut self, text: &Arg) -> Done {
        let (source, script) = parse_sh(&text.text, self.shells).map_err(Stop::Syntax)?;
        let outer = mem::replace(&mut self.source, Arc::new(source));
        self.shells += 1;
        let done = self.block(&script.stmts);
        self.shells -= 1;
        self.source = outer;
        match done {
            Ok(()) => Ok(Ok(())),
            Err(Stop::Expectation { errno, diagnostics }) => {
                Ok(Err(Fail { errno, cause: Some(diagnostics), what: None }))
            }
            Err(stop) => Err(stop),
        }
    }

    fn tcpdump(&mut self, interface: &str) -> Result<(), Errno> {
        let listener = bpf_open(self.td, interface)?;
        self.world.tables.lock().listeners.push(listener);
        Ok(())
    }

    fn kldload(&mut self, module: &str) -> Result<(), Errno> {
        let cloner = drivers::builtin().into_iter().find(|cloner| cloner.name == kind(module)).ok_or(Errno::ENOENT)?;
        self.world.kernel.register_cloner(self.td, cloner)
    }

    fn kldunload(&mut self, module: &str) -> Result<(), Errno> {
        self.world.kernel.deregister_cloner(self.td, kind(module))
    }
}

/// The kind of interface that a module brings: `if_epair` brings `epair`.
fn kind(module: &str) -> &str {
    module.strip_prefix("if_").unwrap_or(module)
}

fn judge(test: &Test) -> Status {
    if test.holds() {
        return Ok(());
    }
    Err(Fail::because(match test {
        Test::Equal(a, b) => format!("expected `{b}`, got `{a}`"),
        Test::Unequal(a, _) => format!("expected anything but `{a}`"),
        Test::Empty(a) => format!("expected nothing, got `{a}`"),
        Test::NonEmpty(_) => "expected something, got nothing".into(),
    }))
}
