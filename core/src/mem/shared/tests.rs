//! What a counted handle promises: who frees, when, and what is refused after the last release.

extern crate std;

use core::sync::atomic::AtomicU32;
use std::sync::Arc;

use super::*;
use crate::epoch::Domain;
use crate::mem::Published;
use crate::testing::{Host, domain};

#[test]
fn last_handle_retires() {
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let marker = Arc::new(());
    let one = Shared::try_new(&domain, marker.clone()).expect("memory");
    let two = one.clone();
    assert!(one.ptr_eq(&two) && one.addr() == two.addr());
    let section = reader.enter();
    drop(one);
    assert_eq!(domain.pending(), 0);
    let borrowed = two.borrow();
    assert!(borrowed.is(&two));
    assert!(borrowed.try_share().is_some());
    drop(two);
    assert_eq!(domain.pending(), 1);
    assert_eq!(Arc::strong_count(&marker), 2);
    drop(section);
    domain.drain_callbacks(&reader);
    assert_eq!(Arc::strong_count(&marker), 1);
    drop((reader, domain));
    assert_eq!(host.arena().live(), 0);
}

/// A handle that was refused is none that can be given up. If it were, the second reader would find one to share.
#[test]
fn an_object_without_handles_stays_without() {
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let slot = Published::new(&domain);
    slot.swap(Some(Shared::try_new(&domain, 1).expect("memory")));
    let section = reader.enter();
    let seen = slot.load(&section).expect("an object");
    drop(slot.swap(None));
    for _ in 0..3 {
        assert!(seen.try_share().is_none(), "a handle of an object that is being freed");
    }
    assert_eq!(domain.pending(), 1);
    drop(section);
    domain.drain_callbacks(&reader);
    drop((reader, domain));
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn too_many_handles_are_refused() {
    let (_, domain) = domain();
    let object = Shared::try_new(&domain, ()).expect("memory");
    let full = i32::MAX as u32 + 1;
    object.header().count.store(full, Ordering::Relaxed);
    let refused = |share: &dyn Fn()| {
        let share = core::panic::AssertUnwindSafe(share);
        assert!(std::panic::catch_unwind(share).is_err(), "one handle too many");
    };
    refused(&|| drop(object.borrow().try_share()));
    assert_eq!(object.header().count.load(Ordering::Relaxed), full);
    refused(&|| drop(object.clone()));
    object.header().count.store(1, Ordering::Relaxed);
    drop(object);
    while domain.poll() {}
}

#[test]
fn no_memory_drops_the_value() {
    let (host, domain) = domain();
    let marker = Arc::new(());
    host.arena().fail_after(0);
    assert_eq!(Shared::try_new(&domain, marker.clone()).err(), Some(NoMem));
    assert_eq!(Arc::strong_count(&marker), 1);
    drop(domain);
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn deferred_function_runs_once_after_the_section() {
    let (host, domain) = domain();
    let reader = Domain::register(&domain).expect("a record");
    let object = Shared::try_new(&domain, AtomicU32::new(0)).expect("memory");
    let count = |object: &AtomicU32| {
        object.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
    };
    let get = |object: &AtomicU32| object.load(core::sync::atomic::Ordering::SeqCst);
    let section = reader.enter();
    object.clone().defer(count);
    while domain.poll() {}
    assert_eq!(get(&object), 0);
    drop(section);
    domain.drain_callbacks(&reader);
    assert_eq!(get(&object), 1);
    object.clone().defer(count);
    domain.drain_callbacks(&reader);
    assert_eq!(get(&object), 2);
    // The last handle may be the deferred one.
    object.defer(count);
    domain.drain_callbacks(&reader);
    domain.drain_callbacks(&reader);
    drop((reader, domain));
    assert_eq!(host.arena().live(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "the panic leaks a handle")]
fn second_defer_panics() {
    let (_, domain) = domain();
    let object = Shared::try_new(&domain, 0_u8).expect("memory");
    object.clone().defer(|_| ());
    let again = object.clone();
    let caught = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| again.defer(|_| ())));
    let text = caught.expect_err("a panic").downcast::<std::string::String>().expect("a text");
    assert!(text.contains("double epoch_call") && text.contains("u8"), "{text}");
    while domain.poll() {}
    // The handle that the second call consumed is lost.
    assert_eq!(domain.pending(), 0);
}

#[test]
fn erased_handles_know_their_type() {
    let (host, domain) = domain();
    let any = Shared::<u64, Host>::try_new(&domain, 5).expect("memory").erase();
    assert_eq!(any.downcast::<u64>(), Some(&5));
    assert_eq!(any.downcast::<i64>(), None);
    let typed = any.clone().to_shared::<u64>().expect("a u64");
    assert!(any.to_shared::<u8>().is_none());
    assert_eq!((any.type_name(), any.addr()), ("u64", typed.addr()));
    drop((any, typed));
    while domain.poll() {}
    drop(domain);
    assert_eq!(host.arena().live(), 0);
}
