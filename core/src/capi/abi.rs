//! Types and constants of the header.
//!
//! Functions and types have FreeBSD's names. Constants have FreeBSD's values and the prefix `IFNET_`, because a process on
//! another system includes its own `<errno.h>` and `<net/if.h>`, whose numbers differ.

#![expect(non_camel_case_types, reason = "the names of the C interface")]

use core::ffi::{c_char, c_int, c_void};

/// A kernel, between `ifnet_boot` and `ifnet_shutdown`. Zero is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ifnet_kernel_t(pub u64);

/// A thread of a kernel, between `ifnet_thread_enter` and `ifnet_thread_exit`. Zero is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ifnet_thread_t(pub u64);

/// A vnet, between `vnet_alloc` and `vnet_destroy`. Zero is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct vnet_t(pub u64);

/// An interface: good from `if_alloc` to `if_free`, or as long as a reference is held. Zero is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct if_t(pub u64);

/// A packet. It is the host's own: this library passes it on and gives it to `m_freem`, and never looks inside.
pub struct mbuf {
    _opaque: [u8; 0],
}

/// What a frame says of itself: see `frame_header` of `struct ifnet_host`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ifnet_frame {
    /// The link-level address that the frame is for.
    pub destination: [u8; 6],
    /// The link-level address that it comes from.
    pub source: [u8; 6],
    /// 4 or 6, if it is for a network address; 0 for any other protocol, and if a VLAN header comes first.
    pub inet_version: u8,
    /// The destination of an IP packet or the target of an ARP one, as on the wire: the first 4 bytes, or all.
    pub inet_destination: [u8; 16],
}

