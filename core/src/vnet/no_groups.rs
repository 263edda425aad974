//! No groups: what attach, detach and cloners call without the feature `groups`. It does nothing.

use crate::ifnet::Ifp;
use crate::ifnet::group::{KindGroup, Spare};
use crate::platform::Platform;
use crate::thread::Thread;

use super::VnetRef;

pub(crate) fn join_all<P: Platform>(_: &Thread<'_, P>, _: &VnetRef<P>, _: &Ifp<P>) {}

pub(crate) fn give_spare<P: Platform>(_: &Ifp<P>, _: Spare<P>) {}

pub(crate) fn join_kind<P: Platform>(_: &Thread<'_, P>, _: &Ifp<P>, _: &KindGroup<P>) {}

pub(crate) fn leave_kind<P: Platform>(_: &Thread<'_, P>, _: &VnetRef<P>, _: &Ifp<P>, _: &str) {}

pub(crate) fn if_delgroups<P: Platform>(_: &Thread<'_, P>, _: &VnetRef<P>, _: &Ifp<P>) {}
