//! Threads of a kernel that C can see: by which right a call is made, and what it is made with.
//!
//! A thread's slot belongs to the thread of the host that entered it, by the number that the host gives each of its threads.
//! Nobody else gets in, and so nobody else can take the thread away while it is in a call; and it cannot leave from inside
//! one itself.
#![expect(unsafe_code, reason = "the life of a thread is proven here, by hand")]

use core::cell::{Cell, RefCell, UnsafeCell};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::abi::{ifnet_kernel_t, ifnet_thread_t};
use super::handle::{CHandle as _, Handle};
use super::registry::{CKernel, CPlatform, Kernels, Pin, with_kernel};
use crate::Errno;
use crate::thread::{NetEpoch, Thread};

/// Room for a thread.
///
/// # Invariants
/// While `owner` is not 0, only the thread of the host with that number uses `session` and changes `owner`.
pub(super) struct Slot<P: CPlatform> {
    owner: AtomicUsize,
    /// The serial of the handle, in two halves: not every machine has atomics of 64 bits. Its owner sees both as they are;
    /// who sees them change is not the owner, and learns only by which error that is.
    serial: [AtomicU32; 2],
    /// `curthread` of the kernel, by which a driver's function finds its handle.
    id: AtomicU32,
    session: UnsafeCell<Option<Session<P>>>,
}

// SAFETY: by the invariant `session` is used by one thread at a time, and it is empty when it changes hands.
unsafe impl<P: CPlatform> Sync for Slot<P> {}
// SAFETY: a slot moves only before anybody has entered it.
unsafe impl<P: CPlatform> Send for Slot<P> {}

impl<P: CPlatform> Slot<P> {
    pub(super) const fn new() -> Self {
        let (owner, serial) = (AtomicUsize::new(0), [const { AtomicU32::new(0) }; 2]);
        Self { owner, serial, id: AtomicU32::new(0), session: UnsafeCell::new(None) }
    }

    fn serial(&self) -> u64 {
        let [low, high] = self.serial.each_ref().map(|half| u64::from(half.load(Ordering::Acquire)));
        high << 32 | low
    }

    fn set_serial(&self, serial: u64) {
        let [low, high] = &self.serial;
        low.store(serial as u32, Ordering::Release);
        high.store((serial >> 32) as u32, Ordering::Release);
    }

    /// # Safety
    /// The caller is the slot's owner, or has just become it, and keeps no `&mut` into it.
    unsafe fn session(&self) -> Result<&Session<P>, Errno> {
        // SAFETY: the owner is the only one to use it (invariant), and it is changed only by `enter` and `leave`, of which
        // the one finds it empty and the other no call under way.
        unsafe { &*self.session.get() }.as_ref().ok_or(Errno::EBADF)
    }
}

impl<P: CPlatform> CKernel<P> {
    /// The slot of a thread, if the caller is that thread.
    fn slot(&self, handle: Handle) -> Result<&Slot<P>, Errno> {
        let slot = self.slots.get(handle.number).ok_or(Errno::EBADF)?;
        let owner = slot.owner.load(Ordering::Acquire);
        if owner == 0 || slot.serial() != handle.serial {
            return Err(Errno::EBADF);
        }
        match self.kernel.platform().curthread() {
            0 => Err(Errno::EINVAL),
            me if me == owner => Ok(slot),
            _ => Err(Errno::EPERM),
        }
    }

    fn handle_of_slot(&self, number: usize) -> ifnet_thread_t {
        Handle { place: self.place, number, serial: self.slots[number].serial() }.encode()
    }

    /// Takes a slot for the calling thread.
    fn enter(&self, make: impl FnOnce() -> Result<Session<P>, Errno>) -> Result<usize, Errno> {
        let me = self.kernel.platform().curthread();
        if me == 0 {
            return Err(Errno::EINVAL);
        }
        let serial = self.serial()?;
        let free = |slot: &Slot<P>| slot.owner.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let number = self.slots.iter().position(free).ok_or(Errno::EAGAIN)?;
        let slot = &self.slots[number];
        match make() {
            Ok(session) => {
                slot.set_serial(serial);
                slot.id.store(session.td().id().0.get(), Ordering::Release);
                // SAFETY: the slot was free, so it is empty, and it is the caller's now.
                unsafe { *slot.session.get() = Some(session) };
                self.entered.fetch_add(1, Ordering::SeqCst);
                Ok(number)
            }
            Err(errno) => {
                slot.owner.store(0, Ordering::Release);
                Err(errno)
            }
        }
    }

