//! The target `frames`: buffers through the driver graph while it changes.
//!
//! An input is a program of commands of eight bytes ([`ops`]): some change the graph (interfaces of all kinds are made,
//! stacked, moved between vnets, brought up and down, destroyed), the others send frames of all sorts into it, now, later
//! (`netisr_queue`, the queue of an open `tap`), or at one of the moments at which the core calls out in the middle of the
//! next change. The commands are lines of the scenario language, run by the runner, so that an input *is* a scenario.
//!
//! What must hold:
//!
//! | | where |
//! |---|---|
//! | every frame that was made, and every copy, ends exactly once: after each hand-over, and after each command none is left but those in queues | [`host`], [`Session::judge`] |
//! | nothing is handed to an interface that is dying or on no list, in another vnet than its own, or that is down | [`host`] |
//! | a frame makes a bounded number of hand-overs | [`host`] |
//! | where the graph has no ring, exactly those get it that should: not the port that it came from, nobody twice | [`oracle`] |
//! | the counters are what was seen | [`Session::judge`] |
//! | the invariants of the core, after each command; nothing is left in the end | the runner |

use std::collections::{BTreeMap, VecDeque};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use core::panic::AssertUnwindSafe;

use ifnet::hazard::HazardSet;
use ifnet::{Config, Errno, TaskMode};

use self::graph::{Graph, Id};
use self::host::{Armed, Wire};
use self::ops::{MAX_RECORDS, Op, View, choose};
use self::oracle::{Expected, Learned, expect};
use crate::runner::execute_with;
use crate::runner::interp::{Interp, Stop};
use crate::scenario::{Arg, Source, Span};

mod graph;
mod host;
mod ops;
mod oracle;
#[cfg(test)]
mod tests;

pub(super) use ops::RECORD;

/// The lines of a run, kept by the caller so that they outlive a panic.
type Lines = Arc<Mutex<Vec<String>>>;

/// Plays an input.
///
/// # Errors
/// What is wrong, and the scenario.
pub(super) fn check(bytes: &[u8], hazards: HazardSet) -> Result<(), String> {
    let (lines, ended) = play(bytes, hazards);
    ended.map_err(|what| format!("{what}\n\n{lines}"))
}

/// The scenario that an input is, as far as it comes.
pub(super) fn text(bytes: &[u8]) -> String {
    play(bytes, HazardSet::empty()).0
}

fn play(bytes: &[u8], hazards: HazardSet) -> (String, Result<(), String>) {
    let lines = Lines::default();
    let ended = catch_unwind(AssertUnwindSafe(|| run(bytes, hazards, &lines))).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(text.unwrap_or_else(|| "a panic".to_owned()))
    });
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    (lines.iter().map(|line| format!("{line}\n")).collect(), ended)
}

/// A kernel for the thread that runs the program, and a worker.
fn config(hazards: HazardSet) -> Config {
    Config::default().threads(2).tasks(TaskMode::Deferred).hazards(hazards)
}

fn run(bytes: &[u8], hazards: HazardSet, lines: &Lines) -> Result<(), String> {
    let records = bytes.chunks(RECORD).take(MAX_RECORDS).map(|chunk| {
        let mut record = [0; RECORD];
        record[..chunk.len()].copy_from_slice(chunk);
        record
    });
    let mut wrong = Ok(());
    let source = Source::new("frames", "");
    let failure = execute_with(Wire::new(), &source, config(hazards), |main| {
        let mut session = Session::new(main, Arc::clone(lines));
        wrong = Wire::watch(main.td, &main.world.frames).map_err(|errno| errno.to_string());
        for record in records {
            if wrong.is_err() {
                break;
            }
            wrong = session.next(main, record)?;
        }
        main.td.platform().probe().begin(None);
        Ok(())
    });
    wrong.and_then(|()| failure.map_err(|failure| failure.to_string()))
}

type Main<'t, 'k> = Interp<'t, 'k, Wire>;

/// A run: what is known of the graph and what waits, beside the kernel.
struct Session {
    graph: Graph,
    learned: Learned,
    pairs: BTreeMap<Id, Id>,
    /// Open devices, in the order in which the runner has them.
    open: Vec<(String, Id)>,
    /// Frames that wait with the interface that they came in through.
    netisr: VecDeque<(Id, Vec<u8>)>,
    armed: Option<(Armed, String)>,
    lines: Lines,
}

impl Session {
    fn new(main: &Main<'_, '_>, lines: Lines) -> Self {
        let pairs = BTreeMap::new();
        let graph = Graph::read(main.td, &main.world.vnets(), &pairs);
        Self {
            graph,
            learned: Learned::default(),
            pairs,
            open: Vec::new(),
            netisr: VecDeque::new(),
            armed: None,
            lines,
        }
    }

