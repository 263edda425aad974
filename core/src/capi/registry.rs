//! Kernels that C can see, found by handle.
//!
//! Each platform has a few places for kernels, which are the only static memory of the C interface. A call brings the handle
//! of its thread, and this finds the kernel and the thread, and proves that both are there to stay:
//!
//! * A place is *pinned* while it is looked at, and who closes it waits for the pins. So what is found there is not freed
//!   under the look.
//! * A place is not closed while a thread is in its kernel; how long that is, `session` proves.
#![expect(unsafe_code, reason = "the life of a kernel is proven here, by hand")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use spin::mutex::SpinMutex;

use super::abi::{ifnet_kernel_t, mbuf};
use super::handle::{Handle, NUMBERS, PLACES, Serials};
use super::objects::Objects;
use super::session::Slot;
use crate::mem::TryVec;
use crate::platform::{Mutex as _, Platform};
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
pub(super) struct Place<P: CPlatform> {
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
pub(super) struct Pin<P: CPlatform>(&'static Place<P>);

impl<P: CPlatform> Drop for Pin<P> {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<P: CPlatform> Pin<P> {
    pub(super) fn new(place: &'static Place<P>) -> Self {
        place.pins.fetch_add(1, Ordering::SeqCst);
        Self(place)
    }

    /// The kernel that is there, if it is open, and the state of that time.
    pub(super) fn kernel(&self) -> Result<(&CKernel<P>, usize), Errno> {
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
    pub(super) fn at(number: usize) -> &'static Place<P> {
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
    pub(super) slots: TryVec<Slot<P>, P::Allocator>,
    pub(super) entered: AtomicUsize,
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
