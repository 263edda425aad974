//! Constructors and destructors of vnets: `VNET_SYSINIT` and `VNET_SYSUNINIT`.
//!
//! What is registered here is run for every vnet: constructors in ascending order of subsystem when a vnet is made (or
//! when the module is loaded), destructors in the reverse order when it is destroyed (or when the module is unloaded).
//!
//! Lock order: the detach lock before `vnet_sysinit_sxlock`, always. FreeBSD takes them in the other order when a module
//! is unloaded, which dead-locks against a vnet's destruction (hazard `sysuninit-lock-order`).

use crate::clone::{self, CloneType};
use crate::hazard::Hazard;
use crate::mem::NoMem;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::{Errno, vnet::VnetRef};

/// When a constructor runs: `enum sysinit_sub_id`. Only the order matters; the values are this library's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subsystem(pub u32);

impl Subsystem {
    /// `SI_SUB_INIT_IF`: cloners.
    pub const INIT_IF: Self = Self(0x300);
    /// `SI_SUB_PROTO_IF`: address families.
    pub const PROTO_IF: Self = Self(0x400);
    /// `SI_SUB_PSEUDO`: everything else that a module brings.
    pub const PSEUDO: Self = Self(0x500);
    /// `SI_SUB_VNET_DONE`: the vnet is complete. Its destructor is the first to run and returns borrowed interfaces.
    pub const VNET_DONE: Self = Self(0xf00);
}

/// A constructor of the vnet that is the thread's current one.
///
/// It runs under the detach lock and `vnet_sysinit_sxlock`. The first recurses, so that it may make and destroy interfaces.
pub type VnetInit<P> = fn(&Thread<'_, P>) -> Result<(), Errno>;
/// A destructor, called as the constructor is; it may not fail.
pub type VnetUninit<P> = fn(&Thread<'_, P>);

/// What a module does for every vnet.
pub struct SysInit<P: Platform> {
    name: &'static str,
    subsystem: Subsystem,
    kind: Kind<P>,
}

/// Gives the current vnet a cloner.
type AttachCloner<P> = fn(&Thread<'_, P>, &'static CloneType<P>) -> Result<(), Errno>;
/// Takes the cloner of this name away from it.
type DetachCloner<P> = fn(&Thread<'_, P>, &str);

enum Kind<P: Platform> {
    /// The functions come along, so that a kernel that registers no cloner links nothing of them.
    Cloner {
        ty: &'static CloneType<P>,
        attach: AttachCloner<P>,
        detach: DetachCloner<P>,
    },
    Functions {
        init: VnetInit<P>,
        uninit: VnetUninit<P>,
    },
}

impl<P: Platform> Clone for Kind<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: Platform> Copy for Kind<P> {}
impl<P: Platform> Clone for SysInit<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: Platform> Copy for SysInit<P> {}

impl<P: Platform> SysInit<P> {
    /// A kind of interface: every vnet gets a cloner of it.
    #[must_use]
    pub const fn cloner(ty: &'static CloneType<P>) -> Self {
        let kind = Kind::Cloner { ty, attach: clone::if_clone_attach, detach: clone::if_clone_detach };
        Self { name: ty.name, subsystem: Subsystem::INIT_IF, kind }
    }

    /// A pair of functions, run in the context of each vnet.
    #[must_use]
    pub const fn functions(name: &'static str, subsystem: Subsystem, init: VnetInit<P>, uninit: VnetUninit<P>) -> Self {
        Self { name, subsystem, kind: Kind::Functions { init, uninit } }
    }

    fn init(&self, td: &Thread<'_, P>) -> Result<(), Errno> {
        match self.kind {
            Kind::Cloner { ty, attach, .. } => attach(td, ty),
            Kind::Functions { init, .. } => init(td),
        }
    }

    fn uninit(&self, td: &Thread<'_, P>) {
        match self.kind {
            Kind::Cloner { ty, detach, .. } => detach(td, ty.name),
            Kind::Functions { uninit, .. } => uninit(td),
        }
    }
}

/// The registered entry number `at`, in ascending order.
fn nth<P: Platform>(td: &Thread<'_, P>, at: usize) -> Option<SysInit<P>> {
    td.kernel().sysinits.lock().get(at).copied()
}

/// `vnet_sysinit`: runs the constructors for a new vnet. On failure those that ran are undone.
pub(crate) fn construct<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>) -> Result<(), Errno> {
    vnet.groups.begin(td.domain())?;
    let _slock = td.kernel().sysinit_sx.slock(td);
    let _cur = td.curvnet_set(Some(vnet.clone()));
    let mut at = 0;
    while let Some(entry) = nth(td, at) {
        vnet.set_state(entry.subsystem);
        if let Err(errno) = entry.init(td) {
            destruct_between(td, vnet, 0, at);
            vnet.set_state(Subsystem(0));
            return Err(errno);
        }
        at += 1;
    }
    vnet.set_state(Subsystem::VNET_DONE);
    Ok(())
}

/// `vnet_sysuninit` after the return of borrowed interfaces: runs the destructors in reverse order. Before the first of a
/// cloner `cloners_end` is called: what belongs to a later subsystem still finds its interfaces.
pub(crate) fn destruct<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, cloners_end: impl FnOnce()) {
    let _slock = td.kernel().sysinit_sx.slock(td);
    let _cur = td.curvnet_set(Some(vnet.clone()));
    let count = td.kernel().sysinits.lock().len();
    let of_cloner = |end: &usize| nth(td, *end - 1).is_some_and(|entry| matches!(entry.kind, Kind::Cloner { .. }));
    let cloners = (1..=count).rev().find(of_cloner).unwrap_or(0);
    destruct_between(td, vnet, cloners, count);
    cloners_end();
    destruct_between(td, vnet, 0, cloners);
    vnet.set_state(Subsystem(0));
}

fn destruct_between<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, first: usize, end: usize) {
    for entry in (first..end).rev().filter_map(|at| nth(td, at)) {
        vnet.set_state(entry.subsystem);
        entry.uninit(td);
    }
}

