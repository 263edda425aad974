//! Names: of interfaces, of groups, of kinds and units; and who gets one that several want.

use ifnet::clone::{CloneFlags, CloneType};
use ifnet::{
    Errno, IfType, if_addgroup, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_delgroup, if_free,
    if_initname, if_rename, if_setdescription, if_vmove_loan, if_vmove_reclaim, ifunit, ifunit_ref, vnet_alloc,
    vnet_destroy,
};

use super::bed::{Host, Td, groups, kernel, listed, members, name, plug, snapshot, unplug, within};

const LONGEST: &str = "abcdefghijklmno";
const TOO_LONG: &str = "abcdefghijklmnop";

#[test]
fn an_interface_has_a_name_of_one_to_fifteen_bytes() {
    kernel(|td| {
        let owner = if_alloc(td, IfType::Other).unwrap();
        for (bad, errno) in
            [("", Errno::EINVAL), ("a\0b", Errno::EINVAL), (TOO_LONG, Errno::ENAMETOOLONG), ("\0", Errno::EINVAL)]
        {
            assert_eq!(if_initname(&owner, bad, None), Err(errno), "{bad:?}");
            assert_eq!(if_initname(&owner, bad, Some(0)), Err(errno), "{bad:?}");
        }
        // The number does not fit any more.
        assert_eq!(if_initname(&owner, LONGEST, Some(0)), Err(Errno::ENAMETOOLONG));
        assert_eq!(if_initname(&owner, "abcdefghijklm", Some(100)), Err(Errno::ENAMETOOLONG));
        assert_eq!(&*owner.name(), "");
        assert_eq!(if_attach(td, &owner), Err(Errno::EINVAL), "without a name");
        if_initname(&owner, LONGEST, None).unwrap();
        if_attach(td, &owner).unwrap();
        assert!(ifunit(td, LONGEST).is_some() && ifunit(td, TOO_LONG).is_none() && ifunit(td, "").is_none());
        unplug(td, owner);
    });
}

#[test]
fn a_new_name_must_be_good_and_free() {
    kernel(|td| {
        let (em0, em1) = (plug(td, "em0"), plug(td, "em1"));
        let before = snapshot(td, &[]);
        for (bad, errno) in [
            ("", Errno::EINVAL),
            ("a\0", Errno::EINVAL),
            (TOO_LONG, Errno::ENAMETOOLONG),
            ("em1", Errno::EEXIST),
            ("lo0", Errno::EEXIST),
        ] {
            assert_eq!(if_rename(td, &em0, bad), Err(errno), "{bad:?}");
        }
        assert_eq!(if_rename(td, &em0, "em0"), Ok(()), "the same name");
        assert_eq!(snapshot(td, &[]), before);
        if_rename(td, &em0, LONGEST).unwrap();
        assert_eq!(listed(td, &td.curvnet()), ["lo0", LONGEST, "em1"], "it keeps its place");
        if_rename(td, &em1, "em0").unwrap();
        unplug(td, em0);
        unplug(td, em1);
    });
}

#[test]
fn only_an_attached_interface_is_renamed() {
    kernel(|td| {
        let em0 = super::bed::alloc(td, "em0");
        assert_eq!(if_rename(td, &em0, "wan"), Err(Errno::ENXIO));
        if_attach(td, &em0).unwrap();
        ifnet::if_detach(td, &em0);
        assert_eq!(if_rename(td, &em0, "wan"), Err(Errno::ENXIO));
        assert_eq!(em0.name(), name("em0"));
        if_free(td, em0);
    });
}

#[test]
fn a_description_has_at_most_sixty_three_bytes() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        assert_eq!(if_setdescription(&em0, &"x".repeat(63)), Ok(()));
        assert_eq!(if_setdescription(&em0, &"x".repeat(64)), Err(Errno::ENAMETOOLONG));
        assert_eq!(if_setdescription(&em0, ""), Ok(()));
        unplug(td, em0);
    });
}

