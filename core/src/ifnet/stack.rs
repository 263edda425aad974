//! What an interface knows of those above and below it, and of the driver that made it a part of a stack.

use core::fmt;

use super::hook::{Hook, HookKind, Hooks};
use super::{Ifnet, IfnetRef, Ifp, SockAddr};
use crate::Errno;
use crate::epoch::{DomainRef, Section};
use crate::mem::{AnyShared, Borrowed, Link, Linked, NoMem, Shared, TailQ};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// The list of what stands above an interface.
pub(crate) enum ByLower {}
/// The list of what stands below an interface.
pub(crate) enum ByUpper {}

/// What an interface has that is a part of a stack: others above or below it, somebody who takes its packets, a driver that
/// wants to hear of its end. Most interfaces have nothing of it, and so it is allocated with its first use. It stays then.
pub(crate) struct Stack<P: Platform> {
    /// What stands above it, written under the detach lock.
    pub(crate) uppers: TailQ<Adjacency<P>, P, ByLower>,
    /// What stands below it, written under the detach lock.
    pub(crate) lowers: TailQ<Adjacency<P>, P, ByUpper>,
    pub(crate) hooks: Hooks<P>,
    rx_handler: P::Mutex<Option<RxHandler<P>>>,
    ops: P::Mutex<Option<&'static StackOps<P>>>,
}

/// One interface above another: on a list of each, with a reference on both.
pub(crate) struct Adjacency<P: Platform> {
    in_lower: Link<Self, P>,
    in_upper: Link<Self, P>,
    ends: P::Mutex<Option<Ends<P>>>,
    /// The upper has the lower as a member: a bridge, an aggregate.
    pub(crate) master: bool,
}

/// The two interfaces of an adjacency that is in force.
pub(crate) struct Ends<P: Platform> {
    pub(crate) lower: IfnetRef<P>,
    pub(crate) upper: IfnetRef<P>,
}

impl<P: Platform> Clone for Ends<P> {
    fn clone(&self) -> Self {
        Self { lower: self.lower.clone(), upper: self.upper.clone() }
    }
}

impl<P: Platform> Adjacency<P> {
    pub(crate) fn alloc(domain: &DomainRef<P>, ends: Ends<P>, master: bool) -> Result<Shared<Self, P>, NoMem> {
        let (in_lower, in_upper) = (Link::new(domain), Link::new(domain));
        Shared::try_new(domain, Self { in_lower, in_upper, ends: P::Mutex::new(Some(ends)), master })
    }

    pub(crate) fn upper(&self) -> Option<Ifp<P>> {
        self.ends.lock().as_ref().map(|ends| Ifp::clone(&ends.upper))
    }

    pub(crate) fn lower(&self) -> Option<Ifp<P>> {
        self.ends.lock().as_ref().map(|ends| Ifp::clone(&ends.lower))
    }

    /// Whether it is in force.
    pub(crate) fn is_listed(&self) -> bool {
        self.in_lower.is_listed()
    }

    /// Gives up both references, outside of the short lock.
    pub(crate) fn end(&self) {
        let ends = self.ends.lock().take();
        drop(ends);
    }
}

impl<P: Platform> Linked<P, ByLower> for Adjacency<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_lower
    }
}

impl<P: Platform> Linked<P, ByUpper> for Adjacency<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_upper
    }
}

/// Takes packets that come in through an interface before its own `if_input` does.
pub type RxInput<P> = fn(&Thread<'_, P>, &Ifnet<P>, &AnyShared<P>, <P as Platform>::Buffer);

/// `rx_handler`: whoever takes what comes in through an interface. An interface has at most one, so that kinds of uppers
/// exclude each other.
pub struct RxHandler<P: Platform> {
    /// The kind that holds the slot, such as `ipvlan`.
    pub kind: &'static str,
    /// The data of that kind for this interface: its port.
    pub data: AnyShared<P>,
    /// Takes a packet.
    pub input: RxInput<P>,
}

impl<P: Platform> Clone for RxHandler<P> {
    fn clone(&self) -> Self {
        Self { kind: self.kind, data: self.data.clone(), input: self.input }
    }
}

impl<P: Platform> fmt::Debug for RxHandler<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RxHandler({})", self.kind)
    }
}

/// Puts an address on an interface, for [`StackOps::address`] to call at the right moment.
pub(crate) type Admit<'a> = &'a mut dyn FnMut() -> Result<(), Errno>;

/// Decides over an address.
pub(crate) type AdmitAddress<P> = fn(&Thread<'_, P>, &Ifp<P>, &SockAddr, Admit<'_>) -> Result<(), Errno>;

