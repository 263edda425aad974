//! Random sequences of everything that holds or takes a place in a table of names, memory failing now and then. When all
//! interfaces are gone, no place is held any more; a place given up twice is caught where it happens.

extern crate std;

use std::vec::Vec;

use super::{VnetRef, vnet_alloc, vnet_destroy};
use crate::ifnet::{IfType, IfnetOwner};
use crate::platform::Mutex;
use crate::testing::{Host, Random, kernel};
use crate::thread::Thread;
use crate::{
    Config, Errno, Kernel, TaskMode, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_detach, if_free,
    if_initname, if_rename, if_vmove_loan, if_vmove_reclaim, if_vmove_to, vnet_lock,
};

struct World<'k> {
    td: Thread<'k, Host>,
    vnets: Vec<VnetRef<Host>>,
    owners: Vec<IfnetOwner<Host>>,
    random: Random,
    named: u32,
    done: [usize; 9],
}

impl World<'_> {
    /// One of the vnets, the default one included.
    fn some_vnet(&mut self) -> VnetRef<Host> {
        match self.random.below(self.vnets.len() + 1) {
            0 => self.td.kernel().vnet0(),
            n => self.vnets[n - 1].clone(),
        }
    }

    fn step(&mut self) -> Result<(), Errno> {
        let (here, there) = (self.some_vnet(), self.some_vnet());
        let what = self.random.below(self.done.len());
        let some = self.random.below(self.owners.len().max(1));
        let name = self.owners.get(some).map_or_else(Default::default, |owner| owner.name());
        let td = &self.td;
        let _cur = td.curvnet_set(Some(here.clone()));
        match what {
            0 if self.owners.len() < 20 => {
                let owner = if_alloc(td, IfType::Other)?;
                self.named += 1;
                let made = if_initname(&owner, "em", Some(self.named % 30)).and_then(|()| if_attach(td, &owner));
                if made.is_err() {
                    if_free(td, owner);
                } else {
                    self.owners.push(owner);
                }
                made?;
            }
            1 if !self.owners.is_empty() => {
                let owner = self.owners.swap_remove(some);
                if_detach(td, &owner);
                if_free(td, owner);
            }
            2 => drop(if_vmove_loan(td, &name, &there)?),
            3 => drop(if_vmove_reclaim(td, &name, &there)?),
            4 if !self.owners.is_empty() => if_vmove_to(td, &self.owners[some], &there)?,
            5 if !self.owners.is_empty() => if_rename(td, &self.owners[some], ["a", "b", "em3"][some % 3])?,
            6 => drop(if_clone_create(td, ["disc", "epair"][some % 2])?),
            7 => if_clone_destroy(td, ["disc0", "epair0a", "epair1b"][some % 3])?,
            8 if self.vnets.len() < 4 && !some.is_multiple_of(3) => {
                let vnet = vnet_alloc(td)?;
                self.vnets.push(vnet);
            }
            8 if !self.vnets.is_empty() => {
                let vnet = self.vnets.swap_remove(some % self.vnets.len());
                vnet_destroy(td, &vnet)?;
                assert_eq!(vnet.ifcnt(), 0);
            }
            _ => return Err(Errno::EINVAL),
        }
        self.done[what] += 1;
        Ok(())
    }
}

#[test]
fn every_place_that_is_held_is_given_up() {
    let host = Host::default();
    let kernel = Kernel::boot(host.clone(), Config::default().threads(2)).expect("memory");
    let mut world = World {
        td: kernel.thread().expect("a thread"),
        vnets: Vec::new(),
        owners: Vec::new(),
        random: Random(2026),
        named: 0,
        done: [0; 9],
    };
    for _ in 0..if cfg!(miri) { 30 } else { 6000 } {
        if world.random.below(4) == 0 {
            host.arena().fail_after(world.random.below(12));
        }
        let result = world.step();
        host.arena().fail_never();
        assert_ne!(result, Err(Errno::EBUSY));
        crate::invariants::check(&world.td).expect("the invariants");
    }
    assert!(cfg!(miri) || world.done.iter().all(|done| *done > 20), "{:?}", world.done);
    let World { td, vnets, owners, .. } = world;
    for owner in owners {
        if_detach(&td, &owner);
        if_free(&td, owner);
    }
    for vnet in &vnets {
        vnet_destroy(&td, vnet).expect("the first time");
        assert_eq!(vnet.names.lock().places(), 0);
    }
    drop(vnets);
    kernel.deregister_cloner(&td, "disc").expect("it is there");
    kernel.deregister_cloner(&td, "epair").expect("it is there");
    assert_eq!(kernel.vnet0().names.lock().places(), 0);
    drop(td);
    kernel.shutdown();
    assert_eq!(host.arena().live(), 0);
}

#[test]
#[should_panic = "a test: v1 is destroyed"]
fn a_change_of_a_vnet_that_is_destroyed_is_noticed() {
    let (_, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    let vnet = vnet_alloc(&td).expect("memory");
    vnet.changes(&td, "a test");
    vnet_destroy(&td, &vnet).expect("alive");
    vnet.changes(&td, "a test");
}

#[test]
#[should_panic = "a test: v0 is changed under the lock of v1, which is destroyed"]
fn a_change_under_the_lock_of_a_vnet_that_is_destroyed_is_noticed() {
    let (_, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    let vnet = vnet_alloc(&td).expect("memory");
    drop(vnet_lock(&td, &vnet));
    kernel.vnet0().changes(&td, "a test");
    vnet_destroy(&td, &vnet).expect("alive");
    let _work = vnet_lock(&td, &vnet);
    kernel.vnet0().changes(&td, "a test");
}
