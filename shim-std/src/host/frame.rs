//! Frames: the packets of the hosts.
//!
//! A [`Frame`] is the bytes of an Ethernet frame, as on the wire. It may be counted: then it comes from a [`FramePool`],
//! which knows how many of its frames, copies included, have not been dropped, and which can run out of copies. A host
//! whose packets are plain byte vectors (the default of [`ThreadHost`](super::threads::ThreadHost)) gets the same frames
//! without the count.
//!
//! ```
//! use ifnet_std::host::frame::{FramePool, ether};
//!
//! let pool = FramePool::default();
//! let frame = pool.frame(ether([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], Some([192, 0, 2, 1].into())));
//! assert_eq!((frame.header().unwrap().destination[5], pool.live()), (1, 1));
//! drop(frame);
//! assert_eq!(pool.live(), 0);
//! ```

use core::any::Any;
use core::net::IpAddr;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use ifnet::platform::FrameHeader;

/// Where the type stands, and a VLAN header: behind two addresses of 6 bytes.
const AT: usize = 12;
/// Where the payload begins.
const PAYLOAD: usize = 14;
/// `ETHER_MIN_LEN` without the checksum.
const SHORTEST: usize = 60;

/// `ETHERTYPE_IP`, in network order.
const ETHERTYPE_IP: [u8; 2] = [0x08, 0x00];
/// `ETHERTYPE_ARP`, in network order.
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// `ETHERTYPE_IPV6`, in network order.
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// `ETHERTYPE_VLAN`, in network order.
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
/// Left to local experiments by IEEE 802: a protocol that nobody here knows.
const ETHERTYPE_LOCAL: [u8; 2] = [0x88, 0xb5];

/// An Ethernet frame: bytes, and the pool that counts it.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    pool: Option<FramePool>,
}

/// Counts frames, as `netstat -m` counts mbufs. Clones are the same pool.
#[derive(Clone, Debug, Default)]
pub struct FramePool(Arc<Pool>);

#[derive(Debug, Default)]
struct Pool {
    live: AtomicUsize,
    no_copies: AtomicBool,
}

impl FramePool {
    /// A frame of these bytes, counted until it is dropped.
    #[must_use]
    pub fn frame(&self, bytes: Vec<u8>) -> Frame {
        self.0.live.fetch_add(1, Ordering::Relaxed);
        Frame { bytes, pool: Some(self.clone()) }
    }

    /// How many frames of the pool there are.
    #[must_use]
    pub fn live(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Whether copies fail from now on, as without memory.
    pub fn refuse_copies(&self, refuse: bool) {
        self.0.no_copies.store(refuse, Ordering::Relaxed);
    }
}

impl Frame {
    /// A copy, counted like this one; `None` from a pool that refuses.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        match &self.pool {
            Some(pool) if pool.0.no_copies.load(Ordering::Relaxed) => None,
            Some(pool) => Some(pool.frame(self.bytes.clone())),
            None => Some(Self { bytes: self.bytes.clone(), pool: None }),
        }
    }

    /// The addresses of the frame; `None` for what is too short to be one.
    #[must_use]
    pub fn header(&self) -> Option<FrameHeader> {
        read_header(&self.bytes)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.0.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A frame that no pool counts.
impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pool: None }
    }
}

impl Deref for Frame {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// The bytes of a frame of the least length: an empty IP packet for `inet`, or a protocol that nobody knows.
#[must_use]
pub fn ether(destination: [u8; 6], source: [u8; 6], inet: Option<IpAddr>) -> Vec<u8> {
    let mut bytes = [destination, source].concat();
    match inet {
        Some(IpAddr::V4(to)) => {
            bytes.extend(ETHERTYPE_IP);
            // Version and length of the header, time to live, the source left open.
            bytes.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(to.octets());
        }
        Some(IpAddr::V6(to)) => {
            bytes.extend(ETHERTYPE_IPV6);
            // Version, no payload, no next header, hop limit.
            bytes.extend([0x60, 0, 0, 0, 0, 0, 59, 64]);
            bytes.extend([0; 16]);
            bytes.extend(to.octets());
        }
        None => bytes.extend(ETHERTYPE_LOCAL),
    }
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

fn read_header(bytes: &[u8]) -> Option<FrameHeader> {
    let payload = bytes.get(PAYLOAD..)?;
    let inet_destination = match [bytes[AT], bytes[AT + 1]] {
        ETHERTYPE_IP => array::<4>(payload, 16).map(IpAddr::from),
        ETHERTYPE_IPV6 => array::<16>(payload, 24).map(IpAddr::from),
        // Behind the sizes of the addresses, the operation, and the sender's two addresses and the target's first.
        ETHERTYPE_ARP => array::<4>(payload, 24).map(IpAddr::from),
        _ => None,
    };
    Some(FrameHeader { destination: array(bytes, 0)?, source: array(bytes, 6)?, inet_destination })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The bytes of a packet, if the host's packets are frames or byte vectors.
fn bytes<B: 'static>(packet: &B) -> Option<&Vec<u8>> {
    let packet: &dyn Any = packet;
    packet.downcast_ref::<Frame>().map(|frame| &frame.bytes).or_else(|| packet.downcast_ref())
}

/// As [`bytes`], for changing them.
fn bytes_mut<B: 'static>(packet: &mut B) -> Option<&mut Vec<u8>> {
    let packet: &mut dyn Any = packet;
    if packet.is::<Frame>() {
        packet.downcast_mut::<Frame>().map(|frame| &mut frame.bytes)
    } else {
        packet.downcast_mut()
    }
}

/// A copy, if the host's packets are frames or byte vectors.
pub(crate) fn copy<B: 'static>(packet: &B) -> Option<B> {
    let any: &dyn Any = packet;
    let mut copy: Box<dyn Any> = match any.downcast_ref::<Frame>() {
        Some(frame) => Box::new(Some(frame.copy()?)),
        None => Box::new(Some(any.downcast_ref::<Vec<u8>>()?.clone())),
    };
    copy.downcast_mut::<Option<B>>()?.take()
}

