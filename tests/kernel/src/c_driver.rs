//! The example driver in C, `tests/capi/driver.c`, in this kernel: the same file that a process is linked with.
//!
//! The kernel exports the C functions for its own platform, and serves its one kernel to the driver. All workers run the
//! driver's tests at a time, each with interfaces of its own, while the timers' handlers send packets through whatever
//! interface they find; then one worker runs them alone, with a second kernel whose handles must be refused.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use ifnet::capi::abi::{ifnet_kernel_t, mbuf};
use ifnet::capi::{CPlatform, Kernels, serve};
use ifnet::{Config, Kernel};

use crate::arch::{self, WORKERS};
use crate::host::Bare;
use crate::packet::{self, Packet};
use crate::{barrier, interrupt};

ifnet::capi_export!(Bare);

// SAFETY:
// 1. A worker and the handler of a CPU have numbers of their own.
// 2. There is one static.
// 3. A packet is a number, which is looked up: whatever C makes is a packet in use, or none.
unsafe impl CPlatform for Bare {
    fn kernels() -> &'static Kernels<Self> {
        static KERNELS: Kernels<Bare> = Kernels::new();
        &KERNELS
    }

    fn curthread(&self) -> usize {
        if arch::in_interrupt() { 1 + WORKERS + arch::cpu() } else { 1 + arch::worker() }
    }

    fn packet_from_c(&self, m: *mut mbuf) -> Option<Packet> {
        Packet::from_number(m.addr())
    }

    fn packet_into_c(packet: Packet) -> *mut mbuf {
        ptr::without_provenance_mut(packet.into_number())
    }
}

/// `struct driver_env` of `driver.h`.
#[repr(C)]
struct DriverEnv {
    m_get: extern "C" fn(arg: *mut c_void) -> *mut mbuf,
    m_freem: extern "C" fn(arg: *mut c_void, m: *mut mbuf),
    arg: usize,
}

static ENV: DriverEnv = DriverEnv { m_get, m_freem, arg: 0 };

unsafe extern "C" {
    fn driver_run(
        kernel: ifnet_kernel_t,
        other: ifnet_kernel_t,
        env: *const DriverEnv,
        unit: u32,
        alone: c_int,
    ) -> c_int;
    fn driver_panic(kernel: ifnet_kernel_t, env: *const DriverEnv, which: c_int);
}

extern "C" fn m_get(_: *mut c_void) -> *mut mbuf {
    Packet::new().map_or(ptr::null_mut(), Bare::packet_into_c)
}

extern "C" fn m_freem(_: *mut c_void, m: *mut mbuf) {
    drop(Bare.packet_from_c(m));
}

const NONE: ifnet_kernel_t = ifnet_kernel_t(0);

/// The kernel, for all workers.
static SERVED: AtomicU64 = AtomicU64::new(0);

/// Runs the driver on all workers, then on one.
pub fn run(kernel: &Kernel<Bare>, worker: usize) {
    let rounds = crate::number("rounds", 40);
    if worker != 0 {
        barrier::meet(None);
        in_parallel(worker, rounds);
        return barrier::meet(None);
    }
    let before = interrupt::totals();
    serve(kernel, |handle| {
        SERVED.store(handle.0, Ordering::Release);
        barrier::meet(None);
        in_parallel(worker, rounds);
        barrier::meet(None);
        alone(handle);
    })
    .expect("a place for a kernel");
    let after = interrupt::totals();
    let sent = after.2 - before.2;
    assert!(sent > 0, "no handler has sent a packet");
    assert_eq!(packet::in_use(), 0, "packets of the driver that did not come back");
    say!("c driver: {} runs on {WORKERS} workers, 1 alone; handlers have sent {sent} packets", rounds * WORKERS);
}

fn in_parallel(worker: usize, rounds: usize) {
    let handle = ifnet_kernel_t(SERVED.load(Ordering::Acquire));
    for _ in 0..rounds {
        drive(handle, NONE, worker, false);
    }
}

/// With a second kernel.
#[inline(never)] // It takes some stack.
fn alone(handle: ifnet_kernel_t) {
    let other = Kernel::boot(Bare, Config::default().threads(4)).expect("memory for a second kernel");
    serve(&other, |foreign| drive(handle, foreign, 0, true)).expect("a second place");
    other.shutdown();
}

/// One run of the driver's tests.
fn drive(kernel: ifnet_kernel_t, other: ifnet_kernel_t, unit: usize, alone: bool) {
    // SAFETY: the function is that of `driver.h`, which calls nothing but what is exported above and the two of `ENV`.
    let line = unsafe { driver_run(kernel, other, &raw const ENV, unit as u32, c_int::from(alone)) };
    assert_eq!(line, 0, "the line of driver.c whose check failed, on worker {unit}");
}

/// Misuse by the driver that the kernel must not survive.
pub fn provoke(kernel: &Kernel<Bare>, which: c_int) {
    // SAFETY: as `drive`.
    let survived = serve(kernel, |handle| unsafe { driver_panic(handle, &raw const ENV, which) });
    survived.expect("a place for a kernel");
}
