//! Vnets and interfaces that C has handles of.
//!
//! The table of shares has the interfaces that C allocated, and those of which it holds references. A handle of an interface
//! is good as long as that share is there, and is the same for all who found the interface meanwhile; the next share of the
//! same interface has another handle.
//!
//! The share of an allocated interface also says where its driver stands, because what the types of the Rust interface
//! exclude, C can write down: freeing what is attached, freeing twice, two verbs at once from two threads.

use super::abi::{if_t, vnet_t};
use super::handle::{Handle, NUMBERS};
use super::registry::CPlatform;
use super::session::Call;
use crate::ifnet::{IfnetOwner, IfnetRef, Ifp, if_try_ref};
use crate::mem::{TryTable, TryVec, hash_u64};
use crate::platform::Mutex as _;
use crate::{Errno, VnetRef};

/// What C has handles of, in one kernel.
pub(super) struct Objects<P: CPlatform> {
    ifnets: P::Mutex<TryTable<Share<P>, P::Allocator>>,
    /// By the number of the vnet.
    vnets: P::Mutex<TryVec<VnetSlot<P>, P::Allocator>>,
}

/// The share of C in an interface.
struct Share<P: CPlatform> {
    handle: Handle,
    ifp: Ifp<P>,
    /// C allocated it, and has not freed it yet.
    owned: bool,
    attached: bool,
    /// A verb of its driver is under way.
    busy: bool,
    /// References that C holds; the kernel counts them as one, which is `kept`.
    refs: u32,
    kept: Option<IfnetRef<P>>,
}

struct VnetSlot<P: CPlatform> {
    vnet: Option<VnetRef<P>>,
    serial: u64,
}

/// What a driver does with its own interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Name,
    Attach,
    Detach,
    Free,
}

fn hash(handle: Handle) -> u64 {
    hash_u64(handle.number as u64)
}

/// The number in the handles of an interface.
pub(super) fn number_of<P: CPlatform>(ifp: &Ifp<P>) -> usize {
    ifp.index() as usize % NUMBERS
}

impl<P: CPlatform> Share<P> {
    fn new(handle: Handle, ifp: Ifp<P>) -> Self {
        Self { handle, ifp, owned: false, attached: false, busy: false, refs: 0, kept: None }
    }

    fn is(handle: Handle) -> impl Fn(&Self) -> bool {
        move |share| share.handle == handle
    }
}

impl<P: CPlatform> Objects<P> {
    pub(super) fn new(memory: P::Allocator) -> Self {
        let (ifnets, vnets) = (TryTable::new(memory.clone()), TryVec::new(memory));
        Self { ifnets: P::Mutex::new(ifnets), vnets: P::Mutex::new(vnets) }
    }

    /// Whether C has neither allocated interfaces nor references of any.
    pub(super) fn is_empty(&self) -> bool {
        self.ifnets.lock().is_empty()
    }

    /// Notes an interface that C has allocated. On failure it is given back.
    pub(super) fn allocated(&self, handle: Handle, owner: IfnetOwner<P>) -> Result<if_t, (Errno, IfnetOwner<P>)> {
        let mut ifnets = self.ifnets.lock();
        if ifnets.try_reserve(1).is_err() {
            drop(ifnets);
            return Err((Errno::ENOMEM, owner));
        }
        let IfnetOwner(ifp) = owner;
        ifnets.insert_reserved(hash(handle), Share { owned: true, ..Share::new(handle, ifp) });
        Ok(handle.encode())
    }

    /// Takes a reference over into C's hands. `handle` is what to call the interface if C has no share in it yet.
    pub(super) fn keep(&self, handle: Handle, reference: IfnetRef<P>) -> Result<if_t, Errno> {
        // What is too much is dropped after the lock.
        let _surplus;
        let mut ifnets = self.ifnets.lock();
        let same = |share: &Share<P>| share.ifp.ptr_eq(&reference);
        if let Some(share) = ifnets.find_mut(hash(handle), same) {
            share.refs = share.refs.checked_add(1).ok_or(Errno::EMLINK)?;
            _surplus = if share.kept.is_none() { share.kept.replace(reference) } else { Some(reference) };
            return Ok(share.handle.encode());
        }
        if ifnets.try_reserve(1).is_err() {
            _surplus = Some(reference);
            return Err(Errno::ENOMEM);
        }
        let ifp = Ifp::clone(&reference);
        ifnets.insert_reserved(hash(handle), Share { refs: 1, kept: Some(reference), ..Share::new(handle, ifp) });
        Ok(handle.encode())
    }

    /// `if_rele`.
    pub(super) fn release(&self, handle: Handle) -> Result<(), Errno> {
        let mut ifnets = self.ifnets.lock();
        let share = ifnets.find_mut(hash(handle), Share::is(handle)).ok_or(Errno::EBADF)?;
        share.refs = share.refs.checked_sub(1).ok_or(Errno::EINVAL)?;
        let (last, owned) = (share.refs == 0, share.owned);
        let kept = if last { share.kept.take() } else { None };
        let gone = if last && !owned { ifnets.remove(hash(handle), Share::is(handle)) } else { None };
        drop(ifnets);
        drop((kept, gone));
        Ok(())
    }

    /// Begins a verb of the driver of an interface; it must be [ended](Self::end).
    pub(super) fn begin(&self, handle: Handle, verb: Verb) -> Result<IfnetOwner<P>, Errno> {
        let mut ifnets = self.ifnets.lock();
        let share = ifnets.find_mut(hash(handle), Share::is(handle)).ok_or(Errno::EPERM)?;
        if !share.owned {
            return Err(Errno::EPERM);
        }
        if share.busy || (matches!(verb, Verb::Name | Verb::Free) && share.attached) {
            return Err(Errno::EBUSY);
        }
        share.busy = true;
        Ok(IfnetOwner(share.ifp.clone()))
    }

