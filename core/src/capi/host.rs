//! The platform of a kernel whose host is written in C.
//!
//! The functions of the host are values of type `extern "C" fn`: whoever boots promises that they are what they say, and
//! calling them needs no further promise. Locks are the core's spin locks, one word each; interrupt handlers must not call
//! the library. Memory is the host's heap, or a fixed pool over the memory given at boot.
#![expect(unsafe_code, reason = "memory and packets are the host's; a cookie comes back through C")]

use core::alloc::Layout;
use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write as _};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use spin::mutex::SpinMutex;

use super::abi::{ifnet_host, mbuf};
use super::handle::Tag;
use crate::Errno;
use crate::mem::PoolRef;
use crate::platform::{Channel, Platform, ThreadId};
use crate::trace::Record;

type Panic = extern "C" fn(*mut c_void, *const c_char);
type FreeMbuf = extern "C" fn(*mut c_void, *mut mbuf);
type Alloc = extern "C" fn(*mut c_void, usize, usize) -> *mut c_void;
type Free = extern "C" fn(*mut c_void, *mut c_void, usize, usize);

/// `arg` of the host.
#[derive(Clone, Copy)]
pub(crate) struct Arg(*mut c_void);

// SAFETY: it is never followed here, only given to the host's functions, which any thread may call (`ifnet_host`).
unsafe impl Send for Arg {}
// SAFETY: as for `Send`.
unsafe impl Sync for Arg {}

/// The functions of the host, checked: what is required is there.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    arg: Arg,
    curthread: extern "C" fn(*mut c_void) -> usize,
    panic: Panic,
    m_freem: FreeMbuf,
    heap: Option<(Alloc, Free)>,
    m_copypacket: Option<extern "C" fn(*mut c_void, *mut mbuf) -> *mut mbuf>,
    relax: Option<extern "C" fn(*mut c_void)>,
    sleep: Option<extern "C" fn(*mut c_void, usize, extern "C" fn(*mut c_void) -> c_int, *mut c_void)>,
    wakeup: Option<extern "C" fn(*mut c_void, usize)>,
    work_queued: Option<extern "C" fn(*mut c_void)>,
    trace: Option<extern "C" fn(*mut c_void, u32, *const c_char)>,
}

/// A host that has a kernel: where a panic of this library itself is reported.
static RECEIVER: SpinMutex<Option<Functions>> = SpinMutex::new(None);

impl Functions {
    /// # Errors
    /// `EINVAL` if a required function is missing, or one of `alloc` and `free`.
    pub(super) fn check(host: &ifnet_host) -> Result<Self, Errno> {
        let &ifnet_host {
            arg,
            curthread,
            panic,
            m_freem,
            m_copypacket,
            alloc,
            free,
            relax,
            sleep,
            wakeup,
            work_queued,
            trace,
        } = host;
        let (Some(curthread), Some(panic), Some(m_freem)) = (curthread, panic, m_freem) else {
            return Err(Errno::EINVAL);
        };
        let heap = match (alloc, free) {
            (Some(alloc), Some(free)) => Some((alloc, free)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Errno::EINVAL),
        };
        let arg = Arg(arg);
        Ok(Self { arg, curthread, panic, m_freem, heap, m_copypacket, relax, sleep, wakeup, work_queued, trace })
    }

    pub(super) fn has_heap(&self) -> bool {
        self.heap.is_some()
    }

    /// Who calls.
    ///
    /// # Errors
    /// `EINVAL` from a host that says 0.
    pub(super) fn curthread(&self) -> Result<usize, Errno> {
        match (self.curthread)(self.arg.0) {
            0 => Err(Errno::EINVAL),
            thread => Ok(thread),
        }
    }

    pub(super) fn relax(&self) {
        match self.relax {
            Some(relax) => relax(self.arg.0),
            None => core::hint::spin_loop(),
        }
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        c_text(message, |text| (self.panic)(self.arg.0, text));
        loop {
            core::hint::spin_loop();
        }
    }
}

/// From here on, panics of the library itself are reported to this host, if there is one.
pub(super) fn receive_panics(functions: Option<Functions>) {
    *RECEIVER.lock() = functions;
}

/// For the panic handler of a program without `std`: tells a host that has a kernel, the one that was booted last if that
/// is still up.
pub fn rust_panic(message: fmt::Arguments<'_>) -> ! {
    // A panic under this lock is not possible; but a handler that waits would be worse than one that is silent.
    if let Some(functions) = RECEIVER.try_lock().and_then(|receiver| *receiver) {
        functions.panic(message);
    }
    loop {
        core::hint::spin_loop();
    }
}

/// Shows a text to C, cut off after 255 bytes.
fn c_text(text: fmt::Arguments<'_>, show: impl FnOnce(*const c_char)) {
    let mut line = Line(heapless::Vec::new());
    // A text that is too long is cut off; that is all that can fail.
    let _ = line.write_fmt(text);
    // There is room: `write_str` leaves one byte.
    let _ = line.0.push(0);
    show(line.0.as_ptr().cast());
}

