//! The [`Platform`] that is made of the functions of a host in C, `struct ifnet_host`.
//!
//! Memory is the host's heap, or a fixed pool over the memory given at boot. What a host need not have is either done here
//! in the simplest way, or refused.
#![expect(unsafe_code, reason = "memory and packets are the host's; a cookie comes back through C")]

use core::alloc::Layout;
use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write as _};
use core::mem::ManuallyDrop;
use core::net::IpAddr;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use spin::mutex::SpinMutex;

use super::abi::{ifnet_frame, ifnet_host, mbuf};
use super::lock::{CMutex, LockFunctions};
use super::registry::{CPlatform, Kernels};
use crate::Errno;
use crate::mem::{FixedPool, PoolRef};
use crate::platform::{Channel, FrameHeader, Mutex as _, Platform, ThreadId};
use crate::trace::Record;

type Panic = extern "C" fn(*mut c_void, *const c_char);
type FreeMbuf = extern "C" fn(*mut c_void, *mut mbuf);
type Alloc = extern "C" fn(*mut c_void, usize, usize) -> *mut c_void;
type Free = extern "C" fn(*mut c_void, *mut c_void, usize, usize);
type Encap = extern "C" fn(*mut c_void, *mut *mut mbuf, u16) -> c_int;
type Decap = extern "C" fn(*mut c_void, *mut *mut mbuf) -> c_int;
type Sleep = extern "C" fn(*mut c_void, usize, extern "C" fn(*mut c_void) -> c_int, *mut c_void);

/// `arg` of the host.
#[derive(Clone, Copy)]
pub(super) struct Arg(*mut c_void);

impl Arg {
    /// For a function of the host.
    pub(super) fn get(self) -> *mut c_void {
        self.0
    }

    /// Which one it is.
    pub(super) fn addr(self) -> usize {
        self.0.addr()
    }
}

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
    frame_header: Option<extern "C" fn(*mut c_void, *mut mbuf, *mut ifnet_frame) -> c_int>,
    vlan: Option<(Encap, Decap)>,
    locks: Option<LockFunctions>,
    in_interrupt: Option<extern "C" fn(*mut c_void) -> c_int>,
    relax: Option<extern "C" fn(*mut c_void)>,
    sleep: Option<(Sleep, extern "C" fn(*mut c_void, usize))>,
    work_queued: Option<extern "C" fn(*mut c_void)>,
    trace: Option<extern "C" fn(*mut c_void, u32, *const c_char)>,
}

/// A host that has a kernel: where a panic of this library itself is reported.
static RECEIVER: SpinMutex<Option<Functions>> = SpinMutex::new(None);

/// Two functions that a host has both of, or neither.
fn both<A, B>(one: Option<A>, other: Option<B>) -> Result<Option<(A, B)>, Errno> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(Errno::EINVAL),
    }
}

