//! `sx(9)`: a lock that is held shared or exclusively, and that a thread may hold while it sleeps.
//!
//! A [`Sx`] is a small record of who holds and who waits, behind one of the host's short locks; waiting is
//! [`Platform::sleep`]. There is no fast path around the short lock: these locks guard the life cycle, not packets, and
//! one lock that a reader can check by hand is worth more than a second saved atomic operation. As in FreeBSD an sx
//! contains no data; the data say in their documentation which lock protects them, and functions assert it
//! ([`Sx::assert_held`]).
//!
//! # Recursion
//!
//! What a thread already holds is noted in its [`Td`], so recursion, of either kind, touches nothing shared and cannot
//! wait. Exclusive recursion needs the lock to be made recursive (`SX_RECURSE`). Shared recursion is always allowed;
//! FreeBSD does not track it and may dead-lock there when a writer waits in between, this does not.
//!
//! Taking a lock in the other way than the thread already holds it can never succeed. FreeBSD leaves that to
//! `witness(4)`; here it is always checked.
//!
//! # Fairness
//!
//! FreeBSD's sx is not fair, and one waiter among eleven was seen to starve. This one lets everybody through:
//!
//! * Writers are served in the order of arrival (tickets).
//! * While a writer waits, new readers wait too, so readers cannot starve it.
//! * When a writer leaves, all readers that wait at that moment go before the next writer (a *phase*), so writers
//!   cannot starve readers either. Readers that come later belong to the next phase.
//!
//! `try_xlock` and `try_upgrade` take what is free at that moment and may overtake waiters, as in FreeBSD.
//!
//! # Waiting without lost wakeups
//!
//! A waiter enters itself in the record before it goes to sleep, and takes the lock inside the condition that it sleeps
//! on. Whoever makes a condition true sees the entry under the short lock, and calls [`Platform::wakeup`] after
//! releasing it. So no wakeup is called for nobody, and none is missed.

mod state;

use core::fmt;
use core::panic::Location;

use self::state::State;
use super::td::{Hold, Td};
use super::witness::LockClass;
use crate::platform::{Channel, LockEvent, Mutex, Platform, ThreadId};

bitflags::bitflags! {
    /// What [`Sx::assert_held`] is to assert: `SA_LOCKED` and so on. `RECURSED` and `NOTRECURSED` go with the first
    /// three.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SxAssert: u8 {
        /// The thread holds the lock, in either way.
        const LOCKED = 0x01;
        /// The thread holds the lock shared.
        const SLOCKED = 0x02;
        /// The thread holds the lock exclusively.
        const XLOCKED = 0x04;
        /// The thread does not hold the lock.
        const UNLOCKED = 0x08;
        /// The thread holds the lock more than once.
        const RECURSED = 0x10;
        /// The thread holds the lock just once.
        const NOTRECURSED = 0x20;
    }
}

/// A shared/exclusive sleepable lock: `struct sx`.
///
/// Recursion, by the thread that holds it: exclusive if the lock was made so, shared always; it never waits. Fairness:
/// writers in the order of arrival; new readers wait behind a waiting writer; readers that wait when a writer leaves go
/// before the next writer. Nobody starves, except by `try_xlock` and `try_upgrade`, which take what is free.
pub struct Sx<P: Platform> {
    name: &'static str,
    class: LockClass,
    recursive: bool,
    state: P::Mutex<State>,
}

impl<P: Platform> Sx<P> {
    /// A free lock: `sx_init_flags`. `recursive` is `SX_RECURSE`.
    pub fn new(name: &'static str, class: LockClass, recursive: bool) -> Self {
        Self { name, class, recursive, state: P::Mutex::new(State::default()) }
    }

    /// The name that reports and panics show.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The class that the witness knows the lock by.
    pub const fn class(&self) -> LockClass {
        self.class
    }

