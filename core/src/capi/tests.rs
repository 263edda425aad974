//! Misuse, and the life of a driver, through the exported functions. What a C compiler sees is tested by `tests/capi`.
#![expect(unsafe_code, reason = "calls what C calls")]

extern crate std;

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::vec;
use std::vec::Vec;

use super::abi::*;
use super::calls::*;
use super::*;

/// There are few places for kernels, so the tests take turns.
pub(super) static TURN: Mutex<()> = Mutex::new(());
static FREED: AtomicUsize = AtomicUsize::new(0);
pub(super) static PANICS: Mutex<Option<Sender<std::string::String>>> = Mutex::new(None);

pub(super) extern "C" fn curthread(_: *mut c_void) -> usize {
    std::thread_local! { static HERE: u8 = const { 0 } }
    HERE.with(|here| core::ptr::from_ref(here).addr())
}

extern "C" fn m_freem(_: *mut c_void, _: *mut mbuf) {
    FREED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn on_panic(_: *mut c_void, message: *const c_char) {
    // SAFETY: the library gives a C string.
    stop(&unsafe { CStr::from_ptr(message) }.to_string_lossy());
}

/// Reports the panic, and keeps the thread for ever.
pub(super) fn stop(message: &str) -> ! {
    let sender = PANICS.lock().unwrap_or_else(PoisonError::into_inner).take();
    sender.map(|sender| sender.send(message.into()));
    loop {
        thread::park();
    }
}

const HOST: ifnet_host = ifnet_host {
    arg: null_mut(),
    curthread: Some(curthread),
    panic: Some(on_panic),
    m_freem: Some(m_freem),
    m_copypacket: None,
    frame_header: None,
    vlan_encap: None,
    vlan_decap: None,
    alloc: None,
    free: None,
    mtx_lock: None,
    mtx_unlock: None,
    mtx_destroy: None,
    in_interrupt: None,
    relax: None,
    sleep: None,
    wakeup: None,
    work_queued: None,
    trace: None,
};

/// A kernel with its memory.
struct Booted {
    kernel: ifnet_kernel_t,
    _memory: Vec<u64>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Booted {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { _turn: Some(turn), ..Self::another() }
    }

    /// While the turn is held by another one.
    fn another() -> Self {
        let mut memory = vec![0_u64; 1 << 15];
        let mut kernel = ifnet_kernel_t(0);
        let (start, len) = (memory.as_mut_ptr().cast(), memory.len() * 8);
        // SAFETY: the memory is the kernel's until `end`.
        assert_eq!(unsafe { ifnet_boot(&HOST, start, len, core::ptr::null(), &mut kernel) }, 0);
        Self { kernel, _memory: memory, _turn: None }
    }

    fn enter(&self) -> ifnet_thread_t {
        let mut td = ifnet_thread_t(0);
        // SAFETY: the place is there.
        assert_eq!(unsafe { ifnet_thread_enter::<CHost>(self.kernel, &mut td) }, 0);
        td
    }

    fn end(self) {
        assert_eq!(ifnet_shutdown(self.kernel), 0);
    }
}

/// An interface that is attached as `em<unit>`.
fn attached(td: ifnet_thread_t, unit: u32) -> if_t {
    let ifp = if_alloc::<CHost>(td, IFNET_IFT_ETHER);
    // SAFETY: a C string and six bytes.
    unsafe {
        assert_eq!(if_initname::<CHost>(td, ifp, c"em".as_ptr(), unit), 0);
        assert_eq!(ether_ifattach::<CHost>(td, ifp, [2, 0, 0, 0, 0, 1].as_ptr()), 0);
    }
    ifp
}

fn gone(td: ifnet_thread_t, ifp: if_t) {
    assert_eq!(ether_ifdetach::<CHost>(td, ifp), 0);
    assert_eq!(if_free::<CHost>(td, ifp), 0);
}

#[test]
fn null_stale_and_twice_freed_handles_are_errors() {
    let booted = Booted::new();
    let td = booted.enter();
    let ifp = attached(td, 0);
    assert_eq!(if_free::<CHost>(td, ifp), IFNET_EBUSY);
    gone(td, ifp);
    for (bad, error) in [(if_t(0), IFNET_EINVAL), (ifp, IFNET_EBADF), (if_t(td.0), IFNET_EBADF)] {
        assert_eq!(if_free::<CHost>(td, bad), error);
        assert_eq!(if_attach::<CHost>(td, bad), error);
        assert_eq!(if_detach::<CHost>(td, bad), error);
        assert_eq!(if_ref::<CHost>(td, bad), error);
        assert_eq!(if_rele::<CHost>(td, bad), error);
        assert_eq!((if_getindex::<CHost>(td, bad), ifnet_errno::<CHost>(td)), (0, error));
        assert_eq!(if_getvnet::<CHost>(td, bad), vnet_t(0));
    }
    // The index is used again, by an interface with another handle.
    let next = attached(td, 0);
    assert_ne!(next, ifp);
    assert_eq!(if_free::<CHost>(td, ifp), IFNET_EBADF);
    gone(td, next);
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    assert_eq!(ifnet_thread_exit::<CHost>(td), IFNET_EBADF);
    assert_eq!(if_alloc::<CHost>(td, IFNET_IFT_ETHER), if_t(0));
    let kernel = booted.kernel;
    booted.end();
    assert_eq!(ifnet_shutdown(kernel), IFNET_EBADF);
    assert_eq!(ifnet_errno::<CHost>(td), IFNET_EBADF);
}

/// More often than there are generations of an index, or of anything else that fits into 16 bits.
const REUSES: usize = if cfg!(miri) { 20 } else { 70_000 };

#[test]
fn a_handle_is_never_given_again() {
    let booted = Booted::new();
    let td = booted.enter();
    // SAFETY: a C string.
    let again = || unsafe { ifunit_ref::<CHost>(td, c"lo0".as_ptr()) };
    let first = again();
    assert_eq!(if_rele::<CHost>(td, first), 0);
    for _ in 0..REUSES {
        let next = again();
        assert!(next != if_t(0) && next != first);
        assert_eq!((if_rele::<CHost>(td, first), if_rele::<CHost>(td, next)), (IFNET_EBADF, 0));
    }
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    // Nor by the next kernel in the same place.
    let kernel = booted.kernel;
    booted.end();
    let booted = Booted::new();
    let td = booted.enter();
    assert_ne!(booted.kernel, kernel);
    assert_eq!((if_rele::<CHost>(td, first), if_getindex::<CHost>(td, first)), (IFNET_EBADF, 0));
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    booted.end();
}

#[test]
fn handles_of_another_kernel_are_errors() {
    let (booted, other) = (Booted::new(), Booted::another());
    let (td, there) = (booted.enter(), other.enter());
    let (ifp, theirs) = (attached(td, 0), attached(there, 0));
    assert_ne!(ifp, theirs);
    assert_eq!(if_detach::<CHost>(td, theirs), IFNET_EBADF);
    let jail = vnet_alloc::<CHost>(there);
    assert_eq!(if_vmove::<CHost>(td, ifp, jail), IFNET_EBADF);
    assert_eq!(vnet_destroy::<CHost>(td, vnet_default::<CHost>(there)), IFNET_EBADF);
    assert_eq!(ifnet_shutdown(other.kernel), IFNET_EBUSY);
    gone(td, ifp);
    gone(there, theirs);
    assert_eq!(ifnet_thread_exit::<CHost>(there), 0);
    assert_eq!(ifnet_shutdown(other.kernel), IFNET_EBUSY, "a vnet is left");
    let there = other.enter();
    // The handle of a vnet outlives the thread that made it.
    assert_eq!(vnet_destroy::<CHost>(there, jail), 0);
    assert_eq!((ifnet_thread_exit::<CHost>(td), ifnet_thread_exit::<CHost>(there)), (0, 0));
    other.end();
    booted.end();
}

#[test]
fn a_thread_is_only_the_one_that_entered() {
    let booted = Booted::new();
    let td = booted.enter();
    let other = thread::spawn(move || {
        let mut ran: c_int = 7;
        // SAFETY: the place is there.
        let deferred = unsafe { ifnet_run_deferred::<CHost>(td, &mut ran) };
        (
            deferred,
            ran,
            ifnet_thread_exit::<CHost>(td),
            if_alloc::<CHost>(td, IFNET_IFT_ETHER) == if_t(0),
            ifnet_errno::<CHost>(td),
        )
    });
    assert_eq!(other.join().expect("no panic"), (IFNET_EPERM, 7, IFNET_EPERM, true, IFNET_EPERM));
    assert_eq!(net_epoch_enter::<CHost>(td), 0);
    assert_eq!(ifnet_thread_exit::<CHost>(td), IFNET_EBUSY);
    assert_eq!((net_epoch_exit::<CHost>(td), net_epoch_exit::<CHost>(td)), (0, IFNET_EINVAL));
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    booted.end();
}

extern "C" fn leave(td: ifnet_thread_t, ifp: if_t) {
    RETURNED
        .store(ifnet_thread_exit::<CHost>(td) as usize * 1000 + if_detach::<CHost>(td, ifp) as usize, Ordering::SeqCst);
}

static RETURNED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_driver_cannot_detach_twice_at_once_or_leave_from_inside() {
    let booted = Booted::new();
    let td = booted.enter();
    let ifp = attached(td, 0);
    assert_eq!(if_setqflushfn::<CHost>(td, ifp, Some(leave)), 0);
    gone(td, ifp);
    assert_eq!(RETURNED.load(Ordering::SeqCst), IFNET_EBUSY as usize * 1001);
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    booted.end();
}

#[test]
fn a_reference_keeps_the_handle_and_is_counted() {
    let booted = Booted::new();
    let td = booted.enter();
    let ifp = attached(td, 0);
    // SAFETY: C strings.
    let found = unsafe { (ifunit_ref::<CHost>(td, c"em0".as_ptr()), ifunit_ref::<CHost>(td, c"lo0".as_ptr())) };
    assert_eq!(found.0, ifp);
    assert_eq!(if_detach::<CHost>(td, found.1), IFNET_EPERM);
    assert_eq!((if_rele::<CHost>(td, found.1), if_rele::<CHost>(td, found.1)), (0, IFNET_EBADF));
    // The next reference of the same interface is another handle.
    assert_eq!(if_getindex::<CHost>(td, found.1), 0);
    // SAFETY: a C string.
    let again = unsafe { ifunit_ref::<CHost>(td, c"lo0".as_ptr()) };
    assert_ne!(again, found.1);
    assert_eq!((if_getindex::<CHost>(td, again), if_rele::<CHost>(td, again)), (1, 0));
    gone(td, ifp);
    assert_eq!(if_free::<CHost>(td, ifp), IFNET_EPERM, "no longer the owner");
    assert_ne!(if_getflags::<CHost>(td, ifp) & IFNET_IFF_DYING, 0);
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    assert_eq!(ifnet_shutdown(booted.kernel), IFNET_EBUSY, "a reference is left");
    let td = booted.enter();
    assert_eq!((if_rele::<CHost>(td, ifp), if_rele::<CHost>(td, ifp)), (0, IFNET_EBADF));
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    booted.end();
}

#[test]
fn a_packet_is_freed_whoever_refuses_it() {
    let booted = Booted::new();
    let td = booted.enter();
    let ifp = attached(td, 0);
    let packet = || core::ptr::without_provenance_mut(64);
    let before = FREED.load(Ordering::SeqCst);
    assert_eq!(if_transmit::<CHost>(td, ifp, packet()), IFNET_ENXIO, "a driver without a function");
    assert_eq!(if_input::<CHost>(td, ifp, packet()), 0);
    assert_eq!(if_transmit::<CHost>(td, if_t(0), packet()), IFNET_EINVAL);
    assert_eq!(FREED.load(Ordering::SeqCst), before + 3);
    assert_eq!(if_transmit::<CHost>(td, ifp, null_mut()), IFNET_EINVAL);
    gone(td, ifp);
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    booted.end();
}

#[test]
fn a_boot_without_enough_memory_gives_its_place_back() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut memory = vec![0_u8; 1 << 17];
    let mut kernel = ifnet_kernel_t(0);
    let step = if cfg!(miri) { 8009 } else { 257 };
    // The last one has enough: what was refused before has left nothing.
    let mut errors = (0..memory.len()).step_by(step).map(|len| {
        // SAFETY: nobody else uses the memory.
        let error = unsafe { ifnet_boot(&HOST, memory.as_mut_ptr().cast(), len, core::ptr::null(), &mut kernel) };
        assert!(error == IFNET_ENOMEM || ifnet_shutdown(kernel) == 0);
        error
    });
    assert!(errors.by_ref().take_while(|error| *error != 0).count() > 1);
    assert!(errors.all(|error| error == 0), "more memory is not enough");
    let lacking = ifnet_host { m_freem: None, ..HOST };
    // SAFETY: as above.
    let error = unsafe { ifnet_boot(&lacking, memory.as_mut_ptr().cast(), 1 << 17, core::ptr::null(), &mut kernel) };
    assert_eq!(error, IFNET_EINVAL);
}