/// `vnet_register_sysinit`: registers a module and runs its constructor for every vnet.
///
/// # Locks
/// Takes the detach lock, `vnet_sysinit_sxlock` exclusively, and `vnet_sxlock` shared.
///
/// # Errors
/// `EEXIST` if the name is registered, `ENOMEM`, or the constructor's; then nothing is left.
pub fn vnet_register_sysinit<P: Platform>(td: &Thread<'_, P>, entry: SysInit<P>) -> Result<(), Errno> {
    let kernel = td.kernel();
    let _detach = kernel.detach_sx.xlock(td);
    let _xlock = kernel.sysinit_sx.xlock(td);
    let _list = kernel.vnet_sx.slock(td);
    {
        let mut entries = kernel.sysinits.lock();
        if entries.iter().any(|other| other.name == entry.name) {
            return Err(Errno::EEXIST);
        }
        let at = entries.iter().take_while(|other| other.subsystem <= entry.subsystem).count();
        entries.try_insert(at, entry).map_err(|_| NoMem)?;
    }
    let mut done = 0;
    while let Some(vnet) = nth_vnet(td, done) {
        let _cur = td.curvnet_set(Some(vnet));
        if let Err(errno) = entry.init(td) {
            for vnet in (0..done).filter_map(|at| nth_vnet(td, at)) {
                let _cur = td.curvnet_set(Some(vnet));
                entry.uninit(td);
            }
            forget(td, entry.name);
            return Err(errno);
        }
        done += 1;
    }
    Ok(())
}

/// `vnet_deregister_sysuninit`: runs a module's destructor for every vnet and forgets it.
///
/// # Locks
/// As [`vnet_register_sysinit`].
///
/// # Errors
/// `ENOENT` if the name is not registered.
pub fn vnet_deregister_sysuninit<P: Platform>(td: &Thread<'_, P>, name: &str) -> Result<(), Errno> {
    let kernel = td.kernel();
    let _detach = (!td.hazard(Hazard::SysuninitLockOrder)).then(|| kernel.detach_sx.xlock(td));
    let _xlock = kernel.sysinit_sx.xlock(td);
    let _list = kernel.vnet_sx.slock(td);
    let entry = forget(td, name).ok_or(Errno::ENOENT)?;
    let mut at = 0;
    while let Some(vnet) = nth_vnet(td, at) {
        let _cur = td.curvnet_set(Some(vnet));
        entry.uninit(td);
        at += 1;
    }
    Ok(())
}

fn nth_vnet<P: Platform>(td: &Thread<'_, P>, at: usize) -> Option<VnetRef<P>> {
    td.kernel().vnets.lock().list.get(at).cloned()
}

fn forget<P: Platform>(td: &Thread<'_, P>, name: &str) -> Option<SysInit<P>> {
    let mut entries = td.kernel().sysinits.lock();
    let at = entries.iter().position(|entry| entry.name == name)?;
    Some(entries.remove(at))
}
