//! A cloned interface that is one interface and no more: what loopback and disc have in common; and what every cloned
//! Ethernet interface begins with.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, Cloner};
use crate::ifnet::{IfFlags, IfOps, IfType, IfnetOwner, Ifp};
use crate::lifecycle::{
    alloc::set_names, ether_ifattach, ether_ifdetach, if_alloc_indexed, if_attach, if_detach, if_free,
};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// What makes one kind differ from another.
pub(super) struct Kind<P: Platform> {
    pub(super) if_type: IfType,
    pub(super) flags: IfFlags,
    /// In bytes.
    pub(super) mtu: u32,
    pub(super) ops: &'static IfOps<P>,
}

/// `if_softc`: the driver owns its interface.
struct Softc<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
}

/// Makes and attaches an interface of this kind.
pub(super) fn create<P: Platform>(
    td: &Thread<'_, P>,
    request: &CloneRequest<'_, P>,
    kind: &Kind<P>,
) -> Result<Ifp<P>, Errno> {
    let softc: Shared<Softc<P>, P> = Shared::try_new(td.domain(), Softc { owner: P::Mutex::new(None) })?;
    let owner = if_alloc_indexed(td, kind.if_type, request.params.index)?;
    let ifp: Ifp<P> = owner.clone();
    let made = set_names(&ifp, request.name, request.cloner.name(), request.unit).and_then(|()| {
        ifp.init_flags(kind.flags);
        ifp.set_mtu(kind.mtu);
        ifp.set_ops(kind.ops);
        if_attach(td, &owner)
    });
    match made {
        Ok(()) => {
            *softc.owner.lock() = Some(owner);
            ifp.set_softc(Some(softc.erase()));
            Ok(ifp)
        }
        Err(errno) => {
            if_free(td, owner);
            Err(errno)
        }
    }
}

/// Where the data of a driver keep its interface.
pub(super) type Place<T, P> = fn(&T) -> &<P as Platform>::Mutex<Option<IfnetOwner<P>>>;

/// Makes and attaches an Ethernet interface of this kind, with the driver's data in place before anybody sees it, and puts
/// it into `place` of them. Of the link-level address the last two bytes are the index, unless it is all zeros.
pub(super) fn ether<T: Send + Sync + 'static, P: Platform>(
    td: &Thread<'_, P>,
    request: &CloneRequest<'_, P>,
    kind: &Kind<P>,
    lladdr: [u8; 6],
    softc: &Shared<T, P>,
    place: Place<T, P>,
) -> Result<Ifp<P>, Errno> {
    let owner = if_alloc_indexed(td, kind.if_type, request.params.index)?;
    let made = set_names(&owner, request.name, request.cloner.name(), request.unit).and_then(|()| {
        owner.init_flags(kind.flags);
        owner.set_ops(kind.ops);
        owner.set_softc(Some(softc.clone().erase()));
        let mut own = lladdr;
        if own != [0; 6] {
            own[3..].copy_from_slice(&owner.index().to_be_bytes()[1..]);
        }
        ether_ifattach(td, &owner, own)
    });
    match made {
        Ok(()) => {
            owner.set_mtu(kind.mtu);
            let ifp = owner.clone();
            *place(softc).lock() = Some(owner);
            Ok(ifp)
        }
        Err(errno) => {
            owner.set_softc(None);
            if_free(td, owner);
            Err(errno)
        }
    }
}

/// Detaches and frees an interface that [`ether`] made, if its place is not empty.
pub(super) fn ether_gone<P: Platform>(td: &Thread<'_, P>, place: &P::Mutex<Option<IfnetOwner<P>>>) {
    let Some(owner) = ({ place.lock().take() }) else { return };
    ether_ifdetach(td, &owner);
    owner.set_softc(None);
    if_free(td, owner);
}

/// Detaches and frees an interface that [`create`] made.
pub(super) fn destroy<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    _: CloneFlags,
) -> Result<(), Errno> {
    let owner = ifp.softc_as::<Softc<P>>().and_then(|softc| softc.owner.lock().take());
    if let Some(owner) = owner {
        if_detach(td, &owner);
        ifp.set_softc(None);
        if_free(td, owner);
    }
    Ok(())
}
