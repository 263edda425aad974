//! The life of a few interfaces, through the public interface, on the spin host with a fixed pool.
#![cfg(not(ifnet_loom))]

use core::mem::MaybeUninit;

use ifnet::mem::{FixedPool, PoolRef};
use ifnet::platform::spin::SpinHost;
use ifnet::{Config, Errno, IfType, Kernel, if_alloc, if_attach, if_detach, if_free, if_initname, if_vmove_loan};
use ifnet::{if_clone_create, if_clone_destroy, if_rename, ifunit, vnet_alloc, vnet_destroy};

fn pool() -> PoolRef {
    let memory: &'static mut [MaybeUninit<u8>] = Box::leak(vec![MaybeUninit::uninit(); 1 << 20].into());
    Box::leak(Box::new(FixedPool::new(memory))).by_ref()
}

#[test]
fn a_kernel_gives_all_its_memory_back() {
    life_of_a_kernel();
}

/// The kernel stack of a small system, if the compiler optimises. An overflow aborts the process.
#[test]
fn a_stack_of_16_kib_is_enough() {
    let small = std::thread::Builder::new().stack_size(if cfg!(debug_assertions) { 40 << 10 } else { 16 << 10 });
    small.spawn(life_of_a_kernel).unwrap().join().unwrap();
}

fn life_of_a_kernel() {
    let pool = pool();
    let kernel = Kernel::boot(SpinHost::<_>::new(pool), Config::default().threads(4)).unwrap();
    {
        let td = kernel.thread().unwrap();
        let v1 = vnet_alloc(&td).unwrap();
        let em0 = if_alloc(&td, IfType::Other).unwrap();
        if_initname(&em0, "em", Some(0)).unwrap();
        if_attach(&td, &em0).unwrap();
        assert_eq!(if_clone_create(&td, "disc").as_deref(), Ok("disc0"));
        assert_eq!(if_clone_create(&td, "epair").as_deref(), Ok("epair0a"));
        drop(if_vmove_loan(&td, "em0", &v1).unwrap());
        drop(if_vmove_loan(&td, "epair0b", &v1).unwrap());
        assert!(ifunit(&td, "em0").is_none());
        assert_eq!(if_clone_destroy(&td, "lo0"), Err(Errno::EINVAL));
        let disc0 = ifunit(&td, "disc0").unwrap();
        if_rename(&td, &disc0, "wan").unwrap();
        drop(disc0);
        ifnet::invariants::check(&td).unwrap();
        vnet_destroy(&td, &v1).unwrap();
        ifnet::invariants::check(&td).unwrap();
        assert!(ifunit(&td, "em0").is_some() && ifunit(&td, "epair0b").is_some());
        if_detach(&td, &em0);
        if_free(&td, em0);
        if_clone_destroy(&td, "epair0b").unwrap();
        if_clone_destroy(&td, "wan").unwrap();
        ifnet::invariants::check(&td).unwrap();
        assert_eq!(kernel.interfaces(), 1);
    }
    kernel.shutdown();
    assert_eq!(pool.pool().in_use(), 0);
}