    /// Holds the lock exclusively, sleeping until it can be had: `sx_xlock`.
    ///
    /// # Panics
    ///
    /// * `_sx_xlock_hard: recursed on non-recursive sx <name> @ <file:line>`
    /// * `exclusive lock of (sx) <name> @ <file:line> while share locked from <file:line>`
    /// * `<name>: sleeping in an epoch section`
    #[track_caller]
    pub fn xlock<'s, 't>(&'s self, td: &'t Td<'_, P>) -> XGuard<'s, 't, P> {
        let at = Location::caller();
        td.assert_can_sleep(self.name);
        let lock = self.channel();
        match td.held(lock) {
            Some(Hold { exclusive: true, .. }) if self.recursive => {
                td.recurse(lock);
                return XGuard { sx: self, td };
            }
            Some(Hold { exclusive: true, .. }) => {
                td.panic(format_args!("_sx_xlock_hard: recursed on non-recursive sx {} @ {at}", self.name))
            }
            Some(held) => td.panic(format_args!(
                "exclusive lock of (sx) {} @ {at} while share locked from {}",
                self.name, held.location
            )),
            None => {}
        }
        td.check_order(lock, &self.class, self.name, at);

        let ticket = {
            let mut state = self.state.lock();
            // Whoever waits was here first; passes are held by readers that wait.
            if state.is_free() && !state.writers_wait() && state.passes == 0 {
                state.owner = Some(td.id());
                None
            } else {
                let ticket = state.next_ticket;
                state.next_ticket = ticket.wrapping_add(1);
                Some((ticket, state.owner))
            }
        };
        if let Some((ticket, owner)) = ticket {
            self.assert_one_td(td, owner);
            td.platform().lock_event(td.id(), self.name, LockEvent::Waiting);
            td.platform().sleep(lock, &mut || {
                let mut state = self.state.lock();
                let mine = state.is_free() && state.passes == 0 && state.serving == ticket;
                if mine {
                    state.serving = ticket.wrapping_add(1);
                    state.owner = Some(td.id());
                }
                mine
            });
        }
        self.acquired(td, true, at);
        XGuard { sx: self, td }
    }

    /// Holds the lock shared, sleeping until it can be had: `sx_slock`.
    ///
    /// # Panics
    ///
    /// * `shared lock of (sx) <name> @ <file:line> while exclusively locked from <file:line>`
    /// * `<name>: sleeping in an epoch section`
    #[track_caller]
    pub fn slock<'s, 't>(&'s self, td: &'t Td<'_, P>) -> SGuard<'s, 't, P> {
        let at = Location::caller();
        td.assert_can_sleep(self.name);
        let lock = self.channel();
        match td.held(lock) {
            Some(Hold { exclusive: false, .. }) => {
                td.recurse(lock);
                return SGuard { sx: self, td };
            }
            Some(held) => td.panic(format_args!(
                "shared lock of (sx) {} @ {at} while exclusively locked from {}",
                self.name, held.location
            )),
            None => {}
        }
        td.check_order(lock, &self.class, self.name, at);

        let wait = {
            let mut state = self.state.lock();
            if state.owner.is_none() && !state.writers_wait() {
                state.sharers += 1;
                None
            } else {
                state.readers_waiting += 1;
                Some((state.phase, state.owner))
            }
        };
        if let Some((phase, owner)) = wait {
            self.assert_one_td(td, owner);
            td.platform().lock_event(td.id(), self.name, LockEvent::Waiting);
            td.platform().sleep(lock, &mut || {
                let mut state = self.state.lock();
                let has_pass = state.phase != phase;
                let mine = state.owner.is_none() && (has_pass || !state.writers_wait());
                if mine {
                    state.readers_waiting -= 1;
                    // INVARIANT: a reader of an earlier phase was counted in `passes` when that phase ended.
                    state.passes -= u32::from(has_pass);
                    state.sharers += 1;
                }
                mine
            });
        }
        self.acquired(td, false, at);
        SGuard { sx: self, td }
    }

    /// Holds the lock exclusively if that is possible without waiting: `sx_try_xlock`. May be called where sleeping is
    /// forbidden, and is not subject to the lock order.
    #[track_caller]
    pub fn try_xlock<'s, 't>(&'s self, td: &'t Td<'_, P>) -> Option<XGuard<'s, 't, P>> {
        let lock = self.channel();
        if let Some(held) = td.held(lock) {
            if !(held.exclusive && self.recursive) {
                return None;
            }
            td.recurse(lock);
            return Some(XGuard { sx: self, td });
        }
        {
            let mut state = self.state.lock();
            if !state.is_free() {
                return None;
            }
            state.owner = Some(td.id());
        }
        self.acquired(td, true, Location::caller());
        Some(XGuard { sx: self, td })
    }

