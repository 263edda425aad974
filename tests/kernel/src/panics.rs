//! The panics that are specified, each of which ends a boot of its own. `.ci/kernel` compares the texts.
//!
//! | name | what is done |
//! |---|---|
//! | `double-detach` | an interface is detached twice |
//! | `detach-unattached` | one that was never attached |
//! | `section-detach` | a detach inside an epoch section |
//! | `section-wait` | a wait for readers inside a section |
//! | `section-drain` | a wait for callbacks inside a section |
//! | `interrupt-detach` | a detach in the timer's handler |
//! | `interrupt-sx` | a sleepable lock there |
//! | `dead-ref` | a reference on an interface whose last one is gone |
//! | `section-exit` | a section is closed that was not opened |
//! | `epoch-call-twice` | an object is handed over to be freed, twice |
//! | `sx-recursion` | a lock that is not recursive, twice |
//! | `sx-upgrade` | a lock exclusively that is held shared |
//! | `sx-assert` | a lock that should be held is not |
//! | `c-0`, `c-1`, … | what `driver_panic` of `tests/capi/driver.c` does under that number |

use ifnet::mem::Shared;
use ifnet::sync::{LockClass, Sx, SxAssert};
use ifnet::{IfType, IfnetOwner, Kernel, Thread, if_alloc, if_attach, if_detach, if_free, if_initname, if_ref};

use crate::host::Bare;
use crate::interrupt;

/// Does what the emulated kernel must not survive.
pub fn provoke(kernel: &Kernel<Bare>, name: &str) -> ! {
    let td = kernel.thread().expect("room");
    match name {
        "double-detach" => {
            let tst0 = attached(&td, 0);
            if_detach(&td, &tst0);
            if_detach(&td, &tst0);
        }
        "detach-unattached" => if_detach(&td, &named(&td, 0)),
        "section-detach" => {
            let tst0 = attached(&td, 0);
            let _section = td.net_epoch_enter();
            if_detach(&td, &tst0);
        }
        "section-wait" => {
            let _section = td.net_epoch_enter();
            td.net_epoch_wait();
        }
        "section-drain" => {
            let _section = td.net_epoch_enter();
            td.net_epoch_drain_callbacks();
        }
        "interrupt-detach" => {
            let tst0 = attached(&td, 0);
            let mut handler = kernel.thread().expect("room");
            let _armed = interrupt::arm(&mut handler);
            interrupt::in_the_next_tick(&|td| if_detach(td, &tst0));
        }
        "interrupt-sx" => {
            let lock = lock();
            let mut handler = kernel.thread().expect("room");
            let _armed = interrupt::arm(&mut handler);
            interrupt::in_the_next_tick(&|td| drop(lock.slock(td)));
        }
        "dead-ref" => {
            let tst0 = attached(&td, 0);
            let bare = ifnet::Ifp::clone(&tst0);
            if_detach(&td, &tst0);
            if_free(&td, tst0);
            drop(if_ref(&bare));
        }
        "section-exit" => _ = td.section_exit(),
        "epoch-call-twice" => {
            let tst0 = attached(&td, 0);
            let object = Shared::<u32, Bare>::try_new(tst0.domain(), 7).expect("memory");
            object.clone().defer(|_| {});
            object.defer(|_| {});
        }
        "sx-recursion" => {
            let lock = lock();
            let _both = (lock.xlock(&td), lock.xlock(&td));
        }
        "sx-upgrade" => {
            let lock = lock();
            let _both = (lock.slock(&td), lock.xlock(&td));
        }
        "sx-assert" => lock().assert_held(&td, SxAssert::XLOCKED),
        _ => match name.strip_prefix("c-").and_then(|which| which.parse().ok()) {
            Some(which) => crate::c_driver::provoke(kernel, which),
            None => panic!("no such panic: {name}"),
        },
    }
    panic!("{name} was survived");
}

fn named(td: &Thread<'_, Bare>, unit: u32) -> IfnetOwner<Bare> {
    let owner = if_alloc(td, IfType::Other).expect("memory");
    if_initname(&owner, "tst", Some(unit)).expect("a good name");
    owner
}

fn attached(td: &Thread<'_, Bare>, unit: u32) -> IfnetOwner<Bare> {
    let owner = named(td, unit);
    if_attach(td, &owner).expect("memory");
    owner
}

fn lock() -> Sx<Bare> {
    Sx::new("tst_sx", LockClass::user(0, "tst_sx"), false)
}