/// What the host of a kernel provides. `curthread`, `panic` and `m_freem` are required; the others may be null, some of
/// them only together: `ifnet_boot` says `EINVAL`. All are called with `arg`. They may be called by several threads at
/// once, must not unwind or `longjmp` out, and but for a driver's own functions none may call back into this library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ifnet_host {
    /// Passed to every function of the host.
    pub arg: *mut c_void,
    /// A number, not 0, that is the calling thread's and no other running thread's. Constant on a machine with one thread.
    /// An interrupt handler that calls the library is a thread of its own: not that which it interrupted.
    pub curthread: Option<extern "C" fn(arg: *mut c_void) -> usize>,
    /// The kernel panics. It must not return: it stops the machine, ends the process, or stops the thread for good. The
    /// kernel must not be used after. If it does return, the calling thread spins for ever.
    pub panic: Option<extern "C" fn(arg: *mut c_void, message: *const c_char)>,
    /// Frees a packet.
    pub m_freem: Option<extern "C" fn(arg: *mut c_void, m: *mut mbuf)>,
    /// A copy of a packet, for a bridge; null if there is no memory. Null: packets cannot be copied.
    pub m_copypacket: Option<extern "C" fn(arg: *mut c_void, m: *mut mbuf) -> *mut mbuf>,
    /// Reads the header of a frame into `frame`, which is all zeros; not 0 if it has one. Null: packets are opaque. A bridge
    /// learns nothing and floods then, and an ipvlan or macvlan gives each frame to its first upper.
    pub frame_header: Option<extern "C" fn(arg: *mut c_void, m: *mut mbuf, frame: *mut ifnet_frame) -> c_int>,
    /// Puts an 802.1Q header with this tag on a frame, outside of any that it has; may put another packet, never null, in
    /// the place of `*m`. Not 0 if that was possible. With `vlan_decap`, or neither. Null: nothing leaves through a VLAN.
    pub vlan_encap: Option<extern "C" fn(arg: *mut c_void, m: *mut *mut mbuf, tag: u16) -> c_int>,
    /// Takes the outermost 802.1Q header off, likewise. Gives the tag, or -1 if there is none.
    pub vlan_decap: Option<extern "C" fn(arg: *mut c_void, m: *mut *mut mbuf) -> c_int>,
    /// Memory of this size, not 0, aligned to this power of two; null if there is none. With `free`, or neither. Called with
    /// a lock held. Null: all memory is that of `ifnet_boot`.
    pub alloc: Option<extern "C" fn(arg: *mut c_void, size: usize, align: usize) -> *mut c_void>,
    /// Takes memory of `alloc` back.
    pub free: Option<extern "C" fn(arg: *mut c_void, memory: *mut c_void, size: usize, align: usize)>,
    /// Acquires a short lock: it may spin or block, and may not fail. The lock is the word at `lock`, which begins as zero
    /// and is this function's to use; while nobody holds or wants the lock, the word may move. Locks are not recursive, are
    /// never held over a `sleep`, and are released in any order. With `mtx_unlock`, or neither. Kernels that run at a time
    /// have the same functions for locks, and the same `arg`. Null: the library spins.
    pub mtx_lock: Option<extern "C" fn(arg: *mut c_void, lock: *mut usize)>,
    /// Releases it.
    pub mtx_unlock: Option<extern "C" fn(arg: *mut c_void, lock: *mut usize)>,
    /// A lock that nobody holds goes away: whatever its word stands for may be given back. Only with `mtx_lock`.
    pub mtx_destroy: Option<extern "C" fn(arg: *mut c_void, lock: *mut usize)>,
    /// Not 0 in an interrupt handler: what may sleep panics there. Only with `mtx_lock`, which then masks interrupts until
    /// the last `mtx_unlock`; `alloc` and `free` do so, too. Null: handlers do not call the library.
    pub in_interrupt: Option<extern "C" fn(arg: *mut c_void) -> c_int>,
    /// Called in a waiting loop: lets others run. Null: the processor's hint.
    pub relax: Option<extern "C" fn(arg: *mut c_void)>,
    /// Sleeps on a channel until `ready(cookie)` was not 0, which is asked at the beginning, after every wakeup of the
    /// channel, and from time to time (a tick of the timer: readers that leave a section wake nobody), with no lock held
    /// that `wakeup` takes. With `wakeup`, or neither. Null: asks again and again, with `relax` in between.
    pub sleep: Option<
        extern "C" fn(
            arg: *mut c_void,
            channel: usize,
            ready: extern "C" fn(cookie: *mut c_void) -> c_int,
            cookie: *mut c_void,
        ),
    >,
    /// Wakes every sleeper on a channel.
    pub wakeup: Option<extern "C" fn(arg: *mut c_void, channel: usize)>,
    /// Something was queued that `ifnet_run_deferred` does. May be called with a lock held, and in a handler: it sets a flag
    /// or wakes a worker. Null: somebody calls `ifnet_run_deferred` from time to time.
    pub work_queued: Option<extern "C" fn(arg: *mut c_void)>,
    /// A line of the kernel's log: what happened, in the form of the recorder on a FreeBSD kernel. Null: no log.
    pub trace: Option<extern "C" fn(arg: *mut c_void, thread: u32, line: *const c_char)>,
}

/// How a kernel is booted. All zeros is the default.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ifnet_config {
    /// How many threads may be entered at a time; at most 1024. 0: 16.
    pub threads: u32,
    /// Not 0: queued tasks run before the call that queued them returns. 0: `ifnet_run_deferred` runs them.
    pub immediate_tasks: u32,
}

/// Sends a packet, which the driver owns whatever it returns. Inside an epoch section: it may not sleep.
pub type if_transmit_fn_t = Option<extern "C" fn(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf) -> c_int>;
/// A packet came in; the function owns it. Inside an epoch section: it may not sleep.
pub type if_input_fn_t = Option<extern "C" fn(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf)>;
/// Throws away what is queued.
pub type if_qflush_fn_t = Option<extern "C" fn(td: ifnet_thread_t, ifp: if_t)>;
/// A request: one of `IFNET_SIOC…`, with the wanted MTU for `IFNET_SIOCSIFMTU`.
pub type if_ioctl_fn_t = Option<extern "C" fn(td: ifnet_thread_t, ifp: if_t, command: u32, data: u32) -> c_int>;
/// The interface moves to another vnet; it is on no list meanwhile.
pub type if_reassign_fn_t = Option<extern "C" fn(td: ifnet_thread_t, ifp: if_t, new_vnet: vnet_t)>;