    /// Holds the lock shared if that is possible without waiting: `sx_try_slock`. It fails while a writer waits. May be
    /// called where sleeping is forbidden, and is not subject to the lock order.
    #[track_caller]
    pub fn try_slock<'s, 't>(&'s self, td: &'t Td<'_, P>) -> Option<SGuard<'s, 't, P>> {
        let lock = self.channel();
        if let Some(held) = td.held(lock) {
            if held.exclusive {
                return None;
            }
            td.recurse(lock);
            return Some(SGuard { sx: self, td });
        }
        {
            let mut state = self.state.lock();
            if state.owner.is_some() || state.writers_wait() {
                return None;
            }
            state.sharers += 1;
        }
        self.acquired(td, false, Location::caller());
        Some(SGuard { sx: self, td })
    }

    /// The thread that holds the lock exclusively, if one does. Unless it is the caller, the answer may be out of date
    /// when it arrives.
    pub fn owner(&self) -> Option<ThreadId> {
        self.state.lock().owner
    }

    /// Whether `td` holds the lock exclusively: `sx_xlocked`. Only that thread can ask, and only it can change the
    /// answer.
    pub fn is_xlocked_by(&self, td: &Td<'_, P>) -> bool {
        td.held(self.channel()).is_some_and(|held| held.exclusive)
    }

    /// Asserts that this thread holds the lock as `what` says: `sx_assert`. Always compiled in.
    ///
    /// # Panics
    ///
    /// * `Lock <name> not locked @ <file:line>`, `Lock <name> not share locked @ …`,
    ///   `Lock <name> not exclusively locked @ …`
    /// * `Lock <name> recursed @ …`, `Lock <name> not recursed @ …`
    /// * for `UNLOCKED`: `Lock <name> exclusively locked @ …`, `Lock <name> share locked @ …`
    /// * `Unknown sx lock assertion: <number> @ …`
    #[track_caller]
    pub fn assert_held(&self, td: &Td<'_, P>, what: SxAssert) {
        let at = Location::caller();
        let name = self.name;
        let held = td.held(self.channel());
        let recursion = what & (SxAssert::RECURSED | SxAssert::NOTRECURSED);
        let kind = what - recursion;
        let wrong = if kind == SxAssert::LOCKED {
            held.is_none().then_some("not locked")
        } else if kind == SxAssert::SLOCKED {
            held.is_none_or(|held| held.exclusive).then_some("not share locked")
        } else if kind == SxAssert::XLOCKED {
            held.is_none_or(|held| !held.exclusive).then_some("not exclusively locked")
        } else if what == SxAssert::UNLOCKED {
            held.map(|held| if held.exclusive { "exclusively locked" } else { "share locked" })
        } else {
            td.panic(format_args!("Unknown sx lock assertion: {:#x} @ {at}", what.bits()))
        };
        let depth = held.map_or(0, |held| held.depth);
        let wrong = wrong.or_else(|| match recursion {
            r if r == SxAssert::RECURSED && depth < 2 => Some("not recursed"),
            r if r == SxAssert::NOTRECURSED && depth > 1 => Some("recursed"),
            _ => None,
        });
        if let Some(wrong) = wrong {
            td.panic(format_args!("Lock {name} {wrong} @ {at}"));
        }
    }

    fn channel(&self) -> Channel {
        Channel::of(self)
    }

    /// Two handles of one thread would wait for each other for ever.
    fn assert_one_td(&self, td: &Td<'_, P>, owner: Option<ThreadId>) {
        if owner == Some(td.id()) {
            td.panic(format_args!("{}: thread {} has two Tds, the other one owns the lock", self.name, td.id().0));
        }
    }

    fn acquired(&self, td: &Td<'_, P>, exclusive: bool, location: &'static Location<'static>) {
        td.push_held(self.channel(), &self.class, self.name, exclusive, location);
        td.platform().lock_event(td.id(), self.name, LockEvent::Acquired { exclusive });
    }

    fn xunlock(&self, td: &Td<'_, P>) {
        if td.pop_held(self.channel()) {
            td.platform().lock_event(td.id(), self.name, LockEvent::Released);
            self.change(td, State::end_phase);
        }
    }

    fn sunlock(&self, td: &Td<'_, P>) {
        if td.pop_held(self.channel()) {
            td.platform().lock_event(td.id(), self.name, LockEvent::Released);
            self.change(td, |state| state.sharers -= 1);
        }
    }

