//! The lower half of `struct thread`: what locks and epochs have to know about the thread that uses them.
//!
//! FreeBSD finds this through `curthread`. A library has no thread-locals, so each thread of control carries a [`Td`]
//! and hands it to every call. There must be exactly one `Td` per thread at a time: it remembers which locks the thread
//! holds and whether it is inside an epoch section, and a second one would know nothing of the first. [`Sx`] notices
//! the mistake when the two meet at one lock.
//!
//! [`Sx`]: super::Sx

use core::cell::{Cell, RefCell};
use core::fmt;
use core::panic::Location;

use super::witness::{LockClass, Witness};
use crate::platform::{Channel, Platform, ThreadId};

/// How many different locks one thread may hold at once. Recursion does not count.
pub(super) const HELD_MAX: usize = 16;

/// One lock that a thread holds.
// Its fields are numbers and references, and none is a struct: what is made of them is stored field by field, where a
// struct inside would be copied by a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Which lock: its address.
    pub(super) lock: Channel,
    /// What it is called.
    pub(super) name: &'static str,
    /// The index of its class, and what that is called.
    pub(super) class: u8,
    pub(super) class_name: &'static str,
    pub(super) exclusive: bool,
    /// How often the thread holds it; at least 1.
    pub(super) depth: u32,
    /// Where it was first acquired.
    pub(super) location: &'static Location<'static>,
}

impl Held {
    /// Held once, since `location`.
    const fn once(
        lock: Channel,
        class: &LockClass,
        name: &'static str,
        exclusive: bool,
        location: &'static Location<'static>,
    ) -> Self {
        Self { lock, name, class: class.index, class_name: class.name, exclusive, depth: 1, location }
    }

    const fn hold(&self) -> Hold {
        Hold { exclusive: self.exclusive, depth: self.depth, location: self.location }
    }
}

/// How a thread holds a lock: what a lock asks of its [`Held`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) exclusive: bool,
    pub(super) depth: u32,
    pub(super) location: &'static Location<'static>,
}

/// A thread of control of the emulated kernel, as locks and epochs see it. Not `Sync`: it belongs to its thread.
pub struct Td<'p, P: Platform> {
    id: ThreadId,
    platform: &'p P,
    witness: Option<&'p Witness>,
    sections: Cell<u32>,
    held: RefCell<heapless::Vec<Held, HELD_MAX>>,
}

impl<'p, P: Platform> Td<'p, P> {
    /// The handle of the thread `id`. The caller gives every thread a number of its own and makes one handle for it.
    pub const fn new(id: ThreadId, platform: &'p P) -> Self {
        Self { id, platform, witness: None, sections: Cell::new(0), held: RefCell::new(heapless::Vec::new()) }
    }

    /// The same with a lock-order witness that watches this thread, if the feature `witness` is on. All threads should
    /// have the same one.
    pub const fn with_witness(id: ThreadId, platform: &'p P, witness: &'p Witness) -> Self {
        let mut td = Self::new(id, platform);
        td.witness = Some(witness);
        td
    }

    /// The number of this thread: `td_tid`.
    #[inline]
    pub const fn id(&self) -> ThreadId {
        self.id
    }

