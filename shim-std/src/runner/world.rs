//! What the threads of a scenario share.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ifnet::platform::Mutex;
use ifnet::{BpfListener, Errno, IfnetOwner, IfnetRef, Ifp, Kernel, Thread, TunHandle, VnetRef, invariants};

use super::host::Host;
use super::interp::Stop;
use crate::host::frame::{Frame, FramePool};
use crate::scenario::Diagnostics;

/// A jail, which is a vnet by name.
pub(crate) struct Jail<H: Host> {
    pub(crate) name: String,
    /// The jail in which it was made; `None` is the host.
    pub(crate) parent: Option<String>,
    /// `None` while it is being made.
    pub(crate) vnet: Option<VnetRef<H>>,
}

/// How a handle's interface was attached, and so how it is detached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attached {
    No,
    Plain,
    Ether,
}

/// What a label of `kpi` stands for: a driver's pointers.
pub(crate) struct Handle<H: Host> {
    /// `None` while a thread is using it, and after `if_free`.
    pub(crate) owner: Option<IfnetOwner<H>>,
    /// A thread has taken the owner out.
    pub(crate) busy: bool,
    pub(crate) attached: Attached,
    /// `struct ifnet *`: stale after `if_free`, as in C.
    pub(crate) ifp: Ifp<H>,
    /// Taken by `if_ref`.
    pub(crate) refs: Vec<IfnetRef<H>>,
}

impl<H: Host> Handle<H> {
    /// Whether the pointer is good because of something that the handle holds.
    pub(crate) fn is_live(&self) -> bool {
        self.owner.is_some() || self.busy || !self.refs.is_empty()
    }
}

/// What the threads look things up in.
pub(crate) struct Tables<H: Host> {
    pub(crate) jails: Vec<Jail<H>>,
    pub(crate) handles: BTreeMap<String, Handle<H>>,
    /// Hardware by name; `None` while it comes or goes.
    pub(crate) devices: BTreeMap<String, Option<IfnetOwner<H>>>,
    pub(crate) listeners: Vec<BpfListener<H>>,
    /// Open devices by the name under which they were opened. A thread that uses one has taken it out.
    pub(crate) tuns: Vec<(String, TunHandle<H>)>,
    /// Frames that have come in and wait for their turn, with the index and generation of the receiving interface.
    pub(crate) netisr: VecDeque<(u32, u16, Frame)>,
}

/// One booted kernel and what a scenario has made in it.
pub(crate) struct World<H: Host> {
    pub(crate) kernel: Kernel<H>,
    pub(crate) tables: H::Mutex<Tables<H>>,
    /// Commands under way.
    in_flight: H::Mutex<usize>,
    outcome: H::Mutex<Outcome>,
    threads: AtomicUsize,
    /// Counts the packets of the scenario.
    pub(crate) frames: FramePool,
}

/// What went wrong so far.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) syntax: Option<Diagnostics>,
    pub(crate) expectations: Vec<Diagnostics>,
    pub(crate) invariant: Option<String>,
    pub(crate) leak: Option<String>,
}

impl<H: Host> World<H> {
    pub(crate) fn new(kernel: Kernel<H>) -> Self {
        let tables = Tables {
            jails: Vec::new(),
            handles: BTreeMap::new(),
            devices: BTreeMap::new(),
            listeners: Vec::new(),
            tuns: Vec::new(),
            netisr: VecDeque::new(),
        };
        Self {
            kernel,
            tables: H::Mutex::new(tables),
            in_flight: H::Mutex::new(0),
            outcome: H::Mutex::new(Outcome::default()),
            threads: AtomicUsize::new(0),
            frames: FramePool::default(),
        }
    }

    pub(crate) fn host(&self) -> &H {
        self.kernel.platform()
    }

