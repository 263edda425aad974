//! Who keeps an interface: counted references, the driver's handle, and the end of both.

use core::fmt;
use core::ops::Deref;
use core::panic::Location;

use super::holders::Held;
use super::{Ifnet, Ifp};
use crate::hazard::Hazard;
use crate::platform::{Mutex, Platform};

/// A counted reference to an interface: `if_ref` … `if_rele`. Dropping it is `if_rele`.
///
/// With the feature `holders` it is entered in the interface under the line that took it ([`if_holders`](super::if_holders)).
pub struct IfnetRef<P: Platform> {
    ifp: Ifp<P>,
    held: Held,
}

impl<P: Platform> IfnetRef<P> {
    /// A handle for a reference that has been counted.
    #[cfg_attr(feature = "holders", track_caller)]
    fn counted(ifp: Ifp<P>) -> Self {
        let held = ifp.holders.enter(Location::caller());
        Self { ifp, held }
    }
}

/// `if_ref`.
///
/// # Panics
/// `<if>: ifp <index> has 0 refs`, as the assertion of FreeBSD, if the interface was already freed.
#[cfg_attr(feature = "holders", track_caller)]
pub fn if_ref<P: Platform>(ifp: &Ifp<P>) -> IfnetRef<P> {
    if !ifp.life.acquire() {
        let platform = ifp.domain.platform();
        platform.panic(format_args!("if_ref: ifp {} has 0 refs", ifp.index()));
    }
    IfnetRef::counted(ifp.clone())
}

/// `if_try_ref`: a reference, unless the last one is already gone.
#[cfg_attr(feature = "holders", track_caller)]
pub fn if_try_ref<P: Platform>(ifp: &Ifp<P>) -> Option<IfnetRef<P>> {
    if_found_ref(ifp.clone())
}

/// [`if_try_ref`] of what a search has found, whose handle the reference takes over.
#[cfg_attr(feature = "holders", track_caller)]
pub(crate) fn if_found_ref<P: Platform>(ifp: Ifp<P>) -> Option<IfnetRef<P>> {
    // No closure: it would be its line that is remembered.
    if ifp.life.try_acquire() { Some(IfnetRef::counted(ifp)) } else { None }
}

/// `if_rele`: the last release frees the interface after a grace period.
pub(crate) fn if_rele<P: Platform>(ifp: &Ifp<P>, held: Held) {
    ifp.holders.strike(held);
    if !ifp.life.release(ifp.domain.platform()) {
        return;
    }
    if ifp.hazard(Hazard::FreeWithoutGrace) {
        if_free_deferred(ifp);
    } else {
        ifp.clone().defer(if_free_deferred);
    }
    // Whoever waits for the end of the interface can bring it about from here on.
    ifp.life.note_deferred();
    ifp.domain.wake_sleepers();
}

/// `if_free_deferred`: the epoch callback that ends the interface. What hangs off it is given back; the memory follows
/// when the last bare pointer is gone.
fn if_free_deferred<P: Platform>(ifp: &Ifnet<P>) {
    let platform = ifp.domain.platform();
    if !ifp.is_dying() {
        platform.panic(format_args!("if_free_deferred: interface not dying"));
    }
    if !ifp.life.free() {
        platform.panic(format_args!("if_free_deferred: interface with index {} freed twice", ifp.index()));
    }
    ifp.set_softc(None);
    ifp.addrs.lock().multicast.clear();
    let cloner = ifp.cloner.lock().take();
    drop(cloner);
    ifp.domain.wake_sleepers();
}

impl<P: Platform> Clone for IfnetRef<P> {
    #[cfg_attr(feature = "holders", track_caller)]
    fn clone(&self) -> Self {
        if_ref(&self.ifp)
    }
}

impl<P: Platform> Drop for IfnetRef<P> {
    fn drop(&mut self) {
        if_rele(&self.ifp, self.held);
    }
}

impl<P: Platform> Deref for IfnetRef<P> {
    type Target = Ifp<P>;
    fn deref(&self) -> &Ifp<P> {
        &self.ifp
    }
}

impl<P: Platform> fmt::Debug for IfnetRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfnetRef({})", self.ifp.index())
    }
}

/// The driver's handle: it stands for the index reference that `if_alloc` gave and `if_free` takes back.
///
/// Dropping it without [`if_free`](crate::lifecycle::if_free) leaves the interface in the index table for ever, as a
/// driver in C that forgets `if_free` would; the leak shows in [`Kernel::interfaces`](crate::Kernel::interfaces).
#[must_use = "an interface that is not given to if_free stays in the index table"]
pub struct IfnetOwner<P: Platform>(pub(crate) Ifp<P>);

impl<P: Platform> Deref for IfnetOwner<P> {
    type Target = Ifp<P>;
    fn deref(&self) -> &Ifp<P> {
        &self.0
    }
}

impl<P: Platform> fmt::Debug for IfnetOwner<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfnetOwner({})", self.0.index())
    }
}