#[test]
fn the_earliest_of_one_name_is_found() {
    kernel(|td| {
        let first = plug(td, "em0");
        let second = plug(td, "em0");
        let other = plug(td, "zz0");
        assert!(ifunit(td, "em0").unwrap().ptr_eq(&first));
        // Linked later but allocated earlier: the order of linking counts.
        if_rename(td, &first, "wan").unwrap();
        assert!(ifunit(td, "em0").unwrap().ptr_eq(&second));
        assert_eq!(if_rename(td, &first, "em0"), Err(Errno::EEXIST));
        unplug(td, second);
        if_rename(td, &first, "em0").unwrap();
        let third = plug(td, "em0");
        unplug(td, first);
        assert!(ifunit_ref(td, "em0").unwrap().ptr_eq(&third));
        unplug(td, third);
        assert!(ifunit(td, "em0").is_none());
        unplug(td, other);
    });
}

#[test]
fn a_group_name_ends_in_no_digit() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        let before = snapshot(td, &[]);
        for (bad, errno) in [
            ("0", Errno::EINVAL),
            ("123", Errno::EINVAL),
            ("foo1", Errno::EINVAL),
            ("a\0b", Errno::EINVAL),
            (TOO_LONG, Errno::ENAMETOOLONG),
            ("all", Errno::EEXIST),
        ] {
            assert_eq!(if_addgroup(td, &em0, bad), Err(errno), "{bad:?}");
        }
        for unknown in ["foo", "", TOO_LONG, "al", "all0"] {
            assert_eq!(if_delgroup(td, &em0, unknown), Err(Errno::ENOENT), "{unknown:?}");
            assert_eq!(members(td, unknown), Err(Errno::ENOENT), "{unknown:?}");
        }
        assert_eq!(snapshot(td, &[]), before);
        for good in ["1a", LONGEST] {
            if_addgroup(td, &em0, good).unwrap();
            assert_eq!(if_addgroup(td, &em0, good), Err(Errno::EEXIST));
        }
        assert_eq!(groups(td, &em0), ["all", "1a", LONGEST]);
        unplug(td, em0);
    });
}

#[test]
fn a_group_lives_from_its_first_member_to_its_last() {
    kernel(|td| {
        let (em0, em1) = (plug(td, "em0"), plug(td, "em1"));
        assert_eq!(members(td, "foo"), Err(Errno::ENOENT));
        if_addgroup(td, &em0, "foo").unwrap();
        if_addgroup(td, &em1, "foo").unwrap();
        assert_eq!(members(td, "foo").unwrap(), ["em0", "em1"]);
        if_delgroup(td, &em0, "foo").unwrap();
        assert_eq!(if_delgroup(td, &em0, "foo"), Err(Errno::ENOENT));
        assert_eq!(members(td, "foo").unwrap(), ["em1"]);
        unplug(td, em1);
        assert_eq!(members(td, "foo"), Err(Errno::ENOENT), "detach left the group");
        // Leaving `all` is allowed, and joining it again.
        if_delgroup(td, &em0, "all").unwrap();
        assert_eq!(members(td, "all").unwrap(), ["lo0"]);
        if_addgroup(td, &em0, "all").unwrap();
        assert_eq!(members(td, "all").unwrap(), ["lo0", "em0"]);
        if_delgroup(td, &em0, "all").unwrap();
        unplug(td, em0);
    });
}

