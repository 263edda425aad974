//! Plays an input: its threads choose their operations as they come to them, and it chooses who runs.
//!
//! The threads are those of a scenario, run by the runner's own code, so that an input and the scenario of the same lines
//! pass the same scheduling points: the decisions of the one are a schedule of the other.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ifnet::hazard::HazardSet;
use ifnet::platform::Mutex as _;
use ifnet::{Config, Errno, TaskMode};

use super::input::{Input, Record, THREADS};
use super::ops::{Driver, Line, Own, View, choose};
use crate::explore::{Execution, Feed, Verdict};
use crate::host::shuttle::ShuttleHost;
use crate::runner::execute_with;
use crate::runner::explored::violation;
use crate::runner::interp::{Interp, Stop};
use crate::runner::world::Attached;
use crate::scenario::{Arg, Source, Span};

/// What an input is played as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On threads; records say when these are switched.
    Schedule,
    /// All on one thread; records say which allocations fail.
    Oom,
}

/// An input that is being played.
pub(crate) struct Play {
    input: Input,
    hazards: HazardSet,
    mode: Mode,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What each thread has given so far; 0 is the setup.
    lines: [Vec<Line>; THREADS + 1],
    /// The last operations that were about an interface, newest last, one for each thread: the thread, the index.
    recent: Vec<(usize, u32)>,
    /// Where each thread of the execution is.
    cursors: Vec<Cursor>,
    /// The worker has gone to sleep for the first time, or is about to.
    worker_waits: bool,
    /// Decisions made because a thread could not go on.
    forced: usize,
}

/// The operation that a thread is in, and how many decisions were made in it.
#[derive(Clone, Copy, Default)]
struct Cursor {
    leave: [u8; 2],
    to: u8,
    made: u32,
}

impl Cursor {
    /// How many decisions there are before the next at which the thread is left.
    fn stays(&self) -> u32 {
        let [first, second] = self.leave.map(u32::from);
        let ends = [(first, first), (second, first + second)];
        let ahead = ends.into_iter().filter(|&(given, at)| given != 0 && at > self.made);
        ahead.map(|(_, at)| at - self.made - 1).min().unwrap_or(u32::MAX)
    }
}

/// The number of the thread that is started before everything else.
const WORKER: usize = 1;

/// What a thread calls the interface of its own, and the name that it gets: by the number of the thread, the setup first.
const DRIVERS: [(&str, &str); THREADS + 1] =
    [("own0", "h0"), ("own1", "h1"), ("own2", "h2"), ("own3", "h3"), ("own4", "h4")];

/// As many threads are there at a time: those of the input, the one that starts them, the worker; and some to spare.
const ALL_THREADS: usize = THREADS + 4;

type Thread<'t, 'k> = Interp<'t, 'k, ShuttleHost>;

