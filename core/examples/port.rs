//! The smallest port: all that a kernel writes before an interface can live in it.
//!
//! `os` stands for the kernel, with what it has anyway. The rest is the port: memory, locks, the trait, an idle loop. It
//! uses nothing but `core` and this crate, so it is the same in a kernel; here it runs as a program.

use core::fmt::Arguments;

use ifnet::mem::{PoolRef, StaticPool};
use ifnet::platform::Platform;
use ifnet::platform::spin::{Mask, MaskedMutex};
use ifnet::{Config, Errno, IfType, Kernel, Thread};

/// What the kernel has already: `spinlock_enter` and `spinlock_exit`, which nest, its `yield`, and its panic.
mod os {
    pub(super) fn mask_interrupts() {}
    pub(super) fn unmask_interrupts() {}
    pub(super) fn in_interrupt() -> bool {
        false
    }
    pub(super) fn give_way() {
        core::hint::spin_loop();
    }
    pub(super) fn panic(message: core::fmt::Arguments<'_>) -> ! {
        panic!("{message}")
    }
}

/// What is done around a lock, so that handlers may take it too. The pool is used with a lock held, and so it has the same.
struct Masked;

impl Mask for Masked {
    fn mask() {
        os::mask_interrupts();
    }

    fn unmask() {
        os::unmask_interrupts();
    }
}

/// All the memory there is: no heap, no global allocator.
static MEMORY: StaticPool<{ 256 << 10 }, Masked> = StaticPool::masked();

/// The port.
struct Os;

impl Platform for Os {
    type Mutex<T: Send> = MaskedMutex<T, Masked>;
    type Allocator = PoolRef<Masked>;
    type Buffer = ();

    fn allocator(&self) -> PoolRef<Masked> {
        MEMORY.by_ref()
    }

    fn relax(&self) {
        os::give_way();
    }

    fn in_interrupt(&self) -> bool {
        os::in_interrupt()
    }

    fn panic(&self, message: Arguments<'_>) -> ! {
        os::panic(message)
    }
}

/// What a CPU does when it has nothing to do: frees what readers have left, runs tasks, ends vnets.
fn idle(td: &Thread<'_, Os>) {
    while td.kernel().run_deferred(td) {}
}

/// What the kernel does with it: a driver attaches, its interface visits another vnet, and all is taken away again.
fn main() -> Result<(), Errno> {
    let kernel = Kernel::boot(Os, Config::default().threads(2))?;
    {
        let td = kernel.thread()?;
        let em0 = ifnet::if_alloc(&td, IfType::Ether)?;
        ifnet::if_initname(&em0, "em", Some(0))?;
        ifnet::ether_ifattach(&td, &em0, [2, 0, 0, 0, 0, 1])?;
        let jail = ifnet::vnet_alloc(&td)?;
        drop(ifnet::if_vmove_loan(&td, "em0", &jail)?);
        ifnet::vnet_destroy(&td, &jail)?;
        assert!(ifnet::ifunit(&td, "em0").is_some(), "a lent interface returns");
        ifnet::ether_ifdetach(&td, &em0);
        ifnet::if_free(&td, em0);
        idle(&td);
    }
    kernel.shutdown();
    assert_eq!(MEMORY.by_ref().pool().in_use(), 0);
    Ok(())
}