    /// The host that this thread runs on.
    #[inline]
    pub const fn platform(&self) -> &'p P {
        self.platform
    }

    /// The witness that watches this thread's locks. Without the feature there is none, and its code is not linked.
    pub const fn witness(&self) -> Option<&'p Witness> {
        if cfg!(any(feature = "witness", test)) { self.witness } else { None }
    }

    /// Notes that an epoch section was opened: `td_epochnest++`. Returns how many are open now. For the epoch; it
    /// does not protect anything by itself.
    #[inline]
    pub fn section_enter(&self) -> u32 {
        let open = self.sections.get() + 1;
        self.sections.set(open);
        open
    }

    /// Notes that an epoch section was closed: `td_epochnest--`. Returns how many are still open.
    ///
    /// # Panics
    ///
    /// When none is open.
    #[inline]
    pub fn section_exit(&self) -> u32 {
        match self.sections.get().checked_sub(1) {
            Some(open) => {
                self.sections.set(open);
                open
            }
            None => self.panic(format_args!("epoch_exit: no section is open")),
        }
    }

    /// How many epoch sections this thread has open.
    #[inline]
    pub const fn sections(&self) -> u32 {
        self.sections.get()
    }

    /// Whether this thread is inside an epoch section: `in_epoch(9)`.
    #[inline]
    pub const fn in_section(&self) -> bool {
        self.sections.get() > 0
    }

    /// Checks that the thread may sleep here; `what` names the caller.
    ///
    /// # Panics
    ///
    /// * `<what>: sleeping in an epoch section`, the assertion of FreeBSD's `_sleep`: nothing that a section holds back
    ///   could ever be freed while its reader sleeps.
    /// * `<what>: sleeping in an interrupt`: nobody could run beneath it to wake it.
    ///
    /// With debug assertions, ` @ <file:line>` of the caller follows.
    #[inline]
    #[track_caller]
    pub fn assert_can_sleep(&self, what: &str) {
        if self.in_section() {
            self.sleeps_where_it_may_not(what, "an epoch section");
        }
        if self.platform.in_interrupt() {
            self.sleeps_where_it_may_not(what, "an interrupt");
        }
    }

    #[cold]
    #[track_caller]
    fn sleeps_where_it_may_not(&self, what: &str, context: &str) -> ! {
        if cfg!(debug_assertions) {
            self.panic(format_args!("{what}: sleeping in {context} @ {}", Location::caller()))
        }
        self.panic(format_args!("{what}: sleeping in {context}"))
    }

    /// Sleeps on `channel` until `ready` has returned `true`: [`Platform::sleep`] after the check that it is allowed.
    ///
    /// # Panics
    ///
    /// As [`assert_can_sleep`](Self::assert_can_sleep).
    #[track_caller]
    pub fn sleep(&self, what: &str, channel: Channel, ready: &mut dyn FnMut() -> bool) {
        self.assert_can_sleep(what);
        self.platform.sleep(channel, ready);
    }

    /// The emulated kernel panics: [`Platform::panic`].
    #[cold]
    pub fn panic(&self, message: fmt::Arguments<'_>) -> ! {
        self.platform.panic(message)
    }

    /// How many different sleepable locks this thread holds.
    pub fn held_count(&self) -> usize {
        self.held.borrow().len()
    }

    /// Calls `visit` with the name of each sleepable lock that this thread holds, oldest first, and whether it is held
    /// exclusively: the list of `witness_list(9)`.
    pub fn for_each_held(&self, mut visit: impl FnMut(&'static str, bool)) {
        // A copy, so that `visit` may take and release locks.
        let held = self.held.borrow().clone();
        held.iter().for_each(|held| visit(held.name, held.exclusive));
    }

    /// How this thread holds `lock`, if it does.
    pub(super) fn held(&self, lock: Channel) -> Option<Hold> {
        self.held.borrow().iter().find(|held| held.lock == lock).map(Held::hold)
    }

    /// Runs the witness on an acquisition that may block, before it does: `WITNESS_CHECKORDER`.
    pub(super) fn check_order(
        &self,
        lock: Channel,
        class: &LockClass,
        name: &'static str,
        at: &'static Location<'static>,
    ) {
        if let Some(witness) = self.witness()
            && !witness.knows(&self.held.borrow(), class)
        {
            self.learn_order(witness, lock, class, name, at);
        }
    }

    /// The rare half of [`check_order`](Self::check_order), out of the way of stack and time.
    #[cold]
    #[inline(never)]
    fn learn_order(
        &self,
        witness: &Witness,
        lock: Channel,
        class: &LockClass,
        name: &'static str,
        at: &'static Location<'static>,
    ) {
        let wanted = Held::once(lock, class, name, true, at);
        // A copy: the report goes to the host, which may look at this thread again.
        let held = self.held.borrow().clone();
        witness.check(self.platform, self.id, &held, &wanted);
    }

    /// Remembers a lock that was acquired: `WITNESS_LOCK`.
    ///
    /// # Panics
    ///
    /// When the thread holds more than [`HELD_MAX`] different locks.
    // Not inlined: a copy from one known place to another is a `memcpy`; put together with the caller's it is a `memmove`,
    // of which a small kernel has no other use.
    #[inline(never)]
    pub(super) fn push_held(
        &self,
        lock: Channel,
        class: &LockClass,
        name: &'static str,
        exclusive: bool,
        location: &'static Location<'static>,
    ) {
        if self.held.borrow_mut().push(Held::once(lock, class, name, exclusive, location)).is_err() {
            self.panic(format_args!("{name}: thread {} holds more than {HELD_MAX} sx locks", self.id.0));
        }
    }

    /// Acquires `lock`, which this thread holds, once more.
    pub(super) fn recurse(&self, lock: Channel) {
        self.update_held(lock, |held| held.depth += 1);
    }

    /// Changes between shared and exclusive: `WITNESS_UPGRADE`, `WITNESS_DOWNGRADE`.
    pub(super) fn set_exclusive(&self, lock: Channel, exclusive: bool) {
        self.update_held(lock, |held| held.exclusive = exclusive);
    }

    /// Gives `lock` back once; `true` when the thread does not hold it any more: `WITNESS_UNLOCK`.
    pub(super) fn pop_held(&self, lock: Channel) -> bool {
        let mut stack = self.held.borrow_mut();
        // Guards borrow this `Td`, so the lock of a guard is on the stack. Locks are released in any order.
        let Some(position) = stack.iter().rposition(|held| held.lock == lock) else { return false };
        stack[position].depth -= 1;
        let last = stack[position].depth == 0;
        if last {
            for at in position + 1..stack.len() {
                stack[at - 1] = stack[at];
            }
            stack.pop();
        }
        last
    }

    fn update_held(&self, lock: Channel, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.held.borrow_mut().iter_mut().find(|held| held.lock == lock) {
            change(held);
        }
    }
}

