//! One emulated kernel: what FreeBSD keeps in global variables.

use crate::Errno;
use crate::clone::CloneType;
use crate::epoch::{Domain, DomainRef};
use crate::event::EventHandlers;
use crate::hazard::HazardSet;
use crate::ifnet::Ifnet;
use crate::lifecycle::alloc::forget_freed;
use crate::lifecycle::unregister::{Unregistering, run_todo, run_works};
use crate::mem::{IdSpace, NoMem, Shared, TryVec};
use crate::platform::{Mutex, Platform, ThreadId};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{LockClass, Sx, Td, Witness};
use crate::taskq::{TaskMode, TaskQueue};
use crate::thread::Thread;
use crate::vnet::index::IndexTable;
use crate::vnet::removal::{self, Removals};
use crate::vnet::sysinit::SysInit;
use crate::vnet::{self, Vnet, VnetRef};

/// How a kernel is booted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How many threads may exist at a time: the number of epoch records.
    pub threads: usize,
    /// When queued tasks run.
    pub tasks: TaskMode,
    /// Historical bugs to open; only with the feature `hazards`.
    pub hazards: HazardSet,
}

impl Default for Config {
    fn default() -> Self {
        Self { threads: 64, tasks: TaskMode::Deferred, hazards: HazardSet::empty() }
    }
}

impl Config {
    /// With room for `threads` threads.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// With tasks run at the given time.
    #[must_use]
    pub const fn tasks(mut self, tasks: TaskMode) -> Self {
        self.tasks = tasks;
        self
    }

    /// With these historical bugs open.
    #[must_use]
    pub const fn hazards(mut self, hazards: HazardSet) -> Self {
        self.hazards = hazards;
        self
    }
}

/// The vnets of a kernel, in order of creation, and which of their numbers are taken.
pub(crate) struct Vnets<P: Platform> {
    pub(crate) list: TryVec<VnetRef<P>, P::Allocator>,
    pub(crate) ids: IdSpace<P::Allocator>,
}

/// One emulated kernel. See [`Kernel::boot`].
pub struct Kernel<P: Platform> {
    config: Config,
    /// `ifnet_sxlock`: the interface lists and groups of all vnets, and the index table.
    pub(crate) ifnet_sx: Sx<P>,
    /// `ifnet_detach_sxlock`: every detach, move, clone destroy and vnet teardown.
    pub(crate) detach_sx: Sx<P>,
    /// `vnet_sysinit_sxlock`: the lists of constructors and destructors.
    pub(crate) sysinit_sx: Sx<P>,
    /// `vnet_sxlock`: the list of vnets.
    pub(crate) vnet_sx: Sx<P>,
    /// `bpf_sx`: taps and their listeners.
    #[cfg(feature = "bpf")]
    pub(crate) bpf_sx: Sx<P>,
    /// Only with the feature `witness`. Apart, because it is large and a kernel is moved while it is built.
    witness: Option<Shared<Witness, P>>,
    next_thread: AtomicU32,
    pub(crate) index: IndexTable<P>,
    pub(crate) events: EventHandlers<P>,
    pub(crate) sysinits: P::Mutex<TryVec<SysInit<P>, P::Allocator>>,
    pub(crate) vnets: P::Mutex<Vnets<P>>,
    pub(crate) taskq: TaskQueue<P>,
    pub(crate) removals: Removals<P>,
    pub(crate) unregistering: Unregistering<P>,
    /// What `if_free` was called for and references keep.
    #[cfg(feature = "holders")]
    pub(crate) lingering: crate::lifecycle::until_freed::UntilFreed<P, crate::ifnet::ByLingering>,
    pub(crate) vnet0: VnetRef<P>,
    pub(crate) domain: DomainRef<P>,
}

