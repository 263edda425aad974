//! Addresses of an interface: `struct ifaddr` and `struct ifmultiaddr`, with their references.

use core::fmt;

use super::life::{Life, Watch};
use crate::Errno;
use crate::epoch::DomainRef;
use crate::mem::{NoMem, Shared, TryVec};
use crate::platform::Platform;

/// An address with its family: the part of a `sockaddr` that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SockAddr {
    /// `AF_LINK`: a link-level address.
    Link([u8; 6]),
    /// `AF_INET`.
    Inet([u8; 4]),
    /// `AF_INET6`.
    Inet6([u8; 16]),
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Inet(bytes) => core::net::Ipv4Addr::from(*bytes).fmt(f),
            Self::Inet6(bytes) => core::net::Ipv6Addr::from(*bytes).fmt(f),
        }
    }
}

/// `struct ifaddr`: one address of an interface.
pub struct IfAddr<P: Platform> {
    pub(crate) life: Life,
    watch: Watch<P>,
    addr: SockAddr,
    prefix: u8,
}

impl<P: Platform> IfAddr<P> {
    /// `ifa_alloc`: born with one reference, which the interface's list holds.
    pub(crate) fn alloc(domain: &DomainRef<P>, addr: SockAddr, prefix: u8) -> Result<Shared<Self, P>, NoMem> {
        Shared::try_new(domain, Self { life: Life::new(), watch: Watch::new(domain), addr, prefix })
    }

    /// The address itself.
    pub fn sockaddr(&self) -> SockAddr {
        self.touch();
        self.addr
    }

    /// Length of the prefix, in bits.
    pub fn prefix(&self) -> u8 {
        self.touch();
        self.prefix
    }

    fn touch(&self) {
        self.watch.touch(&self.life, &"an ifaddr touched after ifa_free");
    }
}

/// A counted reference to an address: `ifa_ref` … `ifa_free`.
pub struct IfaRef<P: Platform>(Shared<IfAddr<P>, P>);

impl<P: Platform> IfaRef<P> {
    /// `ifa_try_ref`: `None` once the address is on its way out.
    pub(crate) fn try_new(ifa: Shared<IfAddr<P>, P>) -> Option<Self> {
        // Not `then_some`: the reference must not exist, and be given up, before it has been counted.
        ifa.life.try_acquire().then(|| Self(ifa))
    }
}

impl<P: Platform> core::ops::Deref for IfaRef<P> {
    type Target = IfAddr<P>;
    fn deref(&self) -> &IfAddr<P> {
        &self.0
    }
}

impl<P: Platform> Drop for IfaRef<P> {
    fn drop(&mut self) {
        ifa_release(&self.0);
    }
}

/// Drops the reference that an interface's list holds: `ifa_free`.
pub(crate) fn ifa_free<P: Platform>(ifa: Shared<IfAddr<P>, P>) {
    ifa_release(&ifa);
}

/// Drops one reference; the last one frees the address after a grace period: `ifa_destroy` by `NET_EPOCH_CALL`.
fn ifa_release<P: Platform>(ifa: &Shared<IfAddr<P>, P>) {
    if ifa.life.release(ifa.domain().platform()) {
        ifa.clone().defer(|ifa| {
            ifa.life.free();
        });
    }
}

/// The addresses of an interface, under its address lock: `if_addrhead` and `if_multiaddrs`.
pub(crate) struct Addresses<P: Platform> {
    /// `if_addr`: the link-level one.
    pub(crate) lladdr: Option<Shared<IfAddr<P>, P>>,
    /// In the order in which they were added.
    pub(crate) network: TryVec<Shared<IfAddr<P>, P>, P::Allocator>,
    pub(crate) multicast: TryVec<IfMultiaddr, P::Allocator>,
}

impl<P: Platform> Addresses<P> {
    pub(crate) fn new(allocator: P::Allocator) -> Self {
        Self { lladdr: None, network: TryVec::new(allocator.clone()), multicast: TryVec::new(allocator) }
    }
}

/// `struct ifmultiaddr`: one multicast membership of an interface, with the count of joins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfMultiaddr {
    pub(crate) addr: SockAddr,
    pub(crate) joins: u32,
}

/// Parses `aa:bb:cc:dd:ee:ff`.
///
/// # Errors
/// `EINVAL` for anything else.
pub fn parse_lladdr(text: &str) -> Result<[u8; 6], Errno> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or(Errno::EINVAL)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| Errno::EINVAL)?;
    }
    if parts.next().is_some() { Err(Errno::EINVAL) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_address_gives_no_reference() {
        let (host, domain) = crate::testing::domain();
        let ifa = IfAddr::alloc(&domain, SockAddr::Inet([192, 0, 2, 1]), 24).expect("memory");
        drop(IfaRef::try_new(ifa.clone()).expect("the list's reference is there"));
        ifa_free(ifa.clone());
        assert!(IfaRef::try_new(ifa.clone()).is_none());
        assert!(IfaRef::try_new(ifa).is_none());
        while domain.poll() {}
        drop(domain);
        assert_eq!(host.arena().live(), 0);
    }

    #[test]
    fn a_link_level_address_has_six_hexadecimal_bytes() {
        assert_eq!(parse_lladdr("02:00:00:00:0a:ff"), Ok([2, 0, 0, 0, 10, 255]));
        for bad in ["", "02:00:00:00:0a", "02:00:00:00:0a:ff:00", "02:00:00:00:0a:100", "02:00:00:00:0a:xx"] {
            assert_eq!(parse_lladdr(bad), Err(Errno::EINVAL), "{bad}");
        }
    }
}
