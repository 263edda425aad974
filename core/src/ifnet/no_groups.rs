//! No groups: what the kinds of [`group`](super::group) are without the feature `groups`. They need no memory.

use core::marker::PhantomData;

use super::IfName;
use crate::epoch::DomainRef;
use crate::mem::NoMem;
use crate::platform::Platform;

/// What an interface has of groups: nothing.
pub(crate) struct IfGroups<P>(PhantomData<fn() -> P>);

impl<P: Platform> IfGroups<P> {
    pub(crate) fn try_new(_: &DomainRef<P>) -> Result<Self, NoMem> {
        Ok(Self(PhantomData))
    }
}

/// What a vnet has of groups: nothing.
pub(crate) struct VnetGroups<P>(PhantomData<fn() -> P>);

impl<P: Platform> VnetGroups<P> {
    pub(crate) fn new(_: &DomainRef<P>) -> Self {
        Self(PhantomData)
    }

    pub(crate) fn begin(&self, _: &DomainRef<P>) -> Result<(), NoMem> {
        Ok(())
    }

    pub(crate) fn end(&self) {}
}

/// The group of a kind of interfaces, which there is not.
pub(crate) struct KindGroup<P>(PhantomData<fn() -> P>);

impl<P: Platform> KindGroup<P> {
    pub(crate) fn try_new(_: &DomainRef<P>, _: &IfName) -> Result<Self, NoMem> {
        Ok(Self(PhantomData))
    }
}

/// The membership in it.
pub(crate) struct Spare<P>(PhantomData<fn() -> P>);

impl<P: Platform> Spare<P> {
    pub(crate) fn try_new(_: &DomainRef<P>) -> Result<Self, NoMem> {
        Ok(Self(PhantomData))
    }
}
