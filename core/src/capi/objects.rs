//! Vnets and interfaces that C has handles of.
//!
//! An interface's handle is its index and the generation of that: every interface has one, whoever made it, and always
//! the same. The table below has those in which C has a share: those that C allocated, and those of which it holds
//! references. All others are found in the kernel's index table while they live.
//!
//! The share of an allocated interface also says where its driver stands, because what the types of the Rust interface
//! exclude, C can write down: freeing what is attached, freeing twice, two verbs at once from two threads.

use spin::mutex::SpinMutex;

use super::abi::{ifnet, vnet};
use super::handle::{Handle, Kind, Tag};
use super::host::{CHost, Memory};
use super::registry::Call;
use crate::ifnet::{Ifnet, IfnetOwner, IfnetRef, Ifp, if_try_ref};
use crate::mem::{TryTable, TryVec, hash_u64};
use crate::{Errno, VnetRef};

/// What C has handles of, in one kernel.
pub(super) struct Objects {
    ifnets: SpinMutex<TryTable<Share, Memory>>,
    /// By the number of the vnet.
    vnets: SpinMutex<TryVec<VnetSlot, Memory>>,
}

/// The share of C in an interface.
struct Share {
    index: u32,
    idxgen: u16,
    ifp: Ifp<CHost>,
    /// C allocated it, and has not freed it yet.
    owned: bool,
    attached: bool,
    /// A verb of its driver is under way.
    busy: bool,
    /// References that C holds; the kernel counts them as one, which is `kept`.
    refs: u32,
    kept: Option<IfnetRef<CHost>>,
}

struct VnetSlot {
    vnet: Option<VnetRef<CHost>>,
    generation: usize,
}

/// What a driver does with its own interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Name,
    Attach,
    Detach,
    Free,
}

impl Share {
    fn is(&self, handle: Handle) -> bool {
        self.index as usize == handle.number && handle.is_generation(usize::from(self.idxgen))
    }
}

fn hash(handle: Handle) -> u64 {
    hash_u64(handle.number as u64)
}

/// The handle of an interface; `None` if its index does not fit.
pub(super) fn handle_of(tag: Tag, ifp: &Ifnet<CHost>) -> Option<Handle> {
    Handle::new(tag, Kind::Ifnet, usize::from(ifp.idxgen()), usize::try_from(ifp.index()).ok()?)
}

impl Objects {
    pub(super) const fn new(memory: Memory) -> Self {
        Self { ifnets: SpinMutex::new(TryTable::new(memory)), vnets: SpinMutex::new(TryVec::new(memory)) }
    }

    /// Whether C has neither allocated interfaces nor references of any.
    pub(super) fn is_empty(&self) -> bool {
        self.ifnets.lock().is_empty()
    }

    /// Notes an interface that C has allocated. On failure it is given back.
    pub(super) fn allocated(
        &self,
        tag: Tag,
        owner: IfnetOwner<CHost>,
    ) -> Result<*mut ifnet, (Errno, IfnetOwner<CHost>)> {
        let Some(handle) = handle_of(tag, &owner) else { return Err((Errno::ENOSPC, owner)) };
        let mut ifnets = self.ifnets.lock();
        if ifnets.try_reserve(1).is_err() {
            drop(ifnets);
            return Err((Errno::ENOMEM, owner));
        }
        let IfnetOwner(ifp) = owner;
        let (index, idxgen) = (ifp.index(), ifp.idxgen());
        let share = Share { index, idxgen, ifp, owned: true, attached: false, busy: false, refs: 0, kept: None };
        ifnets.insert_reserved(hash(handle), share);
        Ok(handle.encode())
    }

    /// Takes a reference over into C's hands.
    pub(super) fn keep(&self, tag: Tag, reference: IfnetRef<CHost>) -> Result<*mut ifnet, Errno> {
        let handle = handle_of(tag, &reference).ok_or(Errno::ENOSPC)?;
        // What is too much is dropped after the lock.
        let _surplus;
        let mut ifnets = self.ifnets.lock();
        if let Some(share) = ifnets.find_mut(hash(handle), |share| share.is(handle)) {
            share.refs = share.refs.checked_add(1).ok_or(Errno::EMLINK)?;
            _surplus = if share.kept.is_none() { share.kept.replace(reference) } else { Some(reference) };
        } else if ifnets.try_reserve(1).is_ok() {
            let (index, idxgen, ifp) = (reference.index(), reference.idxgen(), Ifp::clone(&reference));
            let kept = Some(reference);
            let share = Share { index, idxgen, ifp, owned: false, attached: false, busy: false, refs: 1, kept };
            ifnets.insert_reserved(hash(handle), share);
        } else {
            _surplus = Some(reference);
            drop(ifnets);
            return Err(Errno::ENOMEM);
        }
        drop(ifnets);
        Ok(handle.encode())
    }

    /// `if_rele`.
    pub(super) fn release(&self, handle: Handle) -> Result<(), Errno> {
        let mut ifnets = self.ifnets.lock();
        let share = ifnets.find_mut(hash(handle), |share| share.is(handle)).ok_or(Errno::EBADF)?;
        share.refs = share.refs.checked_sub(1).ok_or(Errno::EINVAL)?;
        let (last, owned) = (share.refs == 0, share.owned);
        let kept = if last { share.kept.take() } else { None };
        let gone = if last && !owned { ifnets.remove(hash(handle), |share| share.is(handle)) } else { None };
        drop(ifnets);
        drop((kept, gone));
        Ok(())
    }