    /// Changes the record so that somebody may be able to go on, and wakes the waiters if there are any.
    fn change(&self, td: &Td<'_, P>, change: impl FnOnce(&mut State)) {
        let wake = {
            let mut state = self.state.lock();
            change(&mut state);
            // Nobody waits for the number of sharers to fall to anything but 0.
            state.somebody_waits() && (state.sharers == 0 || state.passes > 0)
        };
        if wake {
            td.platform().wakeup(self.channel());
        }
    }
}

impl<P: Platform> fmt::Debug for Sx<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sx").field("name", &self.name).field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

/// The lock is held exclusively; dropping this is `sx_xunlock`. With recursion, the lock is released with the last one.
#[must_use = "the lock is released at once"]
pub struct XGuard<'s, 't, P: Platform> {
    sx: &'s Sx<P>,
    td: &'t Td<'t, P>,
}

impl<'s, 't, P: Platform> XGuard<'s, 't, P> {
    /// The lock.
    pub const fn sx(&self) -> &'s Sx<P> {
        self.sx
    }

    /// The thread that holds it.
    pub const fn td(&self) -> &'t Td<'t, P> {
        self.td
    }

    /// Keeps the lock shared, without releasing it in between: `sx_downgrade`. It never waits.
    ///
    /// # Panics
    ///
    /// `downgrade of a recursed lock (sx) <name> @ <file:line>`, because the outer acquisition believes to be exclusive.
    #[track_caller]
    pub fn downgrade(self) -> SGuard<'s, 't, P> {
        let Self { sx, td } = self;
        let lock = sx.channel();
        if td.held(lock).is_some_and(|held| held.depth > 1) {
            td.panic(format_args!("downgrade of a recursed lock (sx) {} @ {}", sx.name, Location::caller()));
        }
        core::mem::forget(self);
        td.platform().lock_event(td.id(), sx.name, LockEvent::Acquired { exclusive: false });
        td.set_exclusive(lock, false);
        sx.change(td, |state| {
            state.end_phase();
            state.sharers = 1;
        });
        SGuard { sx, td }
    }
}

impl<P: Platform> Drop for XGuard<'_, '_, P> {
    fn drop(&mut self) {
        self.sx.xunlock(self.td);
    }
}

impl<P: Platform> fmt::Debug for XGuard<'_, '_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("XGuard").field(&self.sx.name).finish()
    }
}

/// The lock is held shared; dropping this is `sx_sunlock`.
#[must_use = "the lock is released at once"]
pub struct SGuard<'s, 't, P: Platform> {
    sx: &'s Sx<P>,
    td: &'t Td<'t, P>,
}

impl<'s, 't, P: Platform> SGuard<'s, 't, P> {
    /// The lock.
    pub const fn sx(&self) -> &'s Sx<P> {
        self.sx
    }

    /// The thread that holds it.
    pub const fn td(&self) -> &'t Td<'t, P> {
        self.td
    }

    /// Makes the lock exclusive if this is the only acquisition of it: `sx_try_upgrade`. It does not wait, not even for
    /// the waiting writers whom it overtakes: they cannot have the lock before this thread lets go of it anyway.
    ///
    /// # Errors
    ///
    /// The guard itself, when another thread holds the lock too or this one holds it more than once. To wait for the
    /// others while holding the lock would dead-lock when two threads do it.
    pub fn try_upgrade(self) -> Result<XGuard<'s, 't, P>, Self> {
        let Self { sx, td } = self;
        let lock = sx.channel();
        let alone = td.held(lock).is_some_and(|held| held.depth == 1) && {
            let mut state = sx.state.lock();
            let alone = state.sharers == 1;
            if alone {
                state.sharers = 0;
                state.owner = Some(td.id());
            }
            alone
        };
        if !alone {
            return Err(self);
        }
        core::mem::forget(self);
        td.set_exclusive(lock, true);
        td.platform().lock_event(td.id(), sx.name, LockEvent::Acquired { exclusive: true });
        Ok(XGuard { sx, td })
    }
}

impl<P: Platform> Drop for SGuard<'_, '_, P> {
    fn drop(&mut self) {
        self.sx.sunlock(self.td);
    }
}

impl<P: Platform> fmt::Debug for SGuard<'_, '_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SGuard").field(&self.sx.name).finish()
    }
}

#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