#[test]
fn groups_are_lost_over_a_move_but_for_two() {
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "disc").unwrap();
        let disc0 = ifunit(td, "disc0").unwrap();
        if_addgroup(td, &disc0, "foo").unwrap();
        drop(if_vmove_loan(td, "disc0", &jail).unwrap());
        assert_eq!(groups(td, &disc0), ["all", "disc"]);
        assert_eq!(members(td, "disc"), Err(Errno::ENOENT));
        assert_eq!(within(td, &jail, || members(td, "disc")).unwrap(), ["disc0"]);
        drop(if_vmove_reclaim(td, "disc0", &jail).unwrap());
        assert_eq!(groups(td, &disc0), ["all", "disc"]);
        assert_eq!(within(td, &jail, || members(td, "disc")), Err(Errno::ENOENT));
        drop(disc0);
        if_clone_destroy(td, "disc0").unwrap();
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn what_create_refuses() {
    kernel(|td| {
        let renamed = plug(td, "em0");
        if_rename(td, &renamed, "disc7").unwrap();
        let end = plug(td, "epair3b");
        if_clone_create(td, "disc2").unwrap();
        let before = snapshot(td, &[]);
        for (bad, errno) in [
            ("", Errno::EINVAL),
            ("di\0sc", Errno::EINVAL),
            (TOO_LONG, Errno::ENAMETOOLONG),
            ("nothing0", Errno::EINVAL),
            ("dis", Errno::EINVAL),
            ("discx", Errno::EINVAL),
            ("disc1x", Errno::EINVAL),
            ("disc01", Errno::EINVAL),
            ("disc00", Errno::EINVAL),
            ("disc2147483648", Errno::EINVAL),
            ("disc99999999999", Errno::EINVAL),
            ("disc32768", Errno::ENOSPC),
            ("disc2147483647", Errno::ENOSPC),
            ("disc2", Errno::EEXIST),
            ("disc7", Errno::EEXIST),
            ("lo0", Errno::EEXIST),
            ("em1", Errno::EINVAL),
            ("epair0a", Errno::EINVAL),
            ("epair0b", Errno::EINVAL),
            ("epair3", Errno::EEXIST),
            ("epair32768", Errno::ENOSPC),
            ("epair01", Errno::EINVAL),
        ] {
            assert_eq!(if_clone_create(td, bad), Err(errno), "{bad:?}");
            assert_eq!(snapshot(td, &[]), before, "{bad:?}");
        }
        // None of the refusals has kept a unit or a name.
        for good in ["disc32767", "disc1", "epair32767", "lo1"] {
            assert!(if_clone_create(td, good).is_ok(), "{good}");
        }
        for name in ["disc32767", "disc1", "disc2", "epair32767a", "lo1"] {
            if_clone_destroy(td, name).unwrap();
        }
        unplug(td, end);
        // The unit of the pair that could not be made is free again.
        assert_eq!(if_clone_create(td, "epair3"), Ok(name("epair3a")));
        if_clone_destroy(td, "epair3a").unwrap();
        unplug(td, renamed);
    });
}

#[test]
fn a_wildcard_takes_the_lowest_unit_whose_name_is_free() {
    kernel(|td| {
        let taken = plug(td, "disc1");
        let created: Vec<_> = (0..3).map(|_| if_clone_create(td, "disc").unwrap()).collect();
        assert_eq!(created, [name("disc0"), name("disc2"), name("disc3")]);
        // A unit follows its interface, not its name.
        if_rename(td, &ifunit(td, "disc2").unwrap(), "wan").unwrap();
        assert_eq!(if_clone_create(td, "disc2"), Err(Errno::EEXIST), "the unit is busy");
        if_clone_destroy(td, "wan").unwrap();
        assert_eq!(if_clone_create(td, "disc"), Ok(name("disc2")));
        for name in ["disc0", "disc2", "disc3"] {
            if_clone_destroy(td, name).unwrap();
        }
        unplug(td, taken);
    });
}

/// A kind with two units.
static FEW: CloneType<Host> = CloneType {
    name: "few",
    flags: CloneFlags::AUTOUNIT,
    maxunit: 1,
    minifs: 0,
    matches: None,
    create: |td, request| {
        let owner = if_alloc(td, IfType::Other)?;
        if_initname(&owner, request.cloner.name(), request.unit)?;
        if_attach(td, &owner)?;
        Ok(core::mem::ManuallyDrop::new(owner).clone())
    },
    // Refuses until it is forced.
    destroy: |_, _, _, _| Err(Errno::EBUSY),
};