/// Where a packet comes from and where it goes, if it is a frame.
pub(crate) fn header<B: 'static>(packet: &B) -> Option<FrameHeader> {
    read_header(bytes(packet)?)
}

/// `ether_vlanencap`: puts an 802.1Q header on, where it stands on the wire, behind the two addresses; `false` for what
/// is no Ethernet frame.
pub(crate) fn encap<B: 'static>(packet: &mut B, tag: u16) -> bool {
    let Some(frame) = bytes_mut(packet).filter(|frame| frame.len() >= AT) else { return false };
    let [high, low] = tag.to_be_bytes();
    frame.splice(AT..AT, [ETHERTYPE_VLAN[0], ETHERTYPE_VLAN[1], high, low]);
    true
}

/// Takes the outermost 802.1Q header off; its tag.
pub(crate) fn decap<B: 'static>(packet: &mut B) -> Option<u16> {
    let frame = bytes_mut(packet)?;
    let header: [u8; 4] = array(frame, AT)?;
    if header[..2] != ETHERTYPE_VLAN {
        return None;
    }
    frame.drain(AT..AT + 4);
    // The upper bits are the priority.
    Some(u16::from_be_bytes([header[2], header[3]]) & 0x0fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const FROM: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn headers_nest_and_come_off_in_reverse() {
        let plain = (0..64).collect::<Vec<u8>>();
        let mut frame = plain.clone();
        assert!(encap(&mut frame, 10) && encap(&mut frame, 4094));
        assert_eq!(frame.len(), 72);
        assert_eq!(frame[12..16], [0x81, 0, 0x0f, 0xfe]);
        assert_eq!(copy(&frame), Some(frame.clone()));
        assert_eq!((decap(&mut frame), decap(&mut frame), decap(&mut frame)), (Some(4094), Some(10), None));
        assert_eq!(frame, plain);
    }

    #[test]
    fn what_is_no_frame_has_no_header() {
        let mut short = vec![0; 11];
        assert!(!encap(&mut short, 1));
        assert_eq!((decap(&mut short), short.len()), (None, 11));
        assert!(!encap(&mut (), 1));
        assert_eq!((decap(&mut ()), copy(&())), (None, None));
        assert_eq!((header(&vec![0; 13]), header(&())), (None, None));
    }

    #[test]
    fn addresses_are_read_from_where_they_are_on_the_wire() {
        let inet = |packet: &Vec<u8>| header(packet).and_then(|header| header.inet_destination);
        for to in ["192.0.2.7", "2001:db8::7"].map(|to| to.parse::<IpAddr>().unwrap()) {
            let bytes = ether(TO, FROM, Some(to));
            assert_eq!(header(&bytes), Some(FrameHeader { destination: TO, source: FROM, inet_destination: Some(to) }));
            assert_eq!(inet(&bytes[..PAYLOAD + 19].to_vec()), None, "cut off");
            let mut tagged = Frame::from(bytes);
            assert!(encap(&mut tagged, 5));
            assert_eq!(tagged.header().map(|header| header.inet_destination), Some(None));
        }
        assert_eq!(inet(&ether(TO, FROM, None)), None);
        let mut arp = [&TO[..], &FROM, &ETHERTYPE_ARP, &[0, 1, 8, 0, 6, 4, 0, 1]].concat();
        arp.extend([&FROM[..], &[192, 0, 2, 1], &[0; 6], &[192, 0, 2, 9]].concat());
        assert_eq!(inet(&arp), Some([192, 0, 2, 9].into()));
    }

    #[test]
    fn a_pool_counts_its_frames_and_their_copies() {
        let pool = FramePool::default();
        let frame = pool.frame(ether(TO, FROM, None));
        let other = copy(&frame).expect("a copy");
        assert_eq!((pool.live(), *frame == *other), (2, true));
        pool.refuse_copies(true);
        assert!(copy(&frame).is_none());
        drop((frame, other));
        assert_eq!(pool.live(), 0);
        assert!(copy(&Frame::from(vec![1])).is_some_and(|frame| *frame == [1]), "counted by nobody");
    }
}
