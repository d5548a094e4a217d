//! The bytes of a packet, as the packet path sees them.

use crate::Reason;
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
}