struct Line(heapless::Vec<u8, 256>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.0.capacity() - 1 - self.0.len();
        let fits = &text.as_bytes()[..text.len().min(room)];
        self.0.extend_from_slice(fits).map_err(|_| fmt::Error)?;
        if fits.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Where a kernel's memory comes from.
#[derive(Clone, Copy)]
pub(crate) enum Memory {
    Pool(PoolRef),
    Heap { arg: Arg, alloc: Alloc, free: Free },
}

impl Memory {
    /// The host's heap, if it has one.
    pub(super) fn heap(functions: &Functions) -> Option<Self> {
        functions.heap.map(|(alloc, free)| Self::Heap { arg: functions.arg, alloc, free })
    }

    /// How many bytes of the pool are handed out; 0 for a heap.
    pub(super) fn in_use(self) -> usize {
        match self {
            Self::Pool(pool) => pool.pool().in_use(),
            Self::Heap { .. } => 0,
        }
    }
}

// SAFETY:
// 1. What the pool hands out fits and stays valid, by its own contract; what the host hands out, by that of
//    `ifnet_host::alloc`: of that size and alignment, and the library's alone until it is given to `free`.
// 2. Copies are of the same pool, or call the same two functions with the same `arg`.
// 3. A piece of no bytes is never asked of the host: a dangling pointer of the right alignment stands for it, and is
//    not given to `free`.
unsafe impl Allocator for Memory {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match self {
            Self::Pool(pool) => pool.allocate(layout),
            Self::Heap { arg, alloc, .. } => {
                let piece = match layout.size() {
                    0 => core::ptr::without_provenance_mut(layout.align()),
                    size => alloc(arg.0, size, layout.align()).cast::<u8>(),
                };
                let piece = NonNull::new(piece).ok_or(AllocError)?;
                if !piece.addr().get().is_multiple_of(layout.align()) {
                    return Err(AllocError);
                }
                Ok(NonNull::slice_from_raw_parts(piece, layout.size()))
            }
        }
    }

    unsafe fn deallocate(&self, piece: NonNull<u8>, layout: Layout) {
        match self {
            // SAFETY: the caller's promise.
            Self::Pool(pool) => unsafe { pool.deallocate(piece, layout) },
            Self::Heap { .. } if layout.size() == 0 => {}
            Self::Heap { arg, free, .. } => free(arg.0, piece.as_ptr().cast(), layout.size(), layout.align()),
        }
    }
}

/// A packet of the host. Dropping it is `m_freem`.
pub(crate) struct Mbuf {
    m: NonNull<mbuf>,
    arg: Arg,
    free: FreeMbuf,
}

// SAFETY: it is never followed here; who owns it is the only one to give it on, and any thread may (`ifnet_host`).
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes a packet over from C. `None` for null.
    pub(super) fn from_c(host: &CHost, m: *mut mbuf) -> Option<Self> {
        let Functions { arg, m_freem, .. } = host.functions;
        Some(Self { m: NonNull::new(m)?, arg, free: m_freem })
    }

    /// Gives the packet to C, which owns it from now on.
    pub(super) fn into_c(self) -> *mut mbuf {
        ManuallyDrop::new(self).m.as_ptr()
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        (self.free)(self.arg.0, self.m.as_ptr());
    }
}

/// The [`Platform`] of a host in C.
pub(crate) struct CHost {
    pub(super) functions: Functions,
    pub(super) memory: Memory,
    pub(super) tag: Tag,
}

/// The condition of a sleeper on its way through C.
struct Condition<'a> {
    ready: &'a mut dyn FnMut() -> bool,
    held: bool,
}

extern "C" fn ask(cookie: *mut c_void) -> c_int {
    // SAFETY:
    // 1. `cookie` is the one that `CHost::sleep` passed with this function: it points to a `Condition` in its frame.
    // 2. The host asks only during its `sleep`, and in the sleeping thread, so nobody else uses the condition.
    let condition = unsafe { &mut *cookie.cast::<Condition<'_>>() };
    // Never again once it has held: it may have taken a lock.
    condition.held = condition.held || (condition.ready)();
    c_int::from(condition.held)
}

impl Platform for CHost {
    type Mutex<T: Send> = SpinMutex<T>;
    type Allocator = Memory;
    type Buffer = Mbuf;

    fn allocator(&self) -> Memory {
        self.memory
    }

    fn relax(&self) {
        self.functions.relax();
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        let Functions { arg, sleep, .. } = self.functions;
        let mut condition = Condition { ready, held: false };
        match sleep {
            // A host that wakes up early is sent back.
            Some(sleep) => loop {
                sleep(arg.0, channel.0, ask, (&raw mut condition).cast());
                if condition.held {
                    return;
                }
            },
            None => {
                while !(condition.ready)() {
                    self.relax();
                }
            }
        }
    }

    fn wakeup(&self, channel: Channel) {
        if let Some(wakeup) = self.functions.wakeup {
            wakeup(self.functions.arg.0, channel.0);
        }
    }

    fn work_queued(&self) {
        if let Some(work_queued) = self.functions.work_queued {
            work_queued(self.functions.arg.0);
        }
    }

    fn copy_packet(&self, packet: &Mbuf) -> Option<Mbuf> {
        let copy = self.functions.m_copypacket?(self.functions.arg.0, packet.m.as_ptr());
        Mbuf::from_c(self, copy)
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        self.functions.panic(message)
    }

    fn trace(&self, thread: ThreadId, record: &Record<'_>) {
        if let Some(trace) = self.functions.trace {
            c_text(format_args!("{record}"), |line| trace(self.functions.arg.0, thread.0.get(), line));
        }
    }
}
