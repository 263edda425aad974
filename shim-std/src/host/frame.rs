//! Frames of hosts whose packets are byte vectors: copies, and the 802.1Q header.
//!
//! The header stands where it does on the wire, behind the two link-level addresses: the type `0x8100`, then the tag.

use core::any::Any;

/// Where the header stands: behind two addresses of 6 bytes.
const AT: usize = 12;
/// `ETHERTYPE_VLAN`, in network order.
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];

/// The packet as bytes, if the host's packets are byte vectors.
fn bytes<B: 'static>(packet: &mut B) -> Option<&mut Vec<u8>> {
    (packet as &mut dyn Any).downcast_mut()
}

/// A copy, if the host's packets are byte vectors.
pub(crate) fn copy<B: 'static>(packet: &B) -> Option<B> {
    let bytes: &Vec<u8> = (packet as &dyn Any).downcast_ref()?;
    let mut copy = Some(bytes.clone());
    (&mut copy as &mut dyn Any).downcast_mut::<Option<B>>()?.take()
}

/// Puts a header on; `false` for what is no Ethernet frame.
pub(crate) fn encap<B: 'static>(packet: &mut B, tag: u16) -> bool {
    let Some(frame) = bytes(packet).filter(|frame| frame.len() >= AT) else { return false };
    let [high, low] = tag.to_be_bytes();
    frame.splice(AT..AT, [ETHERTYPE_VLAN[0], ETHERTYPE_VLAN[1], high, low]);
    true
}

/// Takes the outermost header off; its tag.
pub(crate) fn decap<B: 'static>(packet: &mut B) -> Option<u16> {
    let frame = bytes(packet)?;
    let header: [u8; 4] = frame.get(AT..AT + 4)?.try_into().ok()?;
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
    }
}
