//! A kernel in Rust whose driver is in C. A packet is a number.
#![expect(unsafe_code, reason = "calls what C calls")]

extern crate std;

use core::ffi::c_int;
use core::fmt;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::PoisonError;
use std::sync::mpsc::channel;
use std::thread;

use allocator_api2::alloc::Global;

use super::super::abi::*;
use super::super::calls::*;
use super::super::tests::{self, PANICS, TURN, stop};
use super::super::*;
use crate::platform::Platform;
use crate::platform::spin::SpinHost;
use crate::{Config, Kernel, Thread, ifunit};

struct Rust;

struct Packet(usize);

impl Drop for Packet {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

impl Platform for Rust {
    type Mutex<T: Send> = <SpinHost<Global> as Platform>::Mutex<T>;
    type Allocator = Global;
    type Buffer = Packet;

    fn allocator(&self) -> Global {
        Global
    }

    fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        stop(&std::format!("{message}"))
    }
}

// SAFETY: each thread has a number of its own; one static; packets are numbers.
unsafe impl CPlatform for Rust {
    fn kernels() -> &'static Kernels<Self> {
        static KERNELS: Kernels<Rust> = Kernels::new();
        &KERNELS
    }

    fn curthread(&self) -> usize {
        tests::curthread(null_mut())
    }

    fn packet_from_c(&self, m: *mut mbuf) -> Option<Packet> {
        (!m.is_null()).then(|| Packet(m.addr()))
    }

    fn packet_into_c(packet: Packet) -> *mut mbuf {
        let number = packet.0;
        core::mem::forget(packet);
        core::ptr::without_provenance_mut(number)
    }
}

fn enter(kernel: ifnet_kernel_t) -> ifnet_thread_t {
    let mut td = ifnet_thread_t(0);
    // SAFETY: the place is there.
    assert_eq!(unsafe { ifnet_thread_enter::<Rust>(kernel, &mut td) }, 0);
    td
}

fn attached(td: ifnet_thread_t) -> if_t {
    let ifp = if_alloc::<Rust>(td, IFNET_IFT_ETHER);
    // SAFETY: a C string and six bytes.
    unsafe {
        assert_eq!(if_initname::<Rust>(td, ifp, c"em".as_ptr(), 0), 0);
        assert_eq!(ether_ifattach::<Rust>(td, ifp, [2, 0, 0, 0, 0, 1].as_ptr()), 0);
    }
    ifp
}

fn gone(td: ifnet_thread_t, ifp: if_t) {
    assert_eq!((ether_ifdetach::<Rust>(td, ifp), if_free::<Rust>(td, ifp)), (0, 0));
}

/// The driver's: what it is called by has a handle, opens a section of its own and forgets it, and cannot leave.
extern "C" fn transmit(td: ifnet_thread_t, ifp: if_t, m: *mut mbuf) -> c_int {
    assert_ne!(if_getindex::<Rust>(td, ifp), 0);
    assert_eq!((net_epoch_enter::<Rust>(td), ifnet_thread_exit::<Rust>(td)), (0, IFNET_EBUSY));
    if_input::<Rust>(td, ifp, m)
}

fn boot() -> Kernel<Rust> {
    Kernel::boot(Rust, Config::default().threads(4)).expect("memory")
}

fn send(td: &Thread<'_, Rust>) {
    let section = td.net_epoch_enter();
    let em0 = ifunit(td, "em0").expect("attached");
    crate::if_transmit(td, &em0, Packet(64), &section).expect("the driver takes it");
}

#[test]
fn a_thread_in_rust_is_lent_to_a_driver_in_c() {
    let kernel = boot();
    let rust = kernel.thread().expect("room");
    let before = DROPPED.load(Ordering::SeqCst);
    serve(&kernel, |handle| {
        let td = enter(handle);
        let ifp = attached(td);
        assert_eq!(if_settransmitfn::<Rust>(td, ifp, Some(transmit)), 0);
        for _ in 0..10 {
            send(&rust);
        }
        assert!(!rust.in_section(), "the driver's section has ended with the call");
        assert_eq!(DROPPED.load(Ordering::SeqCst), before + 10);
        gone(td, ifp);
        assert_eq!(ifnet_thread_exit::<Rust>(td), 0);
    })
    .expect("a place");
    drop(rust);
    kernel.shutdown();
}

#[test]
fn handles_are_good_as_long_as_the_kernel_is_served() {
    let kernel = boot();
    let (first, second) = (serve(&kernel, |handle| handle), serve(&kernel, |handle| handle));
    assert_ne!(first, second);
    let mut td = ifnet_thread_t(0);
    // SAFETY: the place is there.
    let error = unsafe { ifnet_thread_enter::<Rust>(first.expect("a place"), &mut td) };
    assert_eq!(error, IFNET_EBADF);
    kernel.shutdown();
}

#[test]
#[cfg_attr(miri, ignore = "a thread that never ends")]
fn c_must_let_go_of_a_kernel() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (sender, received) = channel();
    *PANICS.lock().expect("not poisoned") = Some(sender);
    thread::spawn(|| serve(&boot(), |handle| _ = enter(handle)));
    let message = received.recv().expect("the host is told");
    assert_eq!(message, "serve: C has not let go of the kernel");
}
