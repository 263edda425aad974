//! Packets of upper interfaces that share a lower one.

use crate::Errno;
use crate::ifnet::{IfFlags, Ifnet};
use crate::lifecycle::{if_input, if_transmit};
use crate::mem::AnyShared;
use crate::platform::Platform;
use crate::sync::atomic::Ordering;
use crate::thread::Thread;

use super::{Port, upper_of};

/// What goes out of an upper goes out of the lower, in the lower's vnet.
pub(super) fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let upper = upper_of(ifp).ok_or(Errno::ENXIO)?;
    let lower = &upper.port.lower;
    if upper.dying.load(Ordering::Acquire) || lower.is_dying() {
        return Err(Errno::ENXIO);
    }
    if !ifp.flags().contains(IfFlags::UP) || !lower.flags().contains(IfFlags::UP) {
        return Err(Errno::ENETDOWN);
    }
    let section = td.net_epoch_enter();
    let _cur = td.curvnet_set(Some(lower.if_vnet(td)));
    if_transmit(td, lower, packet, &section)
}

/// What comes in at the lower goes to the first upper that is up. The buffer is opaque to the core, so that addresses do
/// not decide here.
pub(super) fn receive<P: Platform>(td: &Thread<'_, P>, lower: &Ifnet<P>, data: &AnyShared<P>, packet: P::Buffer) {
    let section = td.net_epoch_enter();
    let upper = data.to_shared::<Port<P>>().and_then(|port| {
        let up = port.uppers.iter(&section).find(|upper| upper.ifp.raw_flags().contains(IfFlags::UP));
        up.and_then(|upper| upper.try_share())
    });
    match upper {
        Some(upper) if !upper.ifp.is_dying() => {
            let _cur = td.curvnet_set(Some(upper.ifp.if_vnet(td)));
            if_input(td, &upper.ifp, packet, &section);
        }
        _ => (lower.ops().input)(td, lower, packet),
    }
}