    /// Ends a verb.
    pub(super) fn end(&self, handle: Handle, verb: Verb, done: bool) {
        let mut ifnets = self.ifnets.lock();
        let Some(share) = ifnets.find_mut(hash(handle), Share::is(handle)) else { return };
        share.busy = false;
        if !done {
            return;
        }
        match verb {
            Verb::Name => {}
            Verb::Attach => share.attached = true,
            Verb::Detach => share.attached = false,
            Verb::Free => share.owned = false,
        }
        let gone = !share.owned && share.refs == 0;
        let gone = if gone { ifnets.remove(hash(handle), Share::is(handle)) } else { None };
        drop(ifnets);
        drop(gone);
    }

    fn find(&self, handle: Handle) -> Option<Ifp<P>> {
        self.ifnets.lock().find(hash(handle), Share::is(handle)).map(|share| share.ifp.clone())
    }

    /// The handle of a vnet: that of before, or one with a new serial.
    fn vnet_handle(
        &self,
        place: usize,
        vnet: &VnetRef<P>,
        serial: impl FnOnce() -> Result<u64, Errno>,
    ) -> Result<vnet_t, Errno> {
        let number = vnet.id() as usize;
        if number >= NUMBERS {
            return Err(Errno::ENOSPC);
        }
        // Dropped after the lock.
        let mut _former = None;
        let mut vnets = self.vnets.lock();
        while vnets.len() <= number {
            vnets.try_push(VnetSlot { vnet: None, serial: 0 }).map_err(|_| Errno::ENOMEM)?;
        }
        let slot = &mut vnets[number];
        if !slot.vnet.as_ref().is_some_and(|other| other.ptr_eq(vnet)) {
            slot.serial = serial()?;
            _former = slot.vnet.replace(vnet.clone());
        }
        Ok(Handle { place, number, serial: slot.serial }.encode())
    }

    fn vnet_of(&self, handle: Handle) -> Option<VnetRef<P>> {
        let vnets = self.vnets.lock();
        let slot = vnets.get(handle.number).filter(|slot| handle.serial == slot.serial)?;
        slot.vnet.clone().filter(|vnet| !vnet.is_destroyed())
    }

    /// Forgets a vnet that was destroyed, so that its memory goes.
    pub(super) fn forget_vnet(&self, vnet: &VnetRef<P>) {
        let mut vnets = self.vnets.lock();
        let slot = vnets.get_mut(vnet.id() as usize);
        let slot = slot.filter(|slot| slot.vnet.as_ref().is_some_and(|other| other.ptr_eq(vnet)));
        let former = slot.and_then(|slot| slot.vnet.take());
        drop(vnets);
        drop(former);
    }
}

impl<P: CPlatform> Call<'_, P> {
    fn own(&self, handle: Handle) -> Result<Handle, Errno> {
        if handle.place == self.kernel.place { Ok(handle) } else { Err(Errno::EBADF) }
    }

    /// A new handle for an interface.
    pub(super) fn name(&self, ifp: &Ifp<P>) -> Result<Handle, Errno> {
        Ok(Handle { place: self.kernel.place, number: number_of(ifp), serial: self.kernel.serial()? })
    }

    /// Takes a reference over into C's hands.
    pub(super) fn keep(&self, reference: IfnetRef<P>) -> Result<if_t, Errno> {
        self.kernel.objects.keep(self.name(&reference)?, reference)
    }

    /// The handle of an interface of this kernel, whether or not it lives.
    pub(super) fn ifnet_handle(&self, ifp: if_t) -> Result<Handle, Errno> {
        self.own(Handle::decode(ifp)?)
    }

    /// The interface of a handle.
    ///
    /// # Errors
    /// `EINVAL` for null, `EBADF` for a handle of nothing that C has a share in.
    pub(super) fn ifnet(&self, ifp: if_t) -> Result<Ifp<P>, Errno> {
        self.kernel.objects.find(self.ifnet_handle(ifp)?).ok_or(Errno::EBADF)
    }

    /// Takes another reference of an interface.
    pub(super) fn if_ref(&self, ifp: if_t) -> Result<(), Errno> {
        let reference = if_try_ref(&self.ifnet(ifp)?).ok_or(Errno::EBADF)?;
        self.kernel.objects.keep(self.ifnet_handle(ifp)?, reference).map(drop)
    }

    /// Runs a verb of the driver of an interface, unless another is under way.
    pub(super) fn as_owner(
        &self,
        ifp: if_t,
        verb: Verb,
        work: impl FnOnce(IfnetOwner<P>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        // For the difference between a stale handle and somebody else's interface.
        let _alive = self.ifnet(ifp)?;
        let handle = self.ifnet_handle(ifp)?;
        let result = work(self.kernel.objects.begin(handle, verb)?);
        self.kernel.objects.end(handle, verb, result.is_ok());
        result
    }

    /// The handle of a vnet.
    pub(super) fn vnet_handle(&self, vnet: &VnetRef<P>) -> Result<vnet_t, Errno> {
        self.kernel.objects.vnet_handle(self.kernel.place, vnet, || self.kernel.serial())
    }

    /// The vnet of a handle.
    ///
    /// # Errors
    /// `EINVAL` for null, `EBADF` for a handle of nothing that lives in this kernel.
    pub(super) fn vnet(&self, vnet: vnet_t) -> Result<VnetRef<P>, Errno> {
        let handle = self.own(Handle::decode(vnet)?)?;
        self.kernel.objects.vnet_of(handle).ok_or(Errno::EBADF)
    }
}
