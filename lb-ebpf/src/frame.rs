//! The bytes of a packet, as the packet path sees them.

use crate::{
    Reason,
    checksum::{self, Change},
};
use bytemuck::Pod;

/// Bytes of a packet that are looked at one by one: what an Ethernet frame carries of them.
pub type Text = [u8; 2048];

/// A packet in a buffer that the packet path may read, rewrite, and re-frame.
///
/// Offsets count from the first byte of the Ethernet header. Only the linear part of a frame that
/// spans several buffers can be loaded and stored; headers always lie there.
pub trait Frame {
    /// Copies a `T` out; `None` where the packet ends before it.
    fn load<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Writes a `T`; [`Reason::RewriteFailed`] where the packet ends before it.
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason>;

    /// The same where the sum of all that lies behind the Ethernet header stays what it was, because a checksum in there
    /// changes as well: a socket buffer may hold that sum.
    #[inline(always)]
    fn store_even<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        self.store(offset, value)
    }

    /// Corrects the checksum of TCP or UDP that lies at `place`, after a change of the addresses in its
    /// pseudo-header and of words that it covers itself (`own`), which are to be stored by [`Frame::store_even`].
    #[inline(always)]
    fn correct(&mut self, place: usize, pseudo: Change, own: Change, is_udp: bool) -> Result<(), Reason> {
        let old: u16 = self.load(place).ok_or(Reason::RewriteFailed)?;
        let new = Change(pseudo.0 + own.0).apply(old);
        self.store(place, if is_udp { checksum::of_udp(new) } else { new })
    }

    /// Whether the whole frame, all buffers together, reaches to `end`.
    fn holds(&self, end: usize) -> bool;

    /// One's complement sum (RFC 1071) of the 16-bit words in `offset..end`, not folded, the bytes
    /// taken as they lie in memory; an odd last byte is padded with zero. `None` where that is
    /// more than the frame holds.
    fn sum(&self, offset: usize, end: usize) -> Option<u64>;

    /// Copies `length` bytes from `offset` on to the beginning of `text`, at most all that it holds.
    /// `false` where that is more than the frame has.
    fn copy(&self, offset: usize, length: usize, text: &mut Text) -> bool;

    /// Adds `bytes` of undefined content in front.
    fn grow(&mut self, bytes: usize) -> Result<(), Reason>;

    /// The same for the headers of a tunnel of a kind ([`lb_common::tunnel::kind`]) in an IP packet of either family. A
    /// socket buffer has to know what the kernel will find in it.
    #[inline(always)]
    fn encapsulate(&mut self, bytes: usize, _is_ipv4: bool, _kind: u8) -> Result<(), Reason> {
        self.grow(bytes)
    }

    /// Takes `bytes` away in front. What is in front then is undefined as far as the Ethernet header and its tags reach.
    fn shrink(&mut self, bytes: usize) -> Result<(), Reason>;

    /// Cuts the frame to `length` bytes at the end; a shorter frame stays as it is.
    fn truncate(&mut self, length: usize) -> Result<(), Reason>;

    /// Index of the interface that the packet came in by.
    fn interface(&self) -> u32;

    /// The firewall mark that the kernel keeps with the packet; 0 where there is none yet, as in XDP.
    fn mark(&self) -> u32 {
        0
    }

    /// Whether the transport checksum may still be the bare sum of the pseudo-header: a sender on
    /// the same machine leaves the rest to a network card that there is not.
    fn may_be_partial(&self) -> bool;

    /// Whether the kernel's socket buffer, which knows that a checksum is partial, stays with the
    /// packet wherever it is sent (generic XDP). In native XDP it stays only with a passed packet.
    fn keeps_buffer(&self) -> bool;

    /// Bytes of data in each of the packets that the kernel makes of this one where it leaves (GSO), 0
    /// where it leaves as it is; `None` where that is not known.
    fn segment(&self) -> Option<u32>;

    /// Whether a VLAN tag travels beside the bytes.
    #[inline(always)]
    fn has_tag(&self) -> bool {
        false
    }
}