/// Size of the buffer that any name of an interface or a group fits in, with its NUL.
pub const IFNET_IFNAMSIZ: usize = 16;
/// For `if_initname`: a name without a number.
pub const IFNET_IF_DUNIT_NONE: u32 = 0xffff_ffff;

/// `if_type` of anything else.
pub const IFNET_IFT_OTHER: u8 = 0x01;
/// `if_type` of Ethernet.
pub const IFNET_IFT_ETHER: u8 = 0x06;
/// `if_type` of point-to-point links.
pub const IFNET_IFT_PPP: u8 = 0x17;
/// `if_type` of loopbacks.
pub const IFNET_IFT_LOOP: u8 = 0x18;

/// Up.
pub const IFNET_IFF_UP: u32 = 0x1;
/// Broadcast address valid.
pub const IFNET_IFF_BROADCAST: u32 = 0x2;
/// Loopback.
pub const IFNET_IFF_LOOPBACK: u32 = 0x8;
/// Point-to-point link.
pub const IFNET_IFF_POINTOPOINT: u32 = 0x10;
/// The driver runs.
pub const IFNET_IFF_DRV_RUNNING: u32 = 0x40;
/// Receives all packets.
pub const IFNET_IFF_PROMISC: u32 = 0x100;
/// Cannot hear its own transmissions.
pub const IFNET_IFF_SIMPLEX: u32 = 0x800;
/// Supports multicast.
pub const IFNET_IFF_MULTICAST: u32 = 0x8000;
/// Detached or freed, or about to be.
pub const IFNET_IFF_DYING: u32 = 0x20_0000;

/// The flags have changed.
pub const IFNET_SIOCSIFFLAGS: u32 = 16;
/// The multicast filter has grown.
pub const IFNET_SIOCADDMULTI: u32 = 49;
/// The multicast filter has shrunk.
pub const IFNET_SIOCDELMULTI: u32 = 50;
/// The wanted MTU.
pub const IFNET_SIOCSIFMTU: u32 = 52;

/// Link state: nobody knows.
pub const IFNET_LINK_STATE_UNKNOWN: c_int = 0;
/// Link state: down.
pub const IFNET_LINK_STATE_DOWN: c_int = 1;
/// Link state: up.
pub const IFNET_LINK_STATE_UP: c_int = 2;

/// Packets received, for `if_getcounter`.
pub const IFNET_COUNTER_IPACKETS: c_int = 0;
/// Input errors.
pub const IFNET_COUNTER_IERRORS: c_int = 1;
/// Packets sent.
pub const IFNET_COUNTER_OPACKETS: c_int = 2;
/// Output errors.
pub const IFNET_COUNTER_OERRORS: c_int = 3;

