//! Kernels that C can see, and their threads, found by handle.
//!
//! Each platform has a few places for kernels, which are the only static memory of the C interface. A call brings the handle
//! of its thread, and this finds the kernel and the thread, and proves that both are there to stay:
//!
//! * A place is *pinned* while it is looked at, and who closes it waits for the pins. So what is found there is not freed
//!   under the look.
//! * A thread's slot belongs to the thread of the host that entered it, by the number that the host gives each of its
//!   threads. Nobody else gets in, and so nobody else can take the thread away while it is in a call; and it cannot leave
//!   from inside one itself.
//! * A place is not closed while a thread is in its kernel.
#![expect(unsafe_code, reason = "the life of a kernel and of its threads is proven here, by hand")]

use core::cell::{Cell, RefCell, UnsafeCell};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use spin::mutex::SpinMutex;

use super::abi::{ifnet_kernel_t, ifnet_thread_t, mbuf};
use super::handle::{CHandle as _, Handle, NUMBERS, PLACES, Serials};
use super::objects::Objects;
use crate::mem::TryVec;
use crate::platform::{Mutex as _, Platform};
use crate::thread::{NetEpoch, Thread};
use crate::{Errno, Kernel};

/// A platform whose kernels C can be linked with: what the C interface needs beside [`Platform`].
///
/// # Safety
/// 1. [`curthread`](Self::curthread) never gives two threads that run at a time the same number.
/// 2. [`kernels`](Self::kernels) is always the same.
/// 3. [`packet_from_c`](Self::packet_from_c) is sound for whatever [`packet_into_c`](Self::packet_into_c) has given and for
///    whatever C can make; what C must not make, the platform's documentation says.
pub unsafe trait CPlatform: Platform {
    /// The places for this platform's kernels: a `static` in this function.
    fn kernels() -> &'static Kernels<Self>;

    /// A number, not 0, that is the calling thread's and no other running thread's. A handler is a thread of its own.
    fn curthread(&self) -> usize;

    /// Takes a packet over from C. `None` for null, and for what is no packet.
    fn packet_from_c(&self, m: *mut mbuf) -> Option<Self::Buffer>;

    /// Gives a packet to C, which owns it from now on.
    fn packet_into_c(packet: Self::Buffer) -> *mut mbuf;
}

/// The places for the kernels of a platform.
pub struct Kernels<P: CPlatform>([Place<P>; PLACES]);

/// A place for a kernel.
///
/// # Invariants
/// 1. `state` is the number of the opening, times four, plus the phase. Only who has moved it out of `FREE` or `LIVE` moves
///    it on.
/// 2. `kernel` points to a `CKernel` whenever the phase is `LIVE`, and as long as there are pins from such a time.
struct Place<P: CPlatform> {
    state: AtomicUsize,
    pins: AtomicUsize,
    kernel: AtomicPtr<CKernel<P>>,
    /// Those of the place while it is not `LIVE`; then the kernel has them.
    serials: SpinMutex<Serials>,
}

const FREE: usize = 0;
const OPENING: usize = 1;
const LIVE: usize = 2;
const CLOSING: usize = 3;
const PHASES: usize = 4;