    fn say(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Runs the command of a record; what is wrong after it.
    fn next(&mut self, main: &mut Main<'_, '_>, record: [u8; RECORD]) -> Result<Result<(), String>, Stop> {
        let mut jails = vec![("0".to_owned(), 0)];
        let named = main.world.tables.lock();
        jails.extend(named.jails.iter().filter_map(|jail| Some((jail.name.clone(), jail.vnet.as_ref()?.id()))));
        drop(named);
        let open: Vec<_> = {
            let probe = main.td.platform().probe();
            let waits = |id| probe.queued.get(id).copied().unwrap_or_default();
            self.open.iter().map(|(name, id)| (name.clone(), *id, waits(id))).collect()
        };
        let op = choose(&View { jails: &jails, graph: &self.graph, open: &open }, record);
        let known: Vec<_> = self.graph.0.values().map(|node| node.id).collect();
        let expected = match &op {
            Op::Send { on, out, bytes, .. } => expect(&self.graph, &mut self.learned, on.index, *out, bytes),
            Op::Write { name, bytes, .. } => self.write(name, bytes),
            Op::Run => match self.netisr.len() {
                0 => Some(Expected::default()),
                1 => self.netisr.pop_front().and_then(|(on, bytes)| self.arrives(on, &bytes)),
                _ => None,
            },
            _ => None,
        };
        if expected.is_none() {
            self.doubt(&op);
        }
        let done = self.perform(main, &op)?;
        self.follow(main, &op, done, &known)?;
        let judged = self.judge(main, expected);
        self.graph.rebase();
        Ok(judged)
    }

    /// Does what the command says; its error, if it has one.
    fn perform(&mut self, main: &mut Main<'_, '_>, op: &Op) -> Result<Result<(), Option<Errno>>, Stop> {
        match op {
            Op::Line(line) | Op::Make(line) | Op::Open { line, .. } | Op::Close { line, .. } => {
                let armed = self.armed.take();
                self.give(main, line, armed)
            }
            Op::Send { line, .. } | Op::Queue { line, .. } | Op::Read { line, .. } | Op::Write { line, .. } => {
                self.give(main, line, None)
            }
            Op::Run => self.give(main, "kpi swi_net", None),
            Op::Arm { line, on, out, bytes, moment } => {
                self.armed = Some((Armed { moment: *moment, on: *on, out: *out, bytes: bytes.clone() }, line.clone()));
                Ok(Ok(()))
            }
        }
    }

    /// Runs a line, and a frame that is armed in the middle of it.
    fn give(
        &mut self,
        main: &mut Main<'_, '_>,
        line: &str,
        armed: Option<(Armed, String)>,
    ) -> Result<Result<(), Option<Errno>>, Stop> {
        let words: Vec<Arg> = line.split(' ').map(|word| Arg::new(word, Span::default())).collect();
        // A scenario has threads for what happens at the same time.
        if let Some((_, beside)) = &armed {
            self.say(format!("( {beside} || true ) &"));
        }
        let at = self.lines.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.say(line.to_owned());
        main.td.platform().probe().begin(armed.as_ref().map(|(armed, _)| armed.clone()));
        let done = main.argv(&words, Span::default())?.map_err(|fail| fail.errno);
        let written = match (&armed, &done) {
            (Some(_), _) => format!("{line} || true\nwait"),
            (None, Ok(())) => line.to_owned(),
            (None, Err(Some(errno))) => format!("!{} {line}", errno.name()),
            (None, Err(None)) => format!("! {line}"),
        };
        if let Some(last) = self.lines.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
            *last = written;
        }
        if let Some((armed, _)) = &armed {
            self.learned.doubt(&self.graph, &armed.bytes);
        }
        Ok(done)
    }

    /// What the command has changed beside the kernel.
    fn follow(
        &mut self,
        main: &mut Main<'_, '_>,
        op: &Op,
        done: Result<(), Option<Errno>>,
        known: &[Id],
    ) -> Result<(), Stop> {
        let probe = || main.td.platform().probe();
        match op {
            Op::Queue { on, bytes, .. } if done.is_ok() => self.netisr.push_back((*on, bytes.clone())),
            Op::Run => self.netisr.clear(),
            Op::Open { name, on, .. } if done.is_ok() => self.open.push((name.clone(), *on)),
            Op::Close { name, .. } => {
                if let Some((_, id)) = self.used(name).and_then(|_| self.open.pop()) {
                    probe().queued.remove(&id);
                }
            }
            Op::Read { name, .. } => {
                if let (Some(id), Ok(())) = (self.used(name), done) {
                    probe().queued.entry(id).and_modify(|waiting| *waiting -= 1);
                }
            }
            Op::Write { name, .. } => {
                self.used(name);
            }
            _ => {}
        }
        if matches!(
            op,
            Op::Arm { .. } | Op::Send { .. } | Op::Queue { .. } | Op::Run | Op::Read { .. } | Op::Write { .. }
        ) {
            return Ok(());
        }
        self.look(main, known);
        if let Op::Make(_) = op {
            let new: Vec<_> = self
                .graph
                .0
                .values()
                .filter(|node| !known.contains(&node.id))
                .map(|node| (node.vnet, node.name.clone()))
                .collect();
            for (vnet, name) in new {
                let jail = main
                    .world
                    .tables
                    .lock()
                    .jails
                    .iter()
                    .find(|jail| jail.vnet.as_ref().is_some_and(|it| it.id() == vnet))
                    .map(|jail| jail.name.clone());
                let line = jail
                    .map_or_else(|| format!("ifconfig {name} up"), |jail| format!("jexec {jail} ifconfig {name} up"));
                let _ = self.give(main, &line, None)?;
            }
            self.look(main, known);
        }
        Ok(())
    }