/// How often threads race.
const ROUNDS: usize = if cfg!(miri) { 2 } else { 300 };

#[test]
fn of_several_who_free_an_interface_one_does() {
    let booted = Booted::new();
    let td = booted.enter();
    for _ in 0..ROUNDS {
        let ifp = if_alloc::<CHost>(td, IFNET_IFT_ETHER);
        assert_ne!(ifp, if_t(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let kernel = booted.kernel;
                thread::spawn(move || {
                    let mut td = ifnet_thread_t(0);
                    // SAFETY: the place is there.
                    assert_eq!(unsafe { ifnet_thread_enter::<CHost>(kernel, &mut td) }, 0);
                    let freed = if_free::<CHost>(td, ifp);
                    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
                    freed
                })
            })
            .collect();
        let freed: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(freed.iter().filter(|error| **error == 0).count(), 1, "{freed:?}");
        assert_eq!((net_epoch_drain_callbacks::<CHost>(td), net_epoch_drain_callbacks::<CHost>(td)), (0, 0));
        assert!(freed.iter().all(|error| [0, IFNET_EBUSY, IFNET_EBADF, IFNET_EPERM].contains(error)), "{freed:?}");
    }
    assert_eq!(ifnet_thread_exit::<CHost>(td), 0);
    booted.end();
}

