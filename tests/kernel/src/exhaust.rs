//! The memory runs out, on all CPUs at once: `ENOMEM` is an error, and when things are given back there is room again.

use core::sync::atomic::{AtomicUsize, Ordering};

use ifnet::{Errno, Kernel, Thread, VnetRef, if_clone_create, if_clone_destroy, ifunit, vnet_alloc, vnet_destroy};

use crate::host::{Bare, MEMORY};
use crate::{barrier, workload};

/// Vnets that a worker tries to make.
const VNETS: usize = 12;
/// Times that the memory runs out.
const ROUNDS: usize = 2;

static MADE: [AtomicUsize; ROUNDS] = [const { AtomicUsize::new(0) }; ROUNDS];
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Runs out of memory and recovers.
pub fn run(kernel: &Kernel<Bare>, id: usize) {
    let td = kernel.thread().expect("room for every worker");
    for made in &MADE {
        let mut vnets: [Option<VnetRef<Bare>>; VNETS] = [const { None }; VNETS];
        for place in &mut vnets {
            *place = accept(vnet_alloc(&td), made);
        }
        for place in vnets.iter().flatten() {
            let _cur = td.curvnet_set(Some(place.clone()));
            while accept(if_clone_create(&td, "disc"), made).is_some() {}
        }
        barrier::meet(Some(&td));
        if id == 0 {
            short(&td, made);
        }
        barrier::meet(None);
        // In parallel, and with no memory to be had: a teardown needs none.
        for (at, vnet) in vnets.iter().flatten().enumerate() {
            if at % 2 == 0 {
                destroy_all(&td, vnet);
            }
            vnet_destroy(&td, vnet).expect("nobody else destroys it");
        }
        drop(vnets);
        barrier::meet(Some(&td));
        if id == 0 {
            workload::look(&td, None);
            assert_eq!(kernel.interfaces(), 1, "interfaces beside lo0 are left");
        }
        barrier::meet(None);
    }
    if id == 0 {
        let [first, second] = MADE.each_ref().map(|made| made.load(Ordering::Relaxed));
        let refused = REFUSED.load(Ordering::Relaxed);
        assert!(2 * second > first, "{first} things were made with all memory, and {second} when it was given back");
        say!("exhaustion: {first} things made, then ENOMEM; given back, {second} made again; {refused} refusals");
    }
}

/// What was made. The only error is a lack of memory.
fn accept<T>(result: Result<T, Errno>, made: &AtomicUsize) -> Option<T> {
    match result {
        Ok(thing) => {
            made.fetch_add(1, Ordering::Relaxed);
            Some(thing)
        }
        Err(errno) => {
            assert_eq!(errno, Errno::ENOMEM);
            REFUSED.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// While there is no memory: the kernel is sound, and what needs none works.
fn short(td: &Thread<'_, Bare>, made: &AtomicUsize) {
    while accept(if_clone_create(td, "disc"), made).is_some() {}
    assert!(REFUSED.load(Ordering::Relaxed) > 0, "the pool is too large for this test");
    workload::look(td, None);
    assert!(ifunit(td, "lo0").is_some());
    let pool = MEMORY.by_ref().pool();
    say!("exhaustion: {} of {} bytes in use", pool.in_use(), pool.capacity());
    workload::clear(td);
}

/// Destroys the interfaces of a vnet one by one; its end does it in a batch.
fn destroy_all(td: &Thread<'_, Bare>, vnet: &VnetRef<Bare>) {
    let _cur = td.curvnet_set(Some(vnet.clone()));
    for unit in 0..8_u8 {
        let name = [b'd', b'i', b's', b'c', b'0' + unit];
        let _ = if_clone_destroy(td, core::str::from_utf8(&name).expect("it is ASCII"));
    }
}