/// While it lives, the place's kernel is not freed.
struct Pin<P: CPlatform>(&'static Place<P>);

impl<P: CPlatform> Drop for Pin<P> {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<P: CPlatform> Pin<P> {
    fn new(place: &'static Place<P>) -> Self {
        place.pins.fetch_add(1, Ordering::SeqCst);
        Self(place)
    }

    /// The kernel that is there, if it is open, and the state of that time.
    fn kernel(&self) -> Result<(&CKernel<P>, usize), Errno> {
        let state = self.0.state.load(Ordering::SeqCst);
        if state % PHASES != LIVE {
            return Err(Errno::EBADF);
        }
        // SAFETY:
        // 1. The pin was counted before the state was read, both sequentially consistent. Who closes changes the state
        //    first and reads the pins then: so either he sees this pin and waits, or the state was another.
        // 2. The kernel was live (invariant 2), and it is only ever shared.
        let kernel = unsafe { self.0.kernel.load(Ordering::SeqCst).as_ref() }.ok_or(Errno::EBADF)?;
        Ok((kernel, state))
    }
}

/// A place that is this caller's: nobody sees its kernel, yet or any more. Dropping it makes the place free.
pub(super) struct Claim<P: CPlatform> {
    place: &'static Place<P>,
    number: usize,
    opening: usize,
}

impl<P: CPlatform> Drop for Claim<P> {
    fn drop(&mut self) {
        self.place.state.store(self.opening * PHASES + FREE, Ordering::SeqCst);
    }
}

impl<P: CPlatform> Default for Kernels<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: CPlatform> Kernels<P> {
    /// Free places.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { Place::new() }; PLACES])
    }

    /// The place that a handle names.
    fn at(number: usize) -> &'static Place<P> {
        &P::kernels().0[number % PLACES]
    }

    /// Makes a free place the caller's.
    ///
    /// # Errors
    /// `EAGAIN` if there is none.
    pub(super) fn claim() -> Result<Claim<P>, Errno> {
        let claim = |place: &'static Place<P>| {
            let state = place.state.load(Ordering::SeqCst);
            // A number that is too large begins anew; it only has to differ from that of a moment ago.
            let opening = (state / PHASES + 1) % (usize::MAX / PHASES);
            let new = opening * PHASES + OPENING;
            let claimed = state % PHASES == FREE
                && place.state.compare_exchange(state, new, Ordering::SeqCst, Ordering::Relaxed).is_ok();
            claimed.then_some((place, opening))
        };
        let found = P::kernels().0.iter().enumerate().find_map(|(number, place)| Some((number, claim(place)?)));
        let (number, (place, opening)) = found.ok_or(Errno::EAGAIN)?;
        Ok(Claim { place, number, opening })
    }

    /// Runs `work` on each kernel that C can see, until it gives something.
    pub(super) fn find<R>(mut work: impl FnMut(&CKernel<P>) -> Option<R>) -> Option<R> {
        P::kernels().0.iter().find_map(|place| work(Pin::new(place).kernel().ok()?.0))
    }

    /// Closes a place in which nobody is: the kernel that was there, which is the caller's again.
    ///
    /// # Errors
    /// `EINVAL`, `EBADF`; what `may` says, which is asked first while the kernel is open, and again when nobody can enter.
    pub(super) fn close(
        kernel: ifnet_kernel_t,
        may: impl Fn(&CKernel<P>) -> Result<(), Errno>,
    ) -> Result<(NonNull<CKernel<P>>, Claim<P>), Errno> {
        let handle = Handle::decode(kernel)?;
        let place = Self::at(handle.place);
        let live = {
            let pin = Pin::new(place);
            let (kernel, live) = pin.kernel()?;
            if kernel.serial != handle.serial {
                return Err(Errno::EBADF);
            }
            // Without an effect yet: those who are in the kernel rightly shall not see it closing.
            may(kernel)?;
            live
        };
        let closing = live - LIVE + CLOSING;
        place.state.compare_exchange(live, closing, Ordering::SeqCst, Ordering::SeqCst).map_err(|_| Errno::EBADF)?;
        let Some(found) = NonNull::new(place.kernel.load(Ordering::SeqCst)) else { return Err(Errno::EBADF) };
        // SAFETY: it was live, and it is this caller's to end since the state has changed (invariant 1); shared only here.
        let kernel = unsafe { found.as_ref() };
        while place.pins.load(Ordering::SeqCst) != 0 {
            kernel.kernel.platform().relax();
        }
        if let Err(errno) = may(kernel) {
            place.state.store(live, Ordering::SeqCst);
            return Err(errno);
        }
        place.kernel.store(core::ptr::null_mut(), Ordering::SeqCst);
        *place.serials.lock() = *kernel.serials.lock();
        Ok((found, Claim { place, number: handle.place, opening: live / PHASES }))
    }
}