impl<P: Platform> Kernel<P> {
    /// Boots: the default vnet `v0` with its `lo0`, and the cloners of the built-in drivers. Only with the feature
    /// `drivers`; without it there is [`boot_bare`](Self::boot_bare).
    ///
    /// ```
    /// use ifnet::platform::spin::SpinHost;
    /// use ifnet::{Config, Kernel, mem::FixedPool};
    /// # use core::mem::MaybeUninit;
    /// # let memory: &'static mut [MaybeUninit<u8>] = Box::leak(vec![MaybeUninit::uninit(); 1 << 20].into());
    /// # let pool: &'static FixedPool = Box::leak(Box::new(FixedPool::new(memory)));
    /// let kernel: Kernel<SpinHost<_>> = Kernel::boot(SpinHost::new(pool.by_ref()), Config::default().threads(4))?;
    /// let td = kernel.thread()?;
    /// let lo0 = ifnet::ifunit(&td, "lo0").expect("every vnet has a loopback");
    /// assert_eq!(lo0.index(), 1);
    /// # Ok::<(), ifnet::Errno>(())
    /// ```
    ///
    /// # Errors
    /// `ENOMEM`; everything is given back.
    #[cfg(feature = "drivers")]
    pub fn boot(platform: P, config: Config) -> Result<Self, Errno> {
        Self::boot_starting(platform, config, Self::start_drivers)
    }

    /// Boots without drivers: `v0` is empty, and so is every vnet that is made, without so much as a `lo0`. For a small
    /// kernel that has drivers of its own and no room: what it does not call is not linked. Cloners of its own it makes
    /// known with [`register_cloner`](Self::register_cloner).
    ///
    /// # Errors
    /// `ENOMEM`; everything is given back.
    pub fn boot_bare(platform: P, config: Config) -> Result<Self, Errno> {
        Self::boot_starting(platform, config, |_, _| Ok(()))
    }