    /// Begins a verb of the driver of an interface; it must be [ended](Self::end).
    pub(super) fn begin(&self, handle: Handle, verb: Verb) -> Result<IfnetOwner<CHost>, Errno> {
        let mut ifnets = self.ifnets.lock();
        let share = ifnets.find_mut(hash(handle), |share| share.is(handle)).ok_or(Errno::EPERM)?;
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
        let Some(share) = ifnets.find_mut(hash(handle), |share| share.is(handle)) else { return };
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
        let gone = if gone { ifnets.remove(hash(handle), |share| share.is(handle)) } else { None };
        drop(ifnets);
        drop(gone);
    }

    fn find(&self, handle: Handle) -> Option<Ifp<CHost>> {
        self.ifnets.lock().find(hash(handle), |share| share.is(handle)).map(|share| share.ifp.clone())
    }

    fn vnet_handle(&self, tag: Tag, vnet: &VnetRef<CHost>) -> Result<*mut vnet, Errno> {
        let at = vnet.id() as usize;
        let mut vnets = self.vnets.lock();
        while vnets.len() <= at {
            vnets.try_push(VnetSlot { vnet: None, generation: 0 }).map_err(|_| Errno::ENOMEM)?;
        }
        let slot = &mut vnets[at];
        let mut former = None;
        if !slot.vnet.as_ref().is_some_and(|other| other.ptr_eq(vnet)) {
            slot.generation += 1;
            former = slot.vnet.replace(vnet.clone());
        }
        let handle = Handle::new(tag, Kind::Vnet, slot.generation, at + 1).ok_or(Errno::ENOSPC);
        drop(vnets);
        drop(former);
        handle.map(Handle::encode)
    }

    fn vnet_of(&self, handle: Handle) -> Option<VnetRef<CHost>> {
        let vnets = self.vnets.lock();
        let slot = vnets.get(handle.number - 1).filter(|slot| handle.is_generation(slot.generation))?;
        slot.vnet.clone().filter(|vnet| !vnet.is_destroyed())
    }

    /// Forgets a vnet that was destroyed, so that its memory goes.
    pub(super) fn forget_vnet(&self, vnet: &VnetRef<CHost>) {
        let mut vnets = self.vnets.lock();
        let slot = vnets.get_mut(vnet.id() as usize);
        let slot = slot.filter(|slot| slot.vnet.as_ref().is_some_and(|other| other.ptr_eq(vnet)));
        let former = slot.and_then(|slot| slot.vnet.take());
        drop(vnets);
        drop(former);
    }
}

impl Call<'_> {
    fn own(&self, handle: Handle) -> Result<Handle, Errno> {
        if handle.tag == self.kernel.tag { Ok(handle) } else { Err(Errno::EBADF) }
    }

    /// The handle of an interface of this kernel, whether or not it lives.
    pub(super) fn ifnet_handle(&self, ifp: *mut ifnet) -> Result<Handle, Errno> {
        self.own(Handle::decode(ifp, Kind::Ifnet)?)
    }

    /// The interface of a handle.
    ///
    /// # Errors
    /// `EINVAL` for null, `EBADF` for a handle of nothing that lives in this kernel.
    pub(super) fn ifnet(&self, ifp: *mut ifnet) -> Result<Ifp<CHost>, Errno> {
        let handle = self.ifnet_handle(ifp)?;
        if let Some(ifp) = self.kernel.objects.find(handle) {
            return Ok(ifp);
        }
        let index = u32::try_from(handle.number).map_err(|_| Errno::EBADF)?;
        let section = self.td().net_epoch_enter();
        let found = self.kernel.kernel.index.at(index, &section).and_then(|ifp| ifp.try_share());
        found.filter(|ifp| handle.is_generation(usize::from(ifp.idxgen()))).ok_or(Errno::EBADF)
    }

    /// Takes another reference of an interface.
    pub(super) fn if_ref(&self, ifp: *mut ifnet) -> Result<(), Errno> {
        let reference = if_try_ref(&self.ifnet(ifp)?).ok_or(Errno::EBADF)?;
        self.kernel.objects.keep(self.kernel.tag, reference).map(drop)
    }

    /// Runs a verb of the driver of an interface, unless another is under way.
    pub(super) fn as_owner(
        &self,
        ifp: *mut ifnet,
        verb: Verb,
        work: impl FnOnce(IfnetOwner<CHost>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        // For the difference between a stale handle and somebody else's interface.
        let _alive = self.ifnet(ifp)?;
        let handle = self.ifnet_handle(ifp)?;
        let result = work(self.kernel.objects.begin(handle, verb)?);
        self.kernel.objects.end(handle, verb, result.is_ok());
        result
    }

    /// The handle of a vnet.
    pub(super) fn vnet_handle(&self, vnet: &VnetRef<CHost>) -> Result<*mut vnet, Errno> {
        self.kernel.objects.vnet_handle(self.kernel.tag, vnet)
    }

    /// The vnet of a handle.
    ///
    /// # Errors
    /// `EINVAL` for null, `EBADF` for a handle of nothing that lives in this kernel.
    pub(super) fn vnet(&self, vnet: *mut vnet) -> Result<VnetRef<CHost>, Errno> {
        let handle = self.own(Handle::decode(vnet, Kind::Vnet)?)?;
        self.kernel.objects.vnet_of(handle).ok_or(Errno::EBADF)
    }
}