#[test]
fn a_kernel_is_not_shut_down_under_those_who_enter() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ROUNDS {
        let booted = Booted::another();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let kernel = booted.kernel;
                thread::spawn(move || {
                    let mut td = ifnet_thread_t(0);
                    for _ in 0..20 {
                        // SAFETY: the place is there.
                        if unsafe { ifnet_thread_enter::<CHost>(kernel, &mut td) } != 0 {
                            break;
                        }
                        // Who has entered is served, or hears that it closes; what was allocated is freed.
                        let ifp = if_alloc::<CHost>(td, IFNET_IFT_ETHER);
                        while ifp != if_t(0) && if_free::<CHost>(td, ifp) != 0 {
                            thread::yield_now();
                        }
                        while ifnet_thread_exit::<CHost>(td) != 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        while ifnet_shutdown(booted.kernel) != 0 {
            thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

/// The thread stays in the host's `panic` for ever, with what it held.
#[test]
#[cfg_attr(miri, ignore = "a thread that never ends")]
fn a_second_detach_is_the_panic_of_the_kernel() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (sender, received) = channel();
    *PANICS.lock().expect("not poisoned") = Some(sender);
    thread::spawn(|| {
        let booted = Booted::another();
        let td = booted.enter();
        let ifp = attached(td, 0);
        assert_eq!(ether_ifdetach::<CHost>(td, ifp), 0);
        if_detach::<CHost>(td, ifp);
    });
    let message = received.recv().expect("the host is told");
    assert_eq!(message, "em0: interface is not on the active list");
}
