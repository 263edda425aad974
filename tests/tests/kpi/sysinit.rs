//! `VNET_SYSINIT` of a module that brings functions: they run for every vnet, in order, and are undone when one fails.

use core::cell::{Cell, RefCell};

use ifnet::vnet::{Subsystem, SysInit, VnetInit, VnetUninit, vnet_deregister_sysuninit, vnet_register_sysinit};
use ifnet::{Errno, if_clone_create, if_clone_destroy, vnet_alloc, vnet_destroy};

use super::bed::{Host, Td, kernel, listed};

thread_local! {
    /// Which functions ran in which vnets.
    static RAN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The vnet in which a constructor fails.
    static REFUSED: Cell<Option<u32>> = const { Cell::new(None) };
}

fn note(td: &Td<'_>, what: &str) {
    RAN.with_borrow_mut(|ran| ran.push(format!("{what}{}", td.curvnet().id())));
}

/// What ran since this was asked last.
fn ran() -> String {
    RAN.take().join(" ")
}

fn module(name: &'static str, subsystem: Subsystem, init: VnetInit<Host>, uninit: VnetUninit<Host>) -> SysInit<Host> {
    SysInit::functions(name, subsystem, init, uninit)
}

fn family() -> SysInit<Host> {
    let init = |td: &Td<'_>| {
        note(td, "+family");
        Ok(())
    };
    module("family", Subsystem::PROTO_IF, init, |td| note(td, "-family"))
}

/// A module that has an interface in each vnet.
fn pseudo() -> SysInit<Host> {
    let init = |td: &Td<'_>| {
        note(td, "+pseudo");
        if REFUSED.get() == Some(td.curvnet().id()) {
            return Err(Errno::ENXIO);
        }
        if_clone_create(td, "disc7").map(drop)
    };
    let uninit = |td: &Td<'_>| {
        note(td, "-pseudo");
        if_clone_destroy(td, "disc7").expect("its own");
    };
    module("pseudo", Subsystem::PSEUDO, init, uninit)
}

#[test]
fn functions_run_for_every_vnet_in_the_order_of_subsystems() {
    kernel(|td| {
        let vnet0 = td.kernel().vnet0();
        vnet_register_sysinit(td, pseudo()).unwrap();
        assert_eq!((ran().as_str(), listed(td, &vnet0)), ("+pseudo0", vec!["lo0".to_owned(), "disc7".to_owned()]));
        let jail = vnet_alloc(td).unwrap();
        assert_eq!((ran().as_str(), listed(td, &jail)), ("+pseudo1", vec!["lo0".to_owned(), "disc7".to_owned()]));
        // For those that there are, when it comes; from then on before what belongs to a later subsystem.
        vnet_register_sysinit(td, family()).unwrap();
        assert_eq!(ran(), "+family0 +family1");
        assert_eq!(vnet_register_sysinit(td, family()), Err(Errno::EEXIST));
        let other = vnet_alloc(td).unwrap();
        assert_eq!(ran(), "+family2 +pseudo2");
        vnet_destroy(td, &jail).unwrap();
        assert_eq!(ran(), "-pseudo1 -family1");
        // For those that are left, when it goes.
        vnet_deregister_sysuninit(td, "pseudo").unwrap();
        assert_eq!((ran().as_str(), listed(td, &vnet0)), ("-pseudo0 -pseudo2", vec!["lo0".to_owned()]));
        assert_eq!(vnet_deregister_sysuninit(td, "pseudo"), Err(Errno::ENOENT));
        vnet_destroy(td, &other).unwrap();
        assert_eq!(ran(), "-family2");
    });
    assert_eq!(ran(), "-family0", "at the end of the kernel");
}

#[test]
fn a_constructor_that_fails_leaves_nothing() {
    kernel(|td| {
        vnet_register_sysinit(td, family()).unwrap();
        let jail = vnet_alloc(td).unwrap();
        assert_eq!(ran(), "+family0 +family1");
        // When the module comes.
        REFUSED.set(Some(jail.id()));
        assert_eq!(vnet_register_sysinit(td, pseudo()), Err(Errno::ENXIO));
        assert_eq!(
            (ran().as_str(), listed(td, &td.kernel().vnet0())),
            ("+pseudo0 +pseudo1 -pseudo0", vec!["lo0".to_owned()])
        );
        assert_eq!(vnet_deregister_sysuninit(td, "pseudo"), Err(Errno::ENOENT));
        // When a vnet comes; its number is free again.
        vnet_destroy(td, &jail).unwrap();
        vnet_register_sysinit(td, pseudo()).unwrap();
        assert_eq!(ran(), "-family1 +pseudo0");
        assert_eq!(vnet_alloc(td).err(), Some(Errno::ENXIO));
        assert_eq!(ran(), "+family1 +pseudo1 -family1");
        REFUSED.set(None);
        let jail = vnet_alloc(td).unwrap();
        assert_eq!((ran().as_str(), jail.id()), ("+family1 +pseudo1", 1));
        vnet_destroy(td, &jail).unwrap();
        vnet_deregister_sysuninit(td, "pseudo").unwrap();
        vnet_deregister_sysuninit(td, "family").unwrap();
        assert_eq!(ran(), "-pseudo1 -family1 -pseudo0 -family0");
    });
}
