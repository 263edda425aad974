//! Packets: small frames from a fixed set, as a driver's ring of buffers has them.
//!
//! Taking and giving back is one atomic operation, so that a handler can do it.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::lock::TicketLock;

/// How many packets there are.
pub const PACKETS: usize = 64;

/// Longest frame.
const LONGEST: usize = 64;

/// Bytes of an 802.1Q header, which stands behind the two addresses.
const TAG: usize = 4;
const ADDRESSES: usize = 12;

#[derive(Clone, Copy)]
struct Frame {
    len: usize,
    bytes: [u8; LONGEST],
}

/// A bit for each packet that is in use.
static TAKEN: [AtomicUsize; PACKETS / WORD] = [const { AtomicUsize::new(0) }; PACKETS / WORD];
const WORD: usize = usize::BITS as usize;
/// Never contended: whoever has the packet has its frame. The lock says so to the compiler.
static FRAMES: [TicketLock<Frame>; PACKETS] =
    [const { TicketLock::new(Frame { len: 0, bytes: [0; LONGEST] }) }; PACKETS];

/// A packet. Dropping it gives it back.
pub struct Packet(usize);

impl Packet {
    /// A frame of the shortest kind with an EtherType behind its addresses; `None` if all packets are in use.
    pub fn new() -> Option<Self> {
        let packet = Self::take()?;
        let mut frame = FRAMES[packet.0].lock();
        frame.len = 60;
        frame.bytes = [0; LONGEST];
        // An unknown unicast address, so that a bridge floods it.
        frame.bytes[..ADDRESSES].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        frame.bytes[ADDRESSES..ADDRESSES + 2].copy_from_slice(&[0x08, 0x00]);
        drop(frame);
        Some(packet)
    }

    fn take() -> Option<Self> {
        TAKEN.iter().enumerate().find_map(|(word, taken)| {
            let free = |bits: usize| (bits != usize::MAX).then(|| bits | (bits + 1));
            // Acquire: what its last owner did comes before.
            let bits = taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).ok()?;
            Some(Self(word * WORD + bits.trailing_ones() as usize))
        })
    }

    /// The number by which C knows the packet, which is C's from now on; not zero.
    pub fn into_number(self) -> usize {
        let number = self.0 + 1;
        core::mem::forget(self);
        number
    }

    /// The packet of that number, which C gives back; `None` if no packet in use has it.
    pub fn from_number(number: usize) -> Option<Self> {
        let packet = number.checked_sub(1)?;
        let taken = TAKEN.get(packet / WORD)?.load(Ordering::Relaxed);
        (taken >> (packet % WORD) & 1 == 1).then_some(Self(packet))
    }

    /// `m_copypacket`.
    pub fn copy(&self) -> Option<Self> {
        let copy = Self::take()?;
        let frame = *FRAMES[self.0].lock();
        *FRAMES[copy.0].lock() = frame;
        Some(copy)
    }

    /// `ether_vlanencap`. `false` if the frame would be too long.
    pub fn push_tag(&mut self, tag: u16) -> bool {
        let mut frame = FRAMES[self.0].lock();
        let len = frame.len;
        if len + TAG > LONGEST {
            return false;
        }
        frame.bytes.copy_within(ADDRESSES..len, ADDRESSES + TAG);
        let [high, low] = tag.to_be_bytes();
        frame.bytes[ADDRESSES..ADDRESSES + TAG].copy_from_slice(&[0x81, 0x00, high, low]);
        frame.len = len + TAG;
        true
    }

    /// Takes the outermost tag off.
    pub fn pop_tag(&mut self) -> Option<u16> {
        let mut frame = FRAMES[self.0].lock();
        let [0x81, 0x00, high, low] = frame.bytes[ADDRESSES..ADDRESSES + TAG] else { return None };
        let len = frame.len;
        frame.bytes.copy_within(ADDRESSES + TAG..len, ADDRESSES);
        frame.len = len - TAG;
        Some(u16::from_be_bytes([high, low]))
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // Release: what was done with it comes before its next owner.
        TAKEN[self.0 / WORD].fetch_and(!(1 << (self.0 % WORD)), Ordering::Release);
    }
}

/// How many packets are in use.
pub fn in_use() -> usize {
    TAKEN.iter().map(|taken| taken.load(Ordering::Relaxed).count_ones() as usize).sum()
}