impl Play {
    pub(crate) fn new(input: Input, hazards: HazardSet, mode: Mode) -> Arc<Self> {
        let worker = Cursor { leave: [input.worker[0], 0], to: input.worker[1], made: 0 };
        let state = State { cursors: vec![Cursor::default(), worker], ..State::default() };
        Arc::new(Self { input, hazards, mode, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done, as a scenario.
    pub(crate) fn text(&self) -> String {
        let written = |line: &Line| match line {
            Line { text, section: true, .. } => format!("net_epoch {{ {text} || true; }}"),
            Line { text, section: false, .. } => format!("{text} || true"),
        };
        let state = self.state();
        let mut text: String = state.lines[0].iter().map(|line| written(line) + "\n").collect();
        for thread in (1..=THREADS).filter(|thread| self.has(*thread)) {
            let lines = &state.lines[thread];
            text += "(\n";
            // It was started, but it did not come to anything.
            text += if lines.is_empty() { "  :\n" } else { "" };
            lines.iter().for_each(|line| text += &format!("  {}\n", written(line)));
            text += ") &\n";
        }
        text + "wait\nsettle\n"
    }

    /// Whether the thread has anything to do.
    fn has(&self, thread: usize) -> bool {
        self.mode == Mode::Schedule && self.input.records.iter().any(|record| record.thread() == Some(thread))
    }

    /// The main thread of the program.
    fn main(self: &Arc<Self>, main: &mut Thread<'_, '_>, execution: &Execution) -> Result<(), Stop> {
        // What one thread does is `lifecycle`'s to judge. Here it only takes time, and what is wrong stays so until the others
        // have done something.
        main.checks = self.mode == Mode::Oom;
        for text in start(self.input.start) {
            let _ = self.give(main, 0, Line { text: text.to_owned(), section: false, about: None })?;
        }
        for record in &self.input.records {
            match self.mode {
                Mode::Oom => self.refused(main, record)?,
                Mode::Schedule if record.thread().is_none() => self.next(main, execution, 0, record)?,
                Mode::Schedule => {}
            }
        }
        for thread in (1..=THREADS).filter(|thread| self.has(*thread)) {
            let (play, execution) = (Arc::clone(self), execution.clone());
            main.start(Span::default(), move |child| {
                let own = play.input.records.iter().filter(|record| record.thread() == Some(thread));
                own.clone().try_for_each(|record| play.next(child, &execution, thread, record))
            });
        }
        main.wait();
        main.checks = true;
        // What was queued ends by itself, not only because everything is taken down; and then the invariants hold.
        main.argv(&[Arg::new("settle", Span::default())], Span::default()).map(drop)
    }

    /// The next operation of a thread.
    fn next(
        &self,
        interp: &mut Thread<'_, '_>,
        execution: &Execution,
        thread: usize,
        record: &Record,
    ) -> Result<(), Stop> {
        let number = execution.thread().0.get() as usize - 1;
        // Decisions made so far belong to the operation before.
        execution.reconsider();
        {
            let mut state = self.state();
            let missing = (number + 1).saturating_sub(state.cursors.len());
            state.cursors.extend(core::iter::repeat_n(Cursor::default(), missing));
            state.cursors[number] = Cursor { leave: record.leave, to: record.to, made: 0 };
        }
        let line = choose(&self.view(interp, thread, record), record.pick);
        self.give(interp, thread, line).map(drop)
    }

    /// Runs a line; whether it fails is the emulated kernel's to say.
    fn give(&self, interp: &mut Thread<'_, '_>, thread: usize, line: Line) -> Result<Result<(), Option<Errno>>, Stop> {
        let mut words = Vec::with_capacity(8);
        words.extend(line.text.split(' ').map(|word| Arg::new(word, Span::default())));
        let section = line.section;
        {
            let mut state = self.state();
            if let Some(index) = line.about {
                state.recent.retain(|(other, _)| *other != thread);
                state.recent.push((thread, index));
            }
            state.lines[thread].push(line);
        }
        let status = match section {
            true => interp.section(|interp| interp.argv(&words, Span::default())),
            false => interp.argv(&words, Span::default()),
        }?;
        Ok(status.map_err(|fail| fail.errno))
    }

    /// What a thread can pick from. No lock is taken that another thread could hold at a scheduling point.
    fn view(&self, interp: &Thread<'_, '_>, thread: usize, record: &Record) -> View {
        let world = interp.world;
        let mut jails = Vec::with_capacity(4);
        jails.push((Cow::Borrowed("0"), 0));
        // Before the threads start nobody is in the way, and what they will drive can be made for them.
        let driver = if thread == 0 && self.mode == Mode::Schedule { usize::from(record.pick[1]) % 3 } else { thread };
        let (label, name) = DRIVERS[driver];
        let mut own = Driver { label, name, ..Driver::default() };
        let mut driven = Vec::new();
        world.host().execution().undisturbed(|| {
            let tables = world.tables.lock();
            let named =
                tables.jails.iter().filter_map(|jail| Some((Cow::Owned(jail.name.clone()), jail.vnet.as_ref()?.id())));
            jails.extend(named);
            driven.extend(tables.handles.values().filter_map(|handle| Some(handle.owner.as_ref()?.index())));
            let Some(handle) = tables.handles.get(own.label) else { return };
            let Some(owner) = &handle.owner else { return };
            own.index = Some(owner.index());
            own.own = match handle.attached {
                Attached::No => Own::Allocated,
                Attached::Plain => Own::Attached,
                Attached::Ether => Own::Ether,
            };
        });
        let listed = world.host().observer().listed(<[_]>::to_vec);
        let mut recent: Vec<u32> = {
            let state = self.state();
            state.recent.iter().rev().filter(|(other, _)| *other != thread).map(|(_, index)| *index).collect()
        };
        recent.extend(driven.iter().rev());
        // What was there last.
        recent.extend(listed.iter().rfind(|it| it.vnet.is_some()).map(|it| it.index));
        View { jails, listed, own, driven, recent }
    }

    /// An operation while memory is refused.
    fn refused(&self, interp: &mut Thread<'_, '_>, record: &Record) -> Result<(), Stop> {
        let mut line = choose(&self.view(interp, 0, record), record.pick);
        let [first, every] = record.leave;
        if first != 0 {
            line.text = format!("nomem {first} {every} {}", line.text);
        }
        if self.give(interp, 0, line.clone())? == Err(Some(Errno::ENOMEM)) {
            interp.world.broken(format!("errno: {}: ENOMEM, with memory", line.text));
        }
        Ok(())
    }
}

impl Feed for Play {
    fn run(self: Arc<Self>, execution: &Execution) -> Verdict {
        let host = ShuttleHost::new(execution);
        host.observer().follow();
        let source = Source::new("fuzz", "");
        let main = |main: &mut Thread<'_, '_>| self.main(main, execution);
        let config = Config::default().threads(ALL_THREADS).tasks(TaskMode::Deferred).hazards(self.hazards);
        execute_with(host, &source, config, main).map_err(|failure| violation(&failure))
    }

    fn choose(&self, candidates: &[usize], current: Option<usize>, yielding: bool) -> usize {
        let mut state = self.state();
        // The worker first waits for work. Until it does, it would be an alternative everywhere, and a pointless one.
        if !state.worker_waits && candidates.contains(&WORKER) {
            state.worker_waits = true;
            return WORKER;
        }
        let others = |by: u8| {
            let count = candidates.len() - usize::from(current.is_some());
            candidates.iter().copied().filter(|&other| Some(other) != current).nth(usize::from(by) % count)
        };
        let chosen = match current {
            Some(current) if !yielding => {
                let Some(cursor) = state.cursors.get_mut(current) else { return current };
                cursor.made += 1;
                let [first, second] = cursor.leave.map(u32::from);
                match cursor.made {
                    made if first != 0 && made == first => others(cursor.to & 15),
                    made if second != 0 && made == first + second => others(cursor.to >> 4),
                    _ => Some(current),
                }
            }
            _ => {
                let turn = state.forced;
                state.forced += 1;
                // Goes round, so that whatever the bytes are, everybody has a turn.
                others((usize::from(self.input.forced[turn % 4]) + turn / 4) as u8)
            }
        };
        chosen.unwrap_or(candidates[0])
    }

    fn stays(&self, current: usize) -> u32 {
        let state = self.state();
        // A thread that has no cursor is never left.
        state.cursors.get(current).map_or(u32::MAX, Cursor::stays)
    }

    fn stayed(&self, current: usize, count: u32) {
        if let Some(cursor) = self.state().cursors.get_mut(current) {
            cursor.made += count;
        }
    }
}

/// What exists at the start, by the bits: jails and what is lent to them, stacks over them, and drivers of threads.
fn start(bits: u16) -> impl Iterator<Item = &'static str> {
    const LINES: [&str; 16] = [
        "jail -c name=j1 vnet persist",
        "ifconfig epair0 create",
        "devctl attach em0",
        "jail -c name=j2 vnet persist",
        "ifconfig epair0a vnet j1",
        "ifconfig em0 vnet j1",
        "ifconfig disc0 create",
        "ifconfig tun0 create",
        "kpi if_alloc own1 h1",
        "kpi ether_ifattach own1",
        "kpi if_alloc own2 h2",
        "tcpdump -i em0",
        "ifconfig vlan0 create vlan 1 vlandev em0",
        "ip link add veth0 type veth peer veth1 netns j1",
        "jexec j2 ip link add up0 link veth1 link-netns j1 type ipvlan mode l2",
        "jexec j1 ip link add up1 link epair0a link-netns 1 type macvlan",
    ];
    LINES.into_iter().enumerate().filter(move |(bit, _)| bits & 1 << bit != 0).map(|(_, line)| line)
}