    /// Gives a slot back. The last thing that is done with the kernel, unless there is a pin.
    ///
    /// # Safety
    /// The caller is the slot's owner, and no reference into its session is left.
    unsafe fn leave(&self, slot: &Slot<P>) {
        // SAFETY: the caller's promise.
        let session = unsafe { (*slot.session.get()).take() };
        drop(session);
        slot.id.store(0, Ordering::Release);
        // No handle has it: the next owner's handle is not mistaken for the old one before it has its own.
        slot.set_serial(0);
        slot.owner.store(0, Ordering::Release);
        self.entered.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A thread that has entered.
struct Session<P: CPlatform> {
    /// The epoch section of the C code. Before `td`, which it borrows.
    section: RefCell<Option<NetEpoch<'static, P>>>,
    /// How often it was entered.
    sections: Cell<u32>,
    /// Calls under way, one inside the other.
    calls: Cell<u32>,
    errno: Cell<i32>,
    td: Td<P>,
}

#[expect(clippy::large_enum_variant, reason = "a slot has room for a thread of its own, whoever is in it")]
enum Td<P: CPlatform> {
    /// Of a thread that C has entered.
    Own(Thread<'static, P>),
    /// Lent by a thread in Rust for a call of a driver's function.
    Lent(&'static Thread<'static, P>),
}

impl<P: CPlatform> Session<P> {
    fn new(td: Td<P>) -> Self {
        // Who has lent a thread is waiting for it, as a call would be: it cannot be left.
        let calls = u32::from(matches!(td, Td::Lent(_)));
        let (section, sections) = (RefCell::new(None), Cell::new(0));
        Self { section, sections, calls: Cell::new(calls), errno: Cell::new(0), td }
    }

    fn td(&self) -> &Thread<'static, P> {
        match &self.td {
            Td::Own(td) => td,
            Td::Lent(td) => td,
        }
    }
}

/// A call: the thread that it came from, and its kernel.
pub(super) struct Call<'a, P: CPlatform> {
    pub(super) kernel: &'a CKernel<P>,
    session: &'a Session<P>,
}

impl<P: CPlatform> Drop for Call<'_, P> {
    fn drop(&mut self) {
        self.session.calls.set(self.session.calls.get() - 1);
    }
}

impl<'a, P: CPlatform> Call<'a, P> {
    pub(super) fn td(&self) -> &'a Thread<'static, P> {
        self.session.td()
    }

    /// The error of the last call that failed.
    pub(super) fn last_errno(&self) -> i32 {
        self.session.errno.get()
    }

    /// `NET_EPOCH_ENTER` of the C code.
    pub(super) fn section_enter(&self) -> Result<(), Errno> {
        let count = self.session.sections.get().checked_add(1).ok_or(Errno::EAGAIN)?;
        if count == 1 {
            // SAFETY:
            // 1. The session stays where it is until the thread leaves, which it cannot do inside a section.
            // 2. The section is dropped before `td`, by `section_exit` or as the field before it.
            let td: &'static Thread<'static, P> = unsafe { NonNull::from(self.session.td()).as_ref() };
            *self.session.section.borrow_mut() = Some(td.net_epoch_enter());
        }
        self.session.sections.set(count);
        Ok(())
    }

    /// `NET_EPOCH_EXIT` of the C code.
    pub(super) fn section_exit(&self) -> Result<(), Errno> {
        let count = self.session.sections.get().checked_sub(1).ok_or(Errno::EINVAL)?;
        self.session.sections.set(count);
        if count == 0 {
            let section = self.session.section.borrow_mut().take();
            drop(section);
        }
        Ok(())
    }
}

