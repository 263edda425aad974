//! The index table of a whole kernel: an interface is allocated, looked up without a lock, and freed.
//!
//! To see these fail, let `ifnet_byindexgen` skip the comparison of generations (`stale_handle_against_reuse`), or
//! `ifnet_byindex_ref` count up whatever it finds (`lookup_against_free`).

use ifnet::{Config, IfType, Kernel, if_alloc, if_free, ifnet_byindex_ref, ifnet_byindexgen};
use loom::sync::Arc;
use loom::thread;

use crate::host::{Arena, Host, model};

fn kernel() -> Arc<Kernel<Host>> {
    Arc::new(Kernel::boot(Host::new(&Arena::default()), Config::default().threads(2)).unwrap())
}

fn end(kernel: Arc<Kernel<Host>>) {
    Arc::try_unwrap(kernel).ok().expect("all threads have ended").shutdown();
}

/// Whoever gets a reference has an interface that is whole.
#[test]
fn lookup_against_free() {
    model(|| {
        let kernel = kernel();
        let td = kernel.thread().unwrap();
        let owner = if_alloc(&td, IfType::Other).unwrap();
        let index = owner.index();
        let looking = thread::spawn({
            let kernel = kernel.clone();
            move || {
                let td = kernel.thread().unwrap();
                if let Some(found) = ifnet_byindex_ref(&td, index) {
                    assert_eq!(found.index(), index);
                }
            }
        });
        if_free(&td, owner);
        looking.join().unwrap();
        drop(td);
        end(kernel);
    });
}

/// A handle of an index and its generation finds its own interface or none, while the index goes to another one.
#[test]
fn stale_handle_against_reuse() {
    model(|| {
        let kernel = kernel();
        let td = kernel.thread().unwrap();
        let first = if_alloc(&td, IfType::Other).unwrap();
        let (index, generation, address) = (first.index(), first.idxgen(), first.addr());
        let looking = thread::spawn({
            let kernel = kernel.clone();
            move || {
                let td = kernel.thread().unwrap();
                let section = td.net_epoch_enter();
                if let Some(found) = ifnet_byindexgen(&td, index, generation, &section) {
                    assert_eq!(found.addr(), address, "another interface was found");
                }
            }
        });
        if_free(&td, first);
        let second = if_alloc(&td, IfType::Other).unwrap();
        assert_eq!((second.index(), second.idxgen()), (index, generation + 1));
        looking.join().unwrap();
        if_free(&td, second);
        drop(td);
        end(kernel);
    });
}
