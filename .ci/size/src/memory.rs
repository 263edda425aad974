//! What `.ci/47-sizes` measures of memory: how many bytes of its pool a kernel uses for an interface, a vnet and an epoch
//! record, tables and rounding included.
//!
//! On a machine with an operating system it is a program like any other. For 32 bits it is built for a machine without one,
//! and is run by `qemu-arm`, to which it talks with the system calls of Linux.
#![cfg_attr(target_os = "none", no_std, no_main)]

use ifnet::mem::{PoolRef, StaticPool};
use ifnet::platform::spin::SpinHost;
use ifnet::{Config, Errno, IfType, IfnetOwner, Kernel, Thread, VnetRef};

type Host = SpinHost<PoolRef>;

static MEMORY: StaticPool<{ 2 << 20 }> = StaticPool::new();

/// So many interfaces, and so many vnets. One more than a power of two, with what is there anyway: the tables have just
/// doubled.
const MANY: usize = 64;

/// Bytes for one of each.
struct Bytes {
    interface: usize,
    vnet: usize,
    record: usize,
}

fn measure() -> Result<Bytes, Errno> {
    let pool = MEMORY.by_ref().pool();
    let before = {
        let kernel = boot(2)?;
        let used = pool.in_use();
        kernel.shutdown();
        used
    };
    let kernel = boot(2 + MANY)?;
    let record = (pool.in_use() - before) / MANY;
    let bytes = {
        let td = kernel.thread()?;
        let mut interfaces: [Option<IfnetOwner<Host>>; MANY] = [const { None }; MANY];
        let start = pool.in_use();
        for (unit, place) in interfaces.iter_mut().enumerate() {
            *place = Some(attached(&td, unit)?);
        }
        // What the tables have outgrown.
        while kernel.run_deferred(&td) {}
        let interface = (pool.in_use() - start) / MANY;
        for owner in interfaces.into_iter().flatten() {
            ifnet::ether_ifdetach(&td, &owner);
            ifnet::if_free(&td, owner);
        }

        let mut vnets: [Option<VnetRef<Host>>; MANY] = [const { None }; MANY];
        while kernel.run_deferred(&td) {}
        let start = pool.in_use();
        for place in &mut vnets {
            *place = Some(ifnet::vnet_alloc(&td)?);
        }
        let vnet = (pool.in_use() - start) / MANY;
        for vnet in vnets.iter().flatten() {
            ifnet::vnet_destroy(&td, vnet)?;
        }
        Bytes { interface, vnet, record }
    };
    kernel.shutdown();
    assert_eq!(pool.in_use(), 0, "all of it has come back");
    Ok(bytes)
}

fn boot(threads: usize) -> Result<Kernel<Host>, Errno> {
    let host = SpinHost::new(MEMORY.by_ref());
    let config = Config::default().threads(threads);
    #[cfg(feature = "full")]
    let kernel = Kernel::boot(host, config);
    #[cfg(not(feature = "full"))]
    let kernel = Kernel::boot_bare(host, config);
    kernel
}

/// An Ethernet interface, with its address, and a tap if there are any.
fn attached(td: &Thread<'_, Host>, unit: usize) -> Result<IfnetOwner<Host>, Errno> {
    let owner = ifnet::if_alloc(td, IfType::Ether)?;
    ifnet::if_initname(&owner, "em", u32::try_from(unit).ok())?;
    ifnet::ether_ifattach(td, &owner, [2, 0, 0, 0, 0, unit as u8])?;
    Ok(owner)
}

/// One line: the bytes of an interface, of a vnet, and of a record.
fn report(write: &mut dyn FnMut(core::fmt::Arguments<'_>)) {
    match measure() {
        Ok(Bytes { interface, vnet, record }) => write(format_args!("{interface} {vnet} {record}\n")),
        Err(errno) => write(format_args!("{errno}\n")),
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    report(&mut |line| print!("{line}"));
}

#[cfg(target_os = "none")]
mod linux {
    use core::fmt::{self, Write};

    /// The first file of a process, and a system call that writes to it.
    struct Stdout;

    impl Write for Stdout {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            call(4, 1, text.as_ptr().addr(), text.len());
            Ok(())
        }
    }

    fn call(number: usize, a: usize, b: usize, c: usize) {
        // SAFETY:
        // 1. `write` reads `c` bytes at `b`, which are a text; `exit` has no use for them.
        // 2. A system call changes no register but the first. The number's register is the frame pointer: it is put back.
        unsafe {
            core::arch::asm!(
                "mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}",
                kept = out(reg) _, number = in(reg) number, inout("r0") a => _, in("r1") b, in("r2") c,
            );
        }
    }

    fn exit(status: usize) -> ! {
        call(1, status, 0, 0);
        loop {}
    }

    /// Where the linker begins.
    // SAFETY: the only symbol of this name in the program.
    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        super::report(&mut |line| {
            let _ = Stdout.write_fmt(line);
        });
        exit(0)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let _ = writeln!(Stdout, "{info}");
        exit(1)
    }
}