/// What the driver of a stacked or paired interface adds to [`IfOps`](super::IfOps).
pub(crate) struct StackOps<P: Platform> {
    /// `ndo_uninit`: the interface has departed and is about to be freed.
    pub(crate) uninit: fn(&Thread<'_, P>, &Ifp<P>),
    /// The interface is to get an address: refuses one that a sibling has, or calls the function.
    pub(crate) address: Option<AdmitAddress<P>>,
}

impl<P: Platform> Ifnet<P> {
    /// What it has as a part of a stack.
    pub(crate) fn stack(&self) -> Option<&Stack<P>> {
        self.stack.get()
    }

    /// The same, made if it is not there.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn make_stack(&self) -> Result<&Stack<P>, NoMem> {
        self.stack.get_or_try_init(&self.domain, || Stack {
            uppers: TailQ::new(&self.domain),
            lowers: TailQ::new(&self.domain),
            hooks: Hooks::new(),
            rx_handler: P::Mutex::new(None),
            ops: P::Mutex::new(None),
        })
    }

    /// What stands above it, masters first.
    pub(crate) fn uppers<'g>(
        &'g self,
        section: &'g Section<'g, P>,
    ) -> impl Iterator<Item = Borrowed<'g, Adjacency<P>, P>> {
        self.stack().into_iter().flat_map(|stack| stack.uppers.iter(section))
    }

    /// What stands below it, in the order of joining.
    pub(crate) fn lowers<'g>(
        &'g self,
        section: &'g Section<'g, P>,
    ) -> impl Iterator<Item = Borrowed<'g, Adjacency<P>, P>> {
        self.stack().into_iter().flat_map(|stack| stack.lowers.iter(section))
    }

    /// Whether anything stands above it.
    pub(crate) fn has_uppers(&self) -> bool {
        self.stack().is_some_and(|stack| !stack.uppers.is_empty())
    }

    /// Whether there is a hook of this kind. Stable under the detach lock.
    pub(crate) fn has_hook(&self, kind: HookKind) -> bool {
        self.stack().is_some_and(|stack| stack.hooks.has(kind))
    }

    /// The hook of this kind.
    pub(crate) fn hook(&self, kind: HookKind) -> Option<Hook<P>> {
        self.stack()?.hooks.get(kind)
    }

    /// Sets or clears a hook of an interface that an adjacency was prepared for. Under the detach lock.
    pub(crate) fn set_hook(&self, kind: HookKind, hook: Option<Hook<P>>) {
        match self.stack() {
            Some(stack) => stack.hooks.set(kind, hook),
            None => debug_assert!(hook.is_none(), "a hook belongs to an adjacency"),
        }
    }

    /// What its driver adds to [`ops`](Self::ops).
    pub(crate) fn stack_ops(&self) -> Option<&'static StackOps<P>> {
        *self.stack()?.ops.lock()
    }

    /// Gives the interface these functions, before attach.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn set_stack_ops(&self, ops: &'static StackOps<P>) -> Result<(), NoMem> {
        *self.make_stack()?.ops.lock() = Some(ops);
        Ok(())
    }

    /// Whether somebody takes what comes in through the interface: its master, or whoever has the slot of the
    /// `rx_handler`. There can be one of them. Stable under the detach lock.
    pub(crate) fn is_received(&self, td: &Thread<'_, P>) -> bool {
        let section = td.net_epoch_enter();
        let Some(stack) = self.stack() else { return false };
        stack.rx_handler.lock().is_some() || stack.uppers.first(&section).is_some_and(|link| link.master)
    }

    /// `netdev_rx_handler_register`.
    ///
    /// # Locks
    /// Takes the detach lock.
    ///
    /// # Errors
    /// `EBUSY` if the slot is taken, by whatever kind, or the interface is a member of a bridge or an aggregate; `ENOMEM`.
    pub fn rx_handler_register(&self, td: &Thread<'_, P>, handler: RxHandler<P>) -> Result<(), Errno> {
        self.touch();
        let _detach = td.kernel().detach_sx.xlock(td);
        if self.is_received(td) {
            return Err(Errno::EBUSY);
        }
        *self.make_stack()?.rx_handler.lock() = Some(handler);
        Ok(())
    }

    /// Puts a handler into the slot without a look at what is there.
    #[cfg(all(test, not(ifnet_loom)))]
    pub(crate) fn rx_handler_force(&self, handler: RxHandler<P>) {
        *self.make_stack().expect("memory").rx_handler.lock() = Some(handler);
    }

    /// `netdev_rx_handler_unregister`: empties the slot.
    pub fn rx_handler_unregister(&self) {
        self.touch();
        let handler = self.stack().and_then(|stack| stack.rx_handler.lock().take());
        drop(handler);
    }

    /// Who takes what comes in through the interface.
    pub fn rx_handler(&self) -> Option<RxHandler<P>> {
        self.stack()?.rx_handler.lock().clone()
    }
}
