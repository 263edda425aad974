//! No taps: what the life cycle and the drivers call without the feature `bpf`. It does nothing, and needs no memory.

use crate::Errno;
use crate::ifnet::{Ifnet, Ifp};
use crate::platform::Platform;
use crate::thread::Thread;

pub(crate) fn bpfattach<P: Platform>(_: &Thread<'_, P>, _: &Ifp<P>) -> Result<(), Errno> {
    Ok(())
}

pub(crate) fn bpfdetach<P: Platform>(_: &Thread<'_, P>, _: &Ifp<P>) {}

pub(crate) fn bpf_ifdetach<P: Platform>(_: &Thread<'_, P>, _: &Ifp<P>) {}

pub(crate) fn bpf_vmove<P: Platform>(_: &Thread<'_, P>, _: &Ifp<P>) {}

pub(crate) fn bpf_mtap<P: Platform>(_: &Thread<'_, P>, _: &Ifnet<P>) {}