    fn boot_starting(
        platform: P,
        config: Config,
        start_drivers: impl FnOnce(&Self, &Thread<'_, P>) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        let domain = DomainRef::try_new(platform, config.threads)?;
        let built = Self::without_drivers(&domain, config);
        let kernel = built.inspect_err(|_| {
            // What was built before is freed by callbacks.
            while domain.poll() {}
        })?;
        let booted = kernel.start(start_drivers);
        match booted {
            Ok(()) => Ok(kernel),
            Err(errno) => {
                kernel.shutdown();
                Err(errno)
            }
        }
    }

    fn without_drivers(domain: &DomainRef<P>, config: Config) -> Result<Self, NoMem> {
        let allocator = domain.platform().allocator();
        let mut vnets = Vnets { list: TryVec::new(allocator.clone()), ids: IdSpace::new(allocator.clone()) };
        let number = vnets.ids.alloc_lowest(u32::MAX)?.unwrap_or_default();
        let vnet0 = Shared::try_new(domain, Vnet::new(domain, number))?;
        vnets.list.try_push(vnet0.clone()).map_err(|_| NoMem)?;
        Ok(Self {
            ifnet_sx: Sx::new("ifnet_sx", LockClass::IFNET_SX, true),
            detach_sx: Sx::new("ifnet_detach_sx", LockClass::IFNET_DETACH_SX, true),
            sysinit_sx: Sx::new("vnet_sysinit_sxlock", LockClass::VNET_SYSINIT_SX, false),
            vnet_sx: Sx::new("vnet_sxlock", LockClass::VNET_SX, false),
            #[cfg(feature = "bpf")]
            bpf_sx: Sx::new("bpf global lock", LockClass::BPF_SX, false),
            witness: cfg!(feature = "witness").then(|| Shared::try_new(domain, Witness::new())).transpose()?,
            next_thread: AtomicU32::new(1),
            index: IndexTable::try_new(domain)?,
            events: EventHandlers::new(allocator.clone()),
            sysinits: P::Mutex::new(TryVec::new(allocator)),
            vnets: P::Mutex::new(vnets),
            taskq: TaskQueue::new(domain, config.tasks),
            removals: Removals::new(domain),
            unregistering: Unregistering::new(domain),
            #[cfg(feature = "holders")]
            lingering: crate::lifecycle::until_freed::UntilFreed::new(domain),
            vnet0,
            domain: domain.clone(),
            config,
        })
    }

    fn start(&self, drivers: impl FnOnce(&Self, &Thread<'_, P>) -> Result<(), Errno>) -> Result<(), Errno> {
        let td = self.thread()?;
        crate::event::rtsock_init(&td)?;
        vnet::sysinit::construct(&td, &self.vnet0)?;
        drivers(self, &td)
    }

    #[cfg(feature = "drivers")]
    fn start_drivers(&self, td: &Thread<'_, P>) -> Result<(), Errno> {
        crate::drivers::init(td)?;
        for cloner in crate::drivers::builtin() {
            vnet::sysinit::vnet_register_sysinit(td, SysInit::cloner(cloner))?;
        }
        Ok(())
    }

    /// Makes a kind of interface known: `module load` of a cloner. Every vnet, present and future, gets the cloner.
    ///
    /// # Errors
    /// `EEXIST` if a cloner of that name exists, `ENAMETOOLONG`, `ENOMEM`.
    pub fn register_cloner(&self, td: &Thread<'_, P>, cloner: &'static CloneType<P>) -> Result<(), Errno> {
        vnet::sysinit::vnet_register_sysinit(td, SysInit::cloner(cloner))
    }

    /// Takes a kind of interface away again: `module unload`. Every interface of the kind is destroyed.
    ///
    /// # Errors
    /// `ENOENT` if it was not registered.
    pub fn deregister_cloner(&self, td: &Thread<'_, P>, name: &str) -> Result<(), Errno> {
        vnet::sysinit::vnet_deregister_sysuninit(td, name)
    }

    /// A thread of this kernel, in the default vnet.
    ///
    /// # Errors
    /// `EAGAIN` if as many threads exist as the kernel was booted for.
    pub fn thread(&self) -> Result<Thread<'_, P>, Errno> {
        let reader = Domain::register(&self.domain).map_err(|_| Errno::EAGAIN)?;
        let id = self.next_thread.fetch_add(1, Ordering::Relaxed);
        let id = ThreadId(core::num::NonZeroU32::new(id).unwrap_or(core::num::NonZeroU32::MIN));
        let platform = self.domain.platform();
        let td = match &self.witness {
            Some(witness) => Td::with_witness(id, platform, witness),
            None => Td::new(id, platform),
        };
        Ok(Thread::new(self, td, reader, Some(self.vnet0.clone())))
    }

    /// The host.
    pub fn platform(&self) -> &P {
        self.domain.platform()
    }

    /// The default vnet: `vnet0`.
    pub fn vnet0(&self) -> VnetRef<P> {
        self.vnet0.clone()
    }

    /// How the kernel was booted.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn hazards(&self) -> HazardSet {
        self.config.hazards
    }

    /// Does deferred work: queued tasks, what is queued for unregistration in the vnets, the removal of vnets, and epoch
    /// callbacks that are ripe. `true` if anything was done.
    ///
    /// Unregistering and removing wait for the detach lock and for readers; for references they never wait. The rest
    /// waits for nothing. So call it where a thread may sleep, with no lock of this library held. Several threads may.
    ///
    /// # Panics
    /// In an epoch section or an interrupt.
    #[track_caller]
    pub fn run_deferred(&self, td: &Thread<'_, P>) -> bool {
        td.assert_can_sleep("run_deferred");
        let ran = self.taskq.run(td);
        let worked = run_works(td);
        let removed = removal::run(td);
        let polled = self.domain.poll();
        run_todo(td);
        forget_freed(td);
        ran || worked || removed || polled
    }

    /// Grace periods waited for since boot.
    pub fn grace_periods(&self) -> usize {
        self.domain.grace_periods()
    }