#[test]
fn the_highest_unit_is_given_out_and_no_more() {
    let memory = ifnet_std::alloc::CountingAlloc::new();
    let kernel = super::bed::boot(&memory).unwrap();
    let td = kernel.thread().unwrap();
    kernel.register_cloner(&td, &FEW).unwrap();
    assert_eq!(kernel.register_cloner(&td, &FEW), Err(Errno::EEXIST));
    assert_eq!(if_clone_create(&td, "few"), Ok(name("few0")));
    assert_eq!(if_clone_create(&td, "few"), Ok(name("few1")));
    assert_eq!(if_clone_create(&td, "few"), Err(Errno::ENOSPC));
    assert_eq!(if_clone_create(&td, "few2"), Err(Errno::ENOSPC));
    // A destroy that the driver refuses leaves the interface as it was.
    let before = snapshot(&td, &[]);
    assert_eq!(if_clone_destroy(&td, "few0"), Err(Errno::EBUSY));
    assert_eq!(snapshot(&td, &[]), before);
    assert_eq!(members(&td, "few").unwrap(), ["few1", "few0"], "it has left the group and joined again");
    assert_eq!(if_clone_create(&td, "few0"), Err(Errno::EEXIST));
    ifnet::invariants::check(&td).unwrap();
    assert_eq!(kernel.deregister_cloner(&td, "nothing"), Err(Errno::ENOENT));

    // Even when it is forced, this driver destroys nothing: its interfaces stay, and are no cloner's.
    assert_eq!(kinds(&td)[0], "few", "newest first");
    kernel.deregister_cloner(&td, "few").unwrap();
    assert!(!kinds(&td).contains(&"few".to_string()));
    assert!(ifunit(&td, "few0").is_some() && ifunit(&td, "few1").is_some());
    ifnet::invariants::check(&td).unwrap();
    assert_eq!(if_clone_destroy(&td, "few0"), Err(Errno::EINVAL));
}

#[test]
fn a_kind_whose_names_are_all_taken_makes_nothing() {
    kernel(|td| {
        td.kernel().register_cloner(td, &FEW).unwrap();
        let taken = [plug(td, "few0"), plug(td, "few1")];
        let before = snapshot(td, &[]);
        assert_eq!(if_clone_create(td, "few"), Err(Errno::ENOSPC));
        assert_eq!(snapshot(td, &[]), before);
        taken.into_iter().for_each(|owner| unplug(td, owner));
        td.kernel().deregister_cloner(td, "few").unwrap();
    });
}

#[test]
fn a_kind_has_a_name_that_fits() {
    static LONG: CloneType<Host> = CloneType { name: TOO_LONG, ..FEW };
    kernel(|td| {
        let jail = vnet_alloc(td).unwrap();
        assert_eq!(td.kernel().register_cloner(td, &LONG), Err(Errno::ENAMETOOLONG));
        assert_eq!(td.kernel().deregister_cloner(td, TOO_LONG), Err(Errno::ENOENT), "nothing is left");
        vnet_destroy(td, &jail).unwrap();
    });
}

fn kinds(td: &Td<'_>) -> Vec<String> {
    let mut kinds = Vec::new();
    ifnet::clone::if_clone_list(td, |kind| kinds.push(kind.to_string()));
    kinds
}

#[test]
fn what_destroy_refuses() {
    kernel(|td| {
        let em0 = plug(td, "em0");
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "disc").unwrap();
        let before = snapshot(td, core::slice::from_ref(&jail));
        for (bad, errno) in [
            ("lo0", Errno::EINVAL),
            ("em0", Errno::EINVAL),
            ("nobody0", Errno::ENXIO),
            ("", Errno::ENXIO),
            (TOO_LONG, Errno::ENXIO),
        ] {
            assert_eq!(if_clone_destroy(td, bad), Err(errno), "{bad:?}");
        }
        within(td, &jail, || {
            assert_eq!(if_clone_destroy(td, "disc0"), Err(Errno::ENXIO), "in another vnet");
            assert_eq!(if_clone_destroy(td, "lo0"), Err(Errno::EINVAL));
        });
        assert_eq!(snapshot(td, core::slice::from_ref(&jail)), before);
        if_clone_destroy(td, "disc0").unwrap();
        assert_eq!(if_clone_destroy(td, "disc0"), Err(Errno::ENXIO), "twice");
        unplug(td, em0);
        vnet_destroy(td, &jail).unwrap();
    });
}