    /// Notes that a device was used: the runner has put it behind the others.
    fn used(&mut self, name: &str) -> Option<Id> {
        let at = self.open.iter().position(|(open, _)| open == name)?;
        let device = self.open.remove(at);
        let id = device.1;
        self.open.push(device);
        Some(id)
    }

    /// Reads the graph again.
    fn look(&mut self, main: &Main<'_, '_>, known: &[Id]) {
        let read = |pairs: &_| Graph::read(main.td, &main.world.vnets(), pairs);
        self.graph = read(&self.pairs);
        let new = self.graph.0.values().filter(|node| !known.contains(&node.id) && *node.ifp.dname() == *"epair");
        let ends: Vec<_> = new.map(|node| node.id).collect();
        if let [a, b] = ends[..] {
            self.pairs.extend([(a, b), (b, a)]);
            self.graph = read(&self.pairs);
        }
        let graph = &self.graph;
        let lives = |id: &Id| graph.get(id.index).is_some_and(|node| node.id == *id);
        self.pairs.retain(|id, _| lives(id));
        main.td.platform().probe().queued.retain(|id, _| lives(id));
        self.learned.forget(graph);
    }

    /// What a frame that is written to a device comes to.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Option<Expected> {
        let id = self.open.iter().find(|(open, _)| open == name)?.1;
        match self.graph.get(id.index).filter(|node| node.id == id) {
            Some(node) if node.up => expect(&self.graph, &mut self.learned, id.index, false, bytes),
            _ => Some(Expected::default()),
        }
    }

    /// What a frame that was queued comes to.
    fn arrives(&mut self, on: Id, bytes: &[u8]) -> Option<Expected> {
        match self.graph.get(on.index).filter(|node| node.id == on) {
            Some(_) => expect(&self.graph, &mut self.learned, on.index, false, bytes),
            None => Some(Expected::default()),
        }
    }

    /// What the bridges learn from the frames of a command that is too much for the oracle.
    fn doubt(&mut self, op: &Op) {
        let learned = &mut self.learned;
        match op {
            Op::Send { bytes, .. } | Op::Write { bytes, .. } => learned.doubt(&self.graph, bytes),
            Op::Run => self.netisr.iter().for_each(|(_, bytes)| learned.doubt(&self.graph, bytes)),
            _ => {}
        }
    }

    /// Compares what was seen with what must be.
    fn judge(&self, main: &Main<'_, '_>, expected: Option<Expected>) -> Result<(), String> {
        let mut probe = main.td.platform().probe();
        if let Some(what) = probe.wrong.take() {
            return Err(what);
        }
        let waiting: usize = probe.queued.values().sum::<usize>() + self.netisr.len();
        let live = main.world.frames.live();
        if live != waiting {
            return Err(format!("{live} frames live, {waiting} of them in queues"));
        }
        let Some(expected) = expected else { return Ok(()) };
        let name = |index: &u32| self.graph.get(*index).map_or("?", |node| &node.name);
        let names = |all: &[u32]| all.iter().map(name).collect::<Vec<_>>().join(" ");
        let mut sent: Vec<_> = probe.sent.iter().map(|(index, _)| *index).collect();
        let mut up = probe.up.clone();
        sent.sort_unstable();
        up.sort_unstable();
        if sent != expected.sent {
            return Err(format!("sent out of {}, in place of {}", names(&sent), names(&expected.sent)));
        }
        if up != expected.up {
            return Err(format!("arrived through {}, in place of {}", names(&up), names(&expected.up)));
        }
        for (index, node) in &self.graph.0 {
            let taken = |ok: bool| probe.sent.iter().filter(|entry| **entry == (*index, ok)).count();
            let seen = [expected.counted.get(index).copied().unwrap_or_default(), taken(true), taken(false)];
            if node.counted() != seen {
                let [counted, seen] = [node.counted(), seen].map(|all| format!("{all:?}"));
                return Err(format!("{} has counted {counted} in, out, refused; it was {seen}", node.name));
            }
        }
        Ok(())
    }
}
