//! A test bed for authors of drivers and stacks: an emulated kernel in a unit test.
//!
//! ```
//! use ifnet::if_vmove_to;
//! use ifnet_std::testbed::TestBed;
//!
//! let bed = TestBed::new();
//! let (red, em0) = (bed.vnet("red"), bed.ifnet("em0"));
//! bed.thread(|td| if_vmove_to(td, &em0, &red)).unwrap();
//! assert_eq!(bed.sh("jexec red ifconfig -l").unwrap(), "lo0 em0");
//! ```
//!
//! When the bed is dropped it takes everything down and panics if an invariant does not hold, an interface is left that
//! nobody freed, or memory was not given back. A panic of the emulated kernel is a panic of the test, with FreeBSD's
//! text:
//!
//! ```should_panic
//! # use ifnet_std::testbed::TestBed;
//! TestBed::new().sh("kpi if_alloc em0; kpi if_detach em0").unwrap(); // em0: interface is not on the active list
//! ```
//!
//! What races is raced with [`TestBed::race`], on threads of the operating system. To have all interleavings tried, write
//! a scenario and let the explorer run it.

use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use ifnet::hazard::HazardSet;
use ifnet::platform::Mutex as _;
use ifnet::{Config, Ifp, Kernel, Platform as _, TaskMode, Thread, VnetRef};

use crate::alloc::CountingAlloc;
use crate::host::threads::KernelPanic;
use crate::runner::interp::{Interp, Stop};
use crate::runner::threads::Threads;
use crate::runner::world::World;
use crate::runner::{Host as _, MAX_THREADS, finish};
use crate::scenario::{Diagnostics, Source, parse};

/// An emulated kernel for one test. See the [module](self).
pub struct TestBed {
    /// `None` only while it is dropped.
    world: Option<Arc<World<Threads>>>,
    memory: CountingAlloc,
}

