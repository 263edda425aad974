//! A kernel that is nothing but the life cycle, on bare metal: no `std`, no `alloc`, no heap, no thread-locals.
//!
//! It boots on all CPUs under QEMU and does what its command line says:
//!
//! | command line | |
//! |---|---|
//! | (nothing) | the workload, then the exhaustion of the memory, then the shutdown, after which nothing may be in use |
//! | `driver=c` | the example driver in C instead, see `c_driver.rs`; then the shutdown |
//! | `panic=NAME` | one of the specified panics, see `panics.rs` |
//! | `rounds=N` | that many rounds of the workload |
//! | `seed=N` | other choices |
//!
//! `arch` is what differs between the machines; `host.rs` is the port, the only part that a kernel author would write.
#![no_std]
#![no_main]

#[macro_use]
mod console;

mod arch;
mod barrier;
mod c_driver;
mod exhaust;
mod host;
mod interrupt;
mod lock;
mod packet;
mod panics;
mod random;
mod sizes;
mod stack;
mod workload;

use core::panic::PanicInfo;

use ifnet::{Config, Kernel};
use spin::RwLock;

use arch::{CPUS, Verdict, WORKERS};
use host::{Bare, MEMORY};

/// The one kernel. Workers read it; the first one puts it there, and takes it away at the end.
static KERNEL: RwLock<Option<Kernel<Bare>>> = RwLock::new(None);

/// The value of `key=value` on the command line.
fn option(key: &str) -> Option<&'static str> {
    let mut words = arch::command_line().split_ascii_whitespace().filter_map(|word| word.split_once('='));
    words.find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// The same, a number.
fn number(key: &str, default: usize) -> usize {
    option(key).map_or(default, |value| value.parse().expect("a number"))
}

/// Where every worker begins.
fn start(worker: usize) -> ! {
    stack::paint(worker);
    if worker == 0 {
        say!("ifnet on {CPUS} CPUs, {WORKERS} workers: {:?}", arch::command_line());
        // A thread for each worker and for each handler, and one for the shutdown.
        let config = Config::default().threads(WORKERS + CPUS + 1);
        *KERNEL.write() = Some(Kernel::boot(Bare, config).expect("memory for a kernel"));
    }
    barrier::meet(None);
    if let Some(kernel) = &*KERNEL.read() {
        work(kernel, worker);
    }
    barrier::meet(None);
    if worker == 0 {
        finish();
    }
    barrier::rest()
}

fn work(kernel: &Kernel<Bare>, worker: usize) {
    if let Some(name) = option("panic") {
        match worker {
            0 => panics::provoke(kernel, name),
            _ => barrier::rest(),
        }
    }
    if worker == 0 {
        sizes::report(kernel);
    }
    barrier::meet(None);
    // A CPU has one handler, and the worker that arms it must be there for good.
    let mut handler = (worker < CPUS).then(|| kernel.thread().expect("room for the handler"));
    let armed = handler.as_mut().map(interrupt::arm);
    if option("driver").is_some() {
        c_driver::run(kernel, worker);
    } else {
        workload::run(kernel, worker);
        exhaust::run(kernel, worker);
    }
    drop(armed);
}

/// The end of the kernel. Everything must have come back.
fn finish() -> ! {
    let kernel = { KERNEL.write().take() }.expect("it was booted");
    kernel.shutdown();
    let pool = MEMORY.by_ref().pool();
    assert_eq!(pool.in_use(), 0, "bytes of the pool that did not come back");
    assert_eq!(packet::in_use(), 0, "packets that did not come back");
    let (ticks, found, sent) = interrupt::totals();
    say!("interrupts: {ticks} ticks found {found} interfaces and sent {sent} packets");
    for cpu in 0..CPUS {
        assert!(interrupt::ticks(cpu) > 0, "the timer of CPU {cpu} did not tick");
    }
    for worker in 0..WORKERS {
        say!("stack of worker {worker}: {} of {} bytes", stack::used(worker), stack::SIZE);
    }
    say!("shutdown: 0 of {} bytes in use, no packet in use", pool.capacity());
    say!("verdict: ok");
    arch::exit(Verdict::Ok)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    console::last_words(format_args!("broken: {info}"));
    arch::exit(Verdict::Broken)
}