impl<P: CPlatform> Place<P> {
    const fn new() -> Self {
        let kernel = AtomicPtr::new(core::ptr::null_mut());
        let serials = SpinMutex::new(Serials::NEW);
        Self { state: AtomicUsize::new(FREE), pins: AtomicUsize::new(0), kernel, serials }
    }
}

impl<P: CPlatform> Claim<P> {
    /// What C has to do with a kernel, before it is let in, with room for as many threads.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`.
    ///
    /// # Safety
    /// The kernel outlives what this returns.
    pub(super) unsafe fn build(&self, kernel: &Kernel<P>, threads: usize) -> Result<CKernel<P>, Errno> {
        let memory = kernel.platform().allocator();
        let threads = threads.min(NUMBERS);
        let mut slots = TryVec::try_with_capacity(threads, memory.clone())?;
        for _ in 0..threads {
            slots.try_push(Slot::new()).map_err(|_| Errno::ENOMEM)?;
        }
        let mut serials = *self.place.serials.lock();
        let serial = serials.next()?;
        // SAFETY: the caller's promise.
        let kernel: &'static Kernel<P> = unsafe { NonNull::from(kernel).as_ref() };
        let (objects, serials, entered) = (Objects::new(memory), P::Mutex::new(serials), AtomicUsize::new(0));
        Ok(CKernel { place: self.number, serial, serials, objects, slots, entered, kernel })
    }

    /// Lets C in.
    ///
    /// # Safety
    /// The kernel was [built](Self::build) for this place, and stays where it is until it was [closed](Kernels::close).
    pub(super) unsafe fn open(self, kernel: NonNull<CKernel<P>>) -> ifnet_kernel_t {
        // SAFETY: the caller's promise.
        let serial = unsafe { kernel.as_ref() }.serial;
        self.place.kernel.store(kernel.as_ptr(), Ordering::SeqCst);
        self.place.state.store(self.opening * PHASES + LIVE, Ordering::SeqCst);
        let handle = Handle { place: self.number, number: 0, serial };
        // It is live now, and not to become free.
        core::mem::forget(self);
        handle.encode()
    }
}

/// A kernel that C can see.
pub(super) struct CKernel<P: CPlatform> {
    pub(super) place: usize,
    /// Of its own handle.
    serial: u64,
    serials: P::Mutex<Serials>,
    pub(super) objects: Objects<P>,
    slots: TryVec<Slot<P>, P::Allocator>,
    entered: AtomicUsize,
    /// `'static` is as long as this lives: see [`Claim::build`].
    pub(super) kernel: &'static Kernel<P>,
}

impl<P: CPlatform> CKernel<P> {
    /// A serial for a new handle.
    pub(super) fn serial(&self) -> Result<u64, Errno> {
        self.serials.lock().next()
    }

    /// Whether no thread is in it, and C holds no interface.
    pub(super) fn is_left(&self) -> Result<(), Errno> {
        let left = self.entered.load(Ordering::SeqCst) == 0 && self.objects.is_empty();
        if left { Ok(()) } else { Err(Errno::EBUSY) }
    }

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

/// Room for a thread.
///
/// # Invariants
/// While `owner` is not 0, only the thread of the host with that number uses `session` and changes `owner`.
struct Slot<P: CPlatform> {
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
    const fn new() -> Self {
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

/// Runs `work` on a kernel, whose place cannot be closed meanwhile.
pub(super) fn with_kernel<P: CPlatform, R>(
    kernel: ifnet_kernel_t,
    work: impl FnOnce(&CKernel<P>) -> R,
) -> Result<R, Errno> {
    let handle = Handle::decode(kernel)?;
    let pin = Pin::new(Kernels::<P>::at(handle.place));
    let (kernel, _) = pin.kernel()?;
    if kernel.serial == handle.serial { Ok(work(kernel)) } else { Err(Errno::EBADF) }
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