/// What a thread of [`TestBed::race`] does.
pub type Body<'a> = &'a (dyn Fn(&Thread<'_, Threads>) + Sync);

impl TestBed {
    /// A booted kernel. Tasks run before the call that queued them returns.
    ///
    /// # Panics
    /// Without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::with_hazards(HazardSet::empty())
    }

    /// A booted kernel with historical bugs open, to see that a test finds them.
    ///
    /// # Panics
    /// Without memory.
    #[must_use]
    pub fn with_hazards(hazards: HazardSet) -> Self {
        let host = Threads::new();
        let memory = host.allocator();
        let config = Config::default().threads(MAX_THREADS).tasks(TaskMode::Immediate).hazards(hazards);
        let kernel = Kernel::boot(host, config).unwrap_or_else(|errno| panic!("boot: {errno}"));
        Self { world: Some(Arc::new(World::new(kernel))), memory }
    }

    fn world(&self) -> &Arc<World<Threads>> {
        self.world.as_ref().expect("present until the drop")
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel<Threads> {
        &self.world().kernel
    }

    /// The memory of the kernel: to count what is live, or to make an allocation fail.
    #[must_use]
    pub const fn memory(&self) -> &CountingAlloc {
        &self.memory
    }

    /// Runs `body` in a thread of the kernel, in the default vnet.
    ///
    /// # Panics
    /// When the emulated kernel does, with its text. From within a `body`: a thread is one thread at a time.
    pub fn thread<R>(&self, body: impl FnOnce(&Thread<'_, Threads>) -> R) -> R {
        let td = self.kernel().thread().unwrap_or_else(|errno| panic!("thread: {errno}"));
        let run = || self.world().host().enter(td.id(), || body(&td));
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| match payload.downcast::<KernelPanic>() {
            Ok(panic) => panic!("{panic}"),
            Err(payload) => resume_unwind(payload),
        })
    }

    /// Runs all bodies at the same time, each in a thread of its own, and returns when all have ended.
    ///
    /// # Panics
    /// When one of them does.
    pub fn race(&self, bodies: &[Body<'_>]) {
        thread::scope(|scope| {
            for body in bodies {
                scope.spawn(move || self.thread(|td| body(td)));
            }
        });
    }

    /// A new vnet, by the name of its jail.
    ///
    /// # Panics
    /// If there is one of that name, or without memory.
    #[must_use]
    pub fn vnet(&self, name: &str) -> VnetRef<Threads> {
        let made = self.shell(Source::new("vnet", ""), |shell| shell.jail_make(name));
        made.unwrap_or_else(|errno| panic!("vnet {name}: {errno}"))
    }

    /// An Ethernet interface of a hardware driver in the default vnet. The bed is its driver, and detaches it at the end;
    /// `sh("devctl detach em0")` does it earlier.
    ///
    /// # Panics
    /// If there is such a device, or without memory.
    #[must_use]
    pub fn ifnet(&self, name: &str) -> Ifp<Threads> {
        let attached = self.shell(Source::new("ifnet", ""), |shell| shell.devctl_attach(name));
        attached.unwrap_or_else(|errno| panic!("ifnet {name}: {errno}"));
        let tables = self.world().tables.lock();
        let owner = tables.devices.get(name).and_then(Option::as_ref);
        (**owner.unwrap_or_else(|| panic!("ifnet {name}: detached at once"))).clone()
    }

    /// Runs lines of the scenario language, and returns what they printed, without the last newline.
    ///
    /// # Errors
    /// A line that cannot be run, or the first expectation that was not met.
    ///
    /// # Panics
    /// As [`thread`](Self::thread).
    pub fn sh(&self, text: &str) -> Result<String, Diagnostics> {
        let source = Source::new("sh", text);
        let script = parse(&source)?;
        let (done, output) = self.shell(source, |shell| shell.capture(|shell| shell.script(&script.stmts)));
        match done {
            Ok(()) => Ok(output.trim_end_matches('\n').to_owned()),
            Err(Stop::Expectation { diagnostics, .. } | Stop::Syntax(diagnostics)) => Err(diagnostics),
        }
    }

    fn shell<R>(&self, source: Source, body: impl FnOnce(&mut Interp<'_, '_, Threads>) -> R) -> R {
        self.thread(|td| body(&mut Interp::new(self.world(), td, "test", Arc::new(source))))
    }
}

impl Default for TestBed {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for TestBed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TestBed").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        // After a panic nothing can be said; the kernel may hold locks for ever.
        if thread::panicking() || self.world().host().is_halted() {
            core::mem::forget(self.world.take());
            return;
        }
        self.thread(|td| {
            finish::take_down(self.world(), td);
            finish::check(self.world(), td);
        });
        let Some(world) = self.world.take() else { return };
        if let Err(failure) = finish::shut_down(world, &self.memory) {
            panic!("{failure}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};
    use ifnet::hazard::Hazard;
    use ifnet::{IfType, if_alloc, if_ref, if_vmove_loan};

    #[test]
    fn an_interface_moves_and_comes_back_with_its_jail() {
        let bed = TestBed::new();
        let (red, em0) = (bed.vnet("red"), bed.ifnet("em0"));
        bed.thread(|td| if_vmove_loan(td, "em0", &red).map(drop)).unwrap();
        assert_eq!(bed.thread(|td| em0.if_vnet(td).id()), 1);
        assert_eq!(bed.sh("jail -r red; ifconfig -l").unwrap(), "lo0 em0");
    }

    #[test]
    fn of_two_moves_that_race_one_wins() {
        let bed = TestBed::new();
        let (red, blue) = (bed.vnet("red"), bed.vnet("blue"));
        drop(bed.ifnet("em0"));
        let moved = AtomicU32::new(0);
        let to = |td: &Thread<'_, Threads>, vnet| {
            if if_vmove_loan(td, "em0", vnet).is_ok() {
                moved.fetch_add(1, Ordering::Relaxed);
            }
        };
        bed.race(&[&|td| to(td, &red), &|td| to(td, &blue)]);
        assert_eq!(moved.into_inner(), 1);
        assert_eq!(bed.sh("ifconfig -l").unwrap(), "lo0");
    }

    #[test]
    #[should_panic(expected = "left behind: 2 interfaces in place of lo0 alone")]
    fn a_driver_that_forgets_if_free_is_told() {
        let bed = TestBed::new();
        bed.thread(|td| drop(if_alloc(td, IfType::Other)));
    }

    #[test]
    fn a_reference_that_is_forgotten_is_named_by_its_line() {
        let bed = TestBed::new();
        let em0 = bed.ifnet("em0");
        let line = line!() + 1;
        core::mem::forget(if_ref(&em0));
        drop(em0);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(bed))).expect_err("a leak");
        let text = dropped.downcast_ref::<String>().expect("a text");
        assert!(text.contains(&format!("references of em0: {}:{line} x1", file!())), "{text}");
    }

    #[test]
    #[should_panic(expected = "panic: tst0: interface is not on the active list")]
    fn a_panic_of_the_kernel_is_one_of_the_test() {
        let bed = TestBed::new();
        drop(bed.sh("kpi if_alloc tst0; kpi if_detach tst0"));
    }

    #[test]
    fn errors_point_into_the_text() {
        let bed = TestBed::new();
        assert_eq!(bed.sh("ifconfig x0 up").unwrap_err().to_string(), "sh:1:1: expected success, got ENXIO");
        assert_eq!(
            bed.sh("ifconfg").unwrap_err().to_string(),
            "sh:1:1: unknown command `ifconfg`; did you mean `ifconfig`?"
        );
    }

    #[test]
    #[should_panic(expected = "invariant broken: I4")]
    fn an_open_hazard_breaks_an_invariant() {
        let bed = TestBed::with_hazards(Hazard::IndexReallocOnMove.set());
        // A lower index is free when the interface moves.
        bed.sh("jail -c name=red vnet persist; kpi if_alloc low; devctl attach em0; kpi if_free low").unwrap();
        bed.sh("ifconfig em0 vnet red").unwrap();
    }
}