    /// `if_index` and `if_indexlim`: the highest index in use, and the number of slots of the index table.
    pub fn if_index(&self, td: &Thread<'_, P>) -> (u32, usize) {
        self.index.limits(td)
    }

    /// The vnets that exist, in the order of creation: calls `each` for every one. No lock is held over the calls; if a vnet
    /// goes meanwhile, another one may not be seen.
    pub fn vnet_foreach(&self, mut each: impl FnMut(&VnetRef<P>)) {
        let mut at = 0;
        while let Some(vnet) = { self.vnets.lock().list.get(at).cloned() } {
            each(&vnet);
            at += 1;
        }
    }

    /// The number of indices in use: interfaces between `if_alloc` and `if_free`, of all vnets.
    pub fn interfaces(&self) -> usize {
        self.index.in_use()
    }

    /// Interfaces that somebody still has: calls `each` for every one that was allocated and not given to `if_free`, and,
    /// with the feature `holders`, for every one that was given to `if_free` and is kept by references.
    /// [`Ifnet::held_by`] says who holds them.
    pub fn if_foreach_left(&self, td: &Thread<'_, P>, mut each: impl FnMut(&Ifnet<P>)) {
        forget_freed(td);
        let section = td.net_epoch_enter();
        for index in 1..=self.if_index(td).0 {
            if let Some(ifp) = self.index.at(index, &section) {
                each(ifp.get());
            }
        }
        #[cfg(feature = "holders")]
        self.lingering.each(td, each);
    }

    /// Takes the kernel down, the cycles of handles between its objects included, so that all memory returns to the
    /// allocator. All vnets but the default one must have been destroyed, now or later
    /// ([`vnet_destroy_deferred`](crate::vnet_destroy_deferred)), or their memory stays allocated.
    pub fn shutdown(self) {
        if let Ok(td) = self.thread() {
            removal::run(&td);
            vnet::destroy::teardown_default(&td);
            self.taskq.run(&td);
            // Twice: what the first round frees may defer once more.
            td.net_epoch_drain_callbacks();
            td.net_epoch_drain_callbacks();
        }
        let domain = self.domain.clone();
        drop(self);
        // What the tables held is freed by callbacks, and those may defer more.
        while domain.poll() {}
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn a_kernel_without_drivers_has_the_life_cycle_all_the_same() {
        let host = Host::default();
        let arena = host.arena().clone();
        let kernel = Kernel::boot_bare(host, Config::default().threads(2)).expect("memory");
        {
            let td = kernel.thread().expect("room");
            assert_eq!((kernel.interfaces(), crate::if_clone_create(&td, "disc")), (0, Err(Errno::EINVAL)));
            let em0 = crate::testing::attached(&td, "em", 0);
            let jail = crate::vnet_alloc(&td).expect("memory");
            drop(crate::if_vmove_loan(&td, "em0", &jail).expect("free"));
            crate::invariants::check(&td).expect("sound");
            crate::vnet_destroy(&td, &jail).expect("alive");
            assert!(crate::ifunit(&td, "em0").is_some(), "it has returned");
            crate::testing::gone(&td, em0);
            assert_eq!(kernel.interfaces(), 0);
        }
        kernel.shutdown();
        assert_eq!(arena.live(), 0, "the kernel leaks");
    }

    #[test]
    fn a_boot_that_is_refused_memory_gives_everything_back() {
        let mut allowed = 0;
        loop {
            let host = Host::default();
            let arena = host.arena().clone();
            arena.fail_after(allowed);
            let booted = Kernel::boot(host, Config::default().threads(2));
            arena.fail_never();
            let done = booted.map(Kernel::shutdown);
            assert_eq!(arena.live(), 0, "after {allowed} allocations");
            match done {
                Ok(()) => break,
                Err(errno) => assert_eq!(errno, Errno::ENOMEM, "after {allowed} allocations"),
            }
            allowed += 1;
        }
        assert!(allowed > 20, "a boot that takes only {allowed} allocations");
    }
}