/// Not the owner, or not the thread that entered.
pub const IFNET_EPERM: c_int = 1;
/// No such file or directory.
pub const IFNET_ENOENT: c_int = 2;
/// Device not configured.
pub const IFNET_ENXIO: c_int = 6;
/// A handle that is stale, of another kind, or of another kernel.
pub const IFNET_EBADF: c_int = 9;
/// Cannot allocate memory.
pub const IFNET_ENOMEM: c_int = 12;
/// In use.
pub const IFNET_EBUSY: c_int = 16;
/// Exists.
pub const IFNET_EEXIST: c_int = 17;
/// Operation not supported by device.
pub const IFNET_ENODEV: c_int = 19;
/// Invalid argument; a null pointer.
pub const IFNET_EINVAL: c_int = 22;
/// No space left on device.
pub const IFNET_ENOSPC: c_int = 28;
/// Too many links.
pub const IFNET_EMLINK: c_int = 31;
/// Resource temporarily unavailable.
pub const IFNET_EAGAIN: c_int = 35;
/// Operation not supported.
pub const IFNET_EOPNOTSUPP: c_int = 45;
/// Network is down.
pub const IFNET_ENETDOWN: c_int = 50;
/// No buffer space available.
pub const IFNET_ENOBUFS: c_int = 55;
/// Name too long.
pub const IFNET_ENAMETOOLONG: c_int = 63;
/// Programming error: an invariant of the kernel does not hold.
pub const IFNET_EDOOFUS: c_int = 88;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;
    use crate::ifnet::{IFNAMSIZ, IfCounter, IfFlags, IfType, LinkState};

    #[test]
    fn the_numbers_of_the_header_are_those_of_the_core() {
        for (number, errno) in [
            (IFNET_EPERM, Errno::EPERM),
            (IFNET_ENOENT, Errno::ENOENT),
            (IFNET_ENXIO, Errno::ENXIO),
            (IFNET_EBADF, Errno::EBADF),
            (IFNET_ENOMEM, Errno::ENOMEM),
            (IFNET_EBUSY, Errno::EBUSY),
            (IFNET_EEXIST, Errno::EEXIST),
            (IFNET_ENODEV, Errno::ENODEV),
            (IFNET_EINVAL, Errno::EINVAL),
            (IFNET_ENOSPC, Errno::ENOSPC),
            (IFNET_EMLINK, Errno::EMLINK),
            (IFNET_EAGAIN, Errno::EAGAIN),
            (IFNET_EOPNOTSUPP, Errno::EOPNOTSUPP),
            (IFNET_ENETDOWN, Errno::ENETDOWN),
            (IFNET_ENOBUFS, Errno::ENOBUFS),
            (IFNET_ENAMETOOLONG, Errno::ENAMETOOLONG),
            (IFNET_EDOOFUS, Errno::EDOOFUS),
        ] {
            assert_eq!(number, errno.value(), "{errno:?}");
        }
        for (number, flag) in [
            (IFNET_IFF_UP, IfFlags::UP),
            (IFNET_IFF_BROADCAST, IfFlags::BROADCAST),
            (IFNET_IFF_LOOPBACK, IfFlags::LOOPBACK),
            (IFNET_IFF_POINTOPOINT, IfFlags::POINTOPOINT),
            (IFNET_IFF_DRV_RUNNING, IfFlags::RUNNING),
            (IFNET_IFF_PROMISC, IfFlags::PROMISC),
            (IFNET_IFF_SIMPLEX, IfFlags::SIMPLEX),
            (IFNET_IFF_MULTICAST, IfFlags::MULTICAST),
            (IFNET_IFF_DYING, IfFlags::DYING),
        ] {
            assert_eq!(number, flag.bits(), "{flag:?}");
        }
        let types = [IfType::Other, IfType::Ether, IfType::Ppp, IfType::Loop].map(|ty| ty as u8);
        assert_eq!(types, [IFNET_IFT_OTHER, IFNET_IFT_ETHER, IFNET_IFT_PPP, IFNET_IFT_LOOP]);
        let states = [LinkState::Unknown, LinkState::Down, LinkState::Up].map(|state| state as c_int);
        assert_eq!(states, [IFNET_LINK_STATE_UNKNOWN, IFNET_LINK_STATE_DOWN, IFNET_LINK_STATE_UP]);
        let counters = [IfCounter::Ipackets, IfCounter::Ierrors, IfCounter::Opackets, IfCounter::Oerrors];
        let numbers = [IFNET_COUNTER_IPACKETS, IFNET_COUNTER_IERRORS, IFNET_COUNTER_OPACKETS, IFNET_COUNTER_OERRORS];
        assert_eq!(counters.map(|counter| counter as c_int), numbers);
        assert_eq!(IFNET_IFNAMSIZ, IFNAMSIZ);
    }
}