impl Functions {
    /// # Errors
    /// `EINVAL` if a required function is missing, or one that another of the host cannot be without.
    pub(super) fn check(host: &ifnet_host) -> Result<Self, Errno> {
        let &ifnet_host {
            arg,
            curthread,
            panic,
            m_freem,
            m_copypacket,
            frame_header,
            vlan_encap,
            vlan_decap,
            alloc,
            free,
            mtx_lock,
            mtx_unlock,
            mtx_destroy,
            in_interrupt,
            relax,
            sleep,
            wakeup,
            work_queued,
            trace,
        } = host;
        let (Some(curthread), Some(panic), Some(m_freem)) = (curthread, panic, m_freem) else {
            return Err(Errno::EINVAL);
        };
        let (arg, heap, vlan) = (Arg(arg), both(alloc, free)?, both(vlan_encap, vlan_decap)?);
        let (locks, sleep) = (both(mtx_lock, mtx_unlock)?, both(sleep, wakeup)?);
        let locks = locks.map(|(lock, unlock)| LockFunctions { arg, lock, unlock, destroy: mtx_destroy });
        // A handler that met a lock of the library's own would spin for ever.
        if locks.is_none() && (mtx_destroy.is_some() || in_interrupt.is_some()) {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            arg,
            curthread,
            panic,
            m_freem,
            heap,
            m_copypacket,
            frame_header,
            vlan,
            locks,
            in_interrupt,
            relax,
            sleep,
            work_queued,
            trace,
        })
    }

    pub(super) fn has_heap(&self) -> bool {
        self.heap.is_some()
    }

    pub(super) fn locks(&self) -> Option<LockFunctions> {
        self.locks
    }

    fn relax(&self) {
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

/// The memory of `ifnet_boot`. The pool has a spin lock of its own; it is taken with a lock of the host held, which may be
/// one that masks interrupts.
pub(super) struct LockedPool {
    pool: FixedPool,
    /// Not dropped: the memory that it is in is C's again at some time, and that is all.
    lock: CMutex<()>,
}

impl LockedPool {
    pub(super) fn new(pool: FixedPool) -> Self {
        Self { pool, lock: CMutex::new(()) }
    }

    fn with<R>(&'static self, work: impl FnOnce(PoolRef) -> R) -> R {
        let _locked = self.lock.lock();
        work(self.pool.by_ref())
    }
}

/// Where a kernel's memory comes from.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub struct Memory(Source);

#[derive(Clone, Copy)]
enum Source {
    Pool(&'static LockedPool),
    Heap { arg: Arg, alloc: Alloc, free: Free },
}

impl Memory {
    /// The host's heap, if it has one.
    pub(super) fn heap(functions: &Functions) -> Option<Self> {
        functions.heap.map(|(alloc, free)| Self(Source::Heap { arg: functions.arg, alloc, free }))
    }

    pub(super) fn pool(pool: &'static LockedPool) -> Self {
        Self(Source::Pool(pool))
    }

    /// How many bytes of the pool are handed out; 0 for a heap.
    pub(super) fn in_use(self) -> usize {
        match self.0 {
            Source::Pool(pool) => pool.with(|pool| pool.pool().in_use()),
            Source::Heap { .. } => 0,
        }
    }

    /// Nothing is allocated from it any more.
    pub(super) fn end(self) {
        if let Source::Pool(pool) = self.0 {
            pool.lock.end();
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
        match self.0 {
            Source::Pool(pool) => pool.with(|pool| pool.allocate(layout)),
            Source::Heap { arg, alloc, .. } => {
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
        match self.0 {
            // SAFETY: the caller's promise.
            Source::Pool(pool) => pool.with(|pool| unsafe { pool.deallocate(piece, layout) }),
            Source::Heap { .. } if layout.size() == 0 => {}
            Source::Heap { arg, free, .. } => free(arg.0, piece.as_ptr().cast(), layout.size(), layout.align()),
        }
    }
}

/// A packet of the host. Dropping it is `m_freem`.
#[doc(hidden)]
pub struct Mbuf {
    m: NonNull<mbuf>,
    arg: Arg,
    free: FreeMbuf,
}

// SAFETY: it is never followed here; who owns it is the only one to give it on, and any thread may (`ifnet_host`).
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Lets a function of the host put another packet in the place of this one.
    fn with_place<R>(&mut self, work: impl FnOnce(*mut *mut mbuf) -> R) -> R {
        let mut m = self.m.as_ptr();
        let result = work(&raw mut m);
        // Null is against the rules; the old packet is all that there is then.
        self.m = NonNull::new(m).unwrap_or(self.m);
        result
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        (self.free)(self.arg.0, self.m.as_ptr());
    }
}

/// The [`Platform`] of a host in C. Only `ifnet_boot` makes one.
#[doc(hidden)]
pub struct CHost {
    pub(super) functions: Functions,
    pub(super) memory: Memory,
}

// SAFETY:
// 1. `curthread` is the host's, by whose contract it tells threads apart.
// 2. There is one static.
// 3. A packet is the host's pointer, which goes through C unchanged.
unsafe impl CPlatform for CHost {
    fn kernels() -> &'static Kernels<Self> {
        static KERNELS: Kernels<CHost> = Kernels::new();
        &KERNELS
    }

    fn curthread(&self) -> usize {
        (self.functions.curthread)(self.functions.arg.0)
    }

    fn packet_from_c(&self, m: *mut mbuf) -> Option<Mbuf> {
        let Functions { arg, m_freem, .. } = self.functions;
        Some(Mbuf { m: NonNull::new(m)?, arg, free: m_freem })
    }

    fn packet_into_c(packet: Mbuf) -> *mut mbuf {
        ManuallyDrop::new(packet).m.as_ptr()
    }
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
    type Mutex<T: Send> = CMutex<T>;
    type Allocator = Memory;
    type Buffer = Mbuf;

    fn allocator(&self) -> Memory {
        self.memory
    }

    fn relax(&self) {
        self.functions.relax();
    }

    fn in_interrupt(&self) -> bool {
        self.functions.in_interrupt.is_some_and(|asked| asked(self.functions.arg.0) != 0)
    }

    fn sleep(&self, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        let Functions { arg, sleep, .. } = self.functions;
        let mut condition = Condition { ready, held: false };
        match sleep {
            // A host that wakes up early is sent back.
            Some((sleep, _)) => loop {
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
        if let Some((_, wakeup)) = self.functions.sleep {
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
        self.packet_from_c(copy)
    }

    fn frame_header(&self, frame: &Mbuf) -> Option<FrameHeader> {
        let mut header = ifnet_frame::default();
        if self.functions.frame_header?(self.functions.arg.0, frame.m.as_ptr(), &raw mut header) == 0 {
            return None;
        }
        let ifnet_frame { destination, source, inet_version, inet_destination: address } = header;
        let inet_destination = match inet_version {
            4 => Some(IpAddr::from([address[0], address[1], address[2], address[3]])),
            6 => Some(IpAddr::from(address)),
            _ => None,
        };
        Some(FrameHeader { destination, source, inet_destination })
    }

    fn vlan_encap(&self, frame: &mut Mbuf, tag: u16) -> bool {
        let Some((encap, _)) = self.functions.vlan else { return false };
        frame.with_place(|place| encap(self.functions.arg.0, place, tag)) != 0
    }

    fn vlan_decap(&self, frame: &mut Mbuf) -> Option<u16> {
        let (_, decap) = self.functions.vlan?;
        // A number that is no tag is no tag.
        u16::try_from(frame.with_place(|place| decap(self.functions.arg.0, place))).ok()
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
