//! Who keeps an interface: counted references, the driver's handle, and the end of both.

use core::fmt;
use core::ops::Deref;

use super::{Ifnet, Ifp};
use crate::hazard::Hazard;
use crate::platform::{Mutex, Platform};

/// A counted reference to an interface: `if_ref` … `if_rele`. Dropping it is `if_rele`.
pub struct IfnetRef<P: Platform>(Ifp<P>);

/// `if_ref`.
///
/// # Panics
/// `<if>: ifp <index> has 0 refs`, as the assertion of FreeBSD, if the interface was already freed.
pub fn if_ref<P: Platform>(ifp: &Ifp<P>) -> IfnetRef<P> {
    if !ifp.life.acquire() {
        let platform = ifp.domain.platform();
        platform.panic(format_args!("if_ref: ifp {} has 0 refs", ifp.index()));
    }
    IfnetRef(ifp.clone())
}

/// `if_try_ref`: a reference, unless the last one is already gone.
pub fn if_try_ref<P: Platform>(ifp: &Ifp<P>) -> Option<IfnetRef<P>> {
    ifp.life.try_acquire().then(|| IfnetRef(ifp.clone()))
}

/// `if_rele`: the last release frees the interface after a grace period.
pub(crate) fn if_rele<P: Platform>(ifp: &Ifp<P>) {
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
    ifp.multiaddrs.lock().clear();
    let cloner = ifp.cloner.lock().take();
    drop(cloner);
    ifp.domain.wake_sleepers();
}

impl<P: Platform> Clone for IfnetRef<P> {
    fn clone(&self) -> Self {
        if_ref(&self.0)
    }
}

impl<P: Platform> Drop for IfnetRef<P> {
    fn drop(&mut self) {
        if_rele(&self.0);
    }
}

impl<P: Platform> Deref for IfnetRef<P> {
    type Target = Ifp<P>;
    fn deref(&self) -> &Ifp<P> {
        &self.0
    }
}

impl<P: Platform> fmt::Debug for IfnetRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfnetRef({})", self.0.index())
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