/// Runs `work` as the thread `td`. An error is remembered for `ifnet_errno`.
pub(super) fn with_thread<P: CPlatform, R>(
    td: ifnet_thread_t,
    work: impl FnOnce(&Call<'_, P>) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let handle = Handle::decode(td)?;
    let (kernel, session) = {
        let pin = Pin::new(Kernels::<P>::at(handle.place));
        let (kernel, _) = pin.kernel()?;
        // SAFETY: `slot` has found the caller to be the owner.
        let session = unsafe { kernel.slot(handle)?.session()? };
        session.calls.set(session.calls.get() + 1);
        (NonNull::from(kernel), NonNull::from(session))
    };
    // SAFETY: without the pin, from here on:
    // 1. The caller is a thread that has entered and that cannot leave before this call has ended (`calls`), so the
    //    session stays where it is.
    // 2. As long as it is entered, the place is not closed (`entered`).
    let call = unsafe { Call { kernel: kernel.as_ref(), session: session.as_ref() } };
    work(&call).inspect_err(|errno| call.session.errno.set(errno.value()))
}

/// Calls a function of a driver in C, of an interface of the kernel in this place, with a handle of the thread. A thread
/// that C has not entered is lent to the function, and comes back as it was but for what the function has changed of its
/// vnet. The handle is null if the kernel is not open, and for a host whose `curthread` says 0.
pub(super) fn lend<P: CPlatform, R>(place: usize, td: &Thread<'_, P>, call: impl FnOnce(ifnet_thread_t) -> R) -> R {
    let pin = Pin::new(Kernels::<P>::at(place));
    let Ok((kernel, _)) = pin.kernel() else { return call(ifnet_thread_t::NULL) };
    // A walk over as many words as threads may exist; a thread has no field for its handle.
    let is_it = |slot: &Slot<P>| slot.id.load(Ordering::Acquire) == td.id().0.get();
    if let Some(number) = kernel.slots.iter().position(is_it) {
        let handle = kernel.handle_of_slot(number);
        // Who has entered keeps the kernel open.
        drop(pin);
        return call(handle);
    }
    // SAFETY: what lives as long as the session, which ends below, is called `'static`.
    let lasting: &'static Thread<'static, P> = unsafe { NonNull::from(td).cast().as_ref() };
    let Ok(number) = kernel.enter(|| Ok(Session::new(Td::Lent(lasting)))) else { return call(ifnet_thread_t::NULL) };
    let kernel = NonNull::from(kernel);
    // A wait for pins must not become a wait for a driver.
    drop(pin);
    // SAFETY: a thread is in it, so the place is not closed.
    let kernel = unsafe { kernel.as_ref() };
    let result = call(kernel.handle_of_slot(number));
    // So that it is not gone before `leave` has returned.
    let _pin = Pin::new(Kernels::<P>::at(place));
    // SAFETY: the caller has entered it above, and all calls of the function have returned.
    unsafe { kernel.leave(&kernel.slots[number]) };
    result
}

/// `ifnet_thread_enter`.
pub(super) fn thread_enter<P: CPlatform>(kernel: ifnet_kernel_t) -> Result<ifnet_thread_t, Errno> {
    with_kernel::<P, _>(kernel, |kernel| {
        let number = kernel.enter(|| Ok(Session::new(Td::Own(kernel.kernel.thread()?))))?;
        Ok(kernel.handle_of_slot(number))
    })?
}

/// `ifnet_thread_exit`.
pub(super) fn thread_exit<P: CPlatform>(td: ifnet_thread_t) -> Result<(), Errno> {
    let handle = Handle::decode(td)?;
    // To the end: the place could be closed as soon as nobody is counted in it.
    let pin = Pin::new(Kernels::<P>::at(handle.place));
    let (kernel, _) = pin.kernel()?;
    let slot = kernel.slot(handle)?;
    {
        // SAFETY: `slot` has found the caller to be the owner; the reference ends with the block.
        let session = unsafe { slot.session()? };
        if session.calls.get() != 0 || session.sections.get() != 0 {
            return Err(Errno::EBUSY);
        }
    }
    // SAFETY: the caller is the owner, and no call of its is under way that could have a reference into the session.
    unsafe { kernel.leave(slot) };
    Ok(())
}
