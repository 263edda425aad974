//! What `.ci/sizes` measures: a program that is nothing but the life cycle, for machines without an operating system. It is
//! linked and never run.
#![no_std]
#![no_main]

use ifnet::mem::{PoolRef, StaticPool};
use ifnet::platform::spin::SpinHost;
use ifnet::{
    Config, Errno, IfType, Kernel, if_alloc, if_attach, if_detach, if_free, if_initname, if_vmove_loan, vnet_alloc,
    vnet_destroy,
};

static MEMORY: StaticPool<{ 64 << 10 }> = StaticPool::new();

/// Where the linker begins.
// SAFETY: the only symbol of this name in the program.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let _ = life();
    loop {
        core::hint::spin_loop();
    }
}

/// An interface comes, goes to another vnet, comes back, and goes.
fn life() -> Result<(), Errno> {
    let kernel: Kernel<SpinHost<PoolRef>> = boot()?;
    {
        let td = kernel.thread()?;
        let em0 = if_alloc(&td, IfType::Ether)?;
        if_initname(&em0, "em", Some(0))?;
        if_attach(&td, &em0)?;
        let jail = vnet_alloc(&td)?;
        drop(if_vmove_loan(&td, "em0", &jail)?);
        vnet_destroy(&td, &jail)?;
        #[cfg(feature = "full")]
        full(&td, &em0)?;
        if_detach(&td, &em0);
        if_free(&td, em0);
        while kernel.run_deferred(&td) {}
    }
    kernel.shutdown();
    Ok(())
}

fn boot() -> Result<Kernel<SpinHost<PoolRef>>, Errno> {
    let host = SpinHost::new(MEMORY.by_ref());
    let config = Config::default().threads(2);
    #[cfg(feature = "full")]
    let kernel = Kernel::boot(host, config);
    #[cfg(not(feature = "full"))]
    let kernel = Kernel::boot_bare(host, config);
    kernel
}

#[cfg(feature = "full")]
fn full(td: &ifnet::Thread<'_, SpinHost<PoolRef>>, em0: &ifnet::IfnetOwner<SpinHost<PoolRef>>) -> Result<(), Errno> {
    drop(ifnet::if_clone_create(td, "epair")?);
    ifnet::if_clone_destroy(td, "epair0a")?;
    ifnet::if_addgroup(td, em0, "uplink")?;
    ifnet::if_addaddr(td, em0, ifnet::SockAddr::Inet([192, 0, 2, 1]), 24)?;
    ifnet::if_rename(td, em0, "wan")?;
    drop(ifnet::bpf_open(td, "wan"));
    drop(ifnet::tun_open(td, "tun0"));
    Ok(())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