impl<P: Platform> fmt::Debug for Td<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, platform: _, witness: _, sections, held } = self;
        f.debug_struct("Td").field("id", id).field("sections", &sections.get()).field("held", held).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::spin::SpinHost;
    use crate::sync::Sx;
    use allocator_api2::alloc::Global;
    use core::num::NonZeroU32;

    extern crate std;
    use std::vec::Vec;

    type Host = SpinHost<Global>;

    fn host() -> Host {
        SpinHost::new(Global)
    }

    fn td(host: &Host) -> Td<'_, Host> {
        Td::new(ThreadId(NonZeroU32::MIN), host)
    }

    #[test]
    fn sections_nest() {
        let host = host();
        let td = td(&host);
        assert!(!td.in_section());
        assert_eq!((td.section_enter(), td.section_enter(), td.sections()), (1, 2, 2));
        assert_eq!(td.section_exit(), 1);
        assert!(td.in_section());
        assert_eq!(td.section_exit(), 0);
        td.assert_can_sleep("epoch_wait");
    }

    #[test]
    #[should_panic(expected = "if_detach: sleeping in an epoch section")]
    fn sleeping_in_a_section() {
        let host = host();
        let td = td(&host);
        td.section_enter();
        td.sleep("if_detach", Channel(1), &mut || true);
    }

    #[test]
    fn the_caller_of_a_sleeper_is_named_with_debug_assertions() {
        /// Keeps what it panics with.
        struct Interrupted(bool);
        impl Platform for Interrupted {
            type Mutex<T: Send> = spin::mutex::SpinMutex<T>;
            type Allocator = Global;
            type Buffer = ();
            fn allocator(&self) -> Global {
                Global
            }
            fn in_interrupt(&self) -> bool {
                self.0
            }
        }
        let refusal = |host: &Interrupted| {
            let td = Td::new(ThreadId(NonZeroU32::MIN), host);
            let caught = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| td.assert_can_sleep("if_detach")));
            *caught.unwrap_err().downcast::<std::string::String>().unwrap()
        };
        let line = line!() - 3;
        let expected = match cfg!(debug_assertions) {
            true => std::format!("if_detach: sleeping in an interrupt @ {}:{line}:", file!()),
            false => "if_detach: sleeping in an interrupt".into(),
        };
        let text = refusal(&Interrupted(true));
        assert!(text.starts_with(&expected), "{text}");
        Td::new(ThreadId(NonZeroU32::MIN), &Interrupted(false)).assert_can_sleep("if_detach");
    }

    #[test]
    #[should_panic(expected = "epoch_exit: no section is open")]
    fn exit_without_enter() {
        td(&host()).section_exit();
    }

    #[test]
    fn held_locks_are_listed_oldest_first() {
        let host = host();
        let td = td(&host);
        let a = Sx::new("a", LockClass::user(0, "a"), false);
        let b = Sx::new("b", LockClass::user(1, "b"), false);
        let first = a.slock(&td);
        let _second = b.xlock(&td);
        let list = || {
            let mut list = Vec::new();
            td.for_each_held(|name, exclusive| list.push((name, exclusive)));
            list
        };
        assert_eq!(list(), [("a", false), ("b", true)]);
        drop(first);
        assert_eq!(list(), [("b", true)]);
        assert_eq!(td.held_count(), 1);
    }

    #[test]
    #[should_panic(expected = "thread 1 holds more than 16 sx locks")]
    fn too_many_locks() {
        let host = host();
        let td = td(&host);
        let locks: Vec<Sx<Host>> = (0..=HELD_MAX).map(|_| Sx::new("many", LockClass::user(0, "many"), false)).collect();
        let _guards: Vec<_> = locks.iter().map(|lock| lock.xlock(&td)).collect();
    }
}