    /// A name for a new thread.
    pub(crate) fn thread_name(&self) -> String {
        format!("t{}", self.threads.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A command begins.
    pub(crate) fn begin(&self) {
        self.host().undisturbed(|| *self.in_flight.lock() += 1);
    }

    /// A command ends. If no other is under way, the invariants are checked; nobody can begin one meanwhile.
    pub(crate) fn end(&self, td: &Thread<'_, H>, check: bool) {
        self.host().undisturbed(|| {
            let mut in_flight = self.in_flight.lock();
            *in_flight -= 1;
            if *in_flight == 0 && check {
                self.check(td);
            }
        });
    }

    /// Waits until the caller's command is the only one under way.
    pub(crate) fn wait_alone(&self) {
        while *self.in_flight.lock() > 1 {
            self.host().relax();
        }
    }

    pub(crate) fn check(&self, td: &Thread<'_, H>) {
        if let Err(violation) = invariants::check(td) {
            self.outcome.lock().invariant.get_or_insert_with(|| violation.to_string());
        }
    }

    pub(crate) fn leaked(&self, what: String) {
        self.outcome.lock().leak.get_or_insert(what);
    }

    /// Notes how the script of a thread ended.
    pub(crate) fn stopped(&self, done: Result<(), Stop>) {
        let mut outcome = self.outcome.lock();
        match done {
            Ok(()) => {}
            Err(Stop::Syntax(diagnostics)) => {
                outcome.syntax.get_or_insert(diagnostics);
            }
            Err(Stop::Expectation { diagnostics, .. }) => outcome.expectations.push(diagnostics),
        }
    }

    /// The kernel and what went wrong; everything else is given back.
    pub(crate) fn into_parts(self) -> (Kernel<H>, Outcome) {
        let Self { kernel, tables, in_flight: _, outcome, threads: _, frames: _ } = self;
        drop(tables);
        let outcome = core::mem::take(&mut *outcome.lock());
        (kernel, outcome)
    }

    /// Looks up a jail that the jail of vnet `from` may see: one made in it, or in one of those. `0` is the host's.
    pub(crate) fn jail(&self, from: &VnetRef<H>, name: &str) -> Option<VnetRef<H>> {
        let tables = self.tables.lock();
        let own = tables.jails.iter().find(|jail| jail.vnet.as_ref().is_some_and(|vnet| vnet.ptr_eq(from)));
        let own = own.map(|jail| jail.name.as_str());
        let found = tables.jails.iter().find(|jail| jail.name == name)?;
        let mut up = found;
        while up.parent.as_deref() != own {
            let parent = up.parent.as_deref()?;
            up = tables.jails.iter().find(|jail| jail.name == parent)?;
        }
        found.vnet.clone()
    }

    /// Any vnet by the name of its jail; `0` is the default one.
    pub(crate) fn vnet_by_jail(&self, name: &str) -> Option<VnetRef<H>> {
        if name == "0" {
            return Some(self.kernel.vnet0());
        }
        self.tables.lock().jails.iter().find(|jail| jail.name == name)?.vnet.clone()
    }

    /// Every vnet, the default one first.
    pub(crate) fn vnets(&self) -> Vec<VnetRef<H>> {
        let tables = self.tables.lock();
        core::iter::once(self.kernel.vnet0()).chain(tables.jails.iter().filter_map(|jail| jail.vnet.clone())).collect()
    }

    /// Any vnet by its number.
    pub(crate) fn vnet_by_number(&self, number: u32) -> Option<VnetRef<H>> {
        if number == 0 {
            return Some(self.kernel.vnet0());
        }
        let tables = self.tables.lock();
        let mut vnets = tables.jails.iter().filter_map(|jail| jail.vnet.as_ref());
        vnets.find(|vnet| vnet.id() == number).cloned()
    }

    /// Calls `call` with the owner of a handle, which no other thread can have meanwhile.
    pub(crate) fn with_owner<R>(
        &self,
        label: &str,
        call: impl FnOnce(&IfnetOwner<H>, &mut Attached) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let (owner, mut attached) = self.take_owner(label)?;
        let result = call(&owner, &mut attached);
        let mut tables = self.tables.lock();
        if let Some(handle) = tables.handles.get_mut(label) {
            handle.owner = Some(owner);
            handle.busy = false;
            handle.attached = attached;
        }
        result
    }

    /// Takes the owner of a handle out of the table.
    pub(crate) fn take_owner(&self, label: &str) -> Result<(IfnetOwner<H>, Attached), Errno> {
        let mut tables = self.tables.lock();
        let handle = tables.handles.get_mut(label).ok_or(Errno::ENXIO)?;
        let owner = handle.owner.take().ok_or(Errno::ENXIO)?;
        handle.busy = true;
        Ok((owner, handle.attached))
    }
}

/// Starts the thread that does deferred work.
pub(crate) fn spawn_worker<H: Host>(world: &Arc<World<H>>) -> H::Join {
    let worker = Arc::clone(world);
    let body = move || {
        let Ok(td) = worker.kernel.thread() else { return };
        worker.host().enter(td.id(), || {
            while worker.host().wait_for_work() {
                // Counted as a command: the invariants are not looked at while it works.
                worker.begin();
                worker.kernel.run_deferred(&td);
                worker.end(&td, false);
            }
        });
        drop(td);
        drop(worker);
    };
    world.host().spawn("worker".into(), Box::new(body))
}
