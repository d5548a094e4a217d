//! The packet.

use crate::{Frame, Reason, frame::Text};
use bytemuck::{Pod, bytes_of, pod_read_unaligned};
use std::{vec, vec::Vec};

/// A packet in a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFrame {
    /// Its bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Index of the interface that it came in by.
    pub interface: u32,
    /// Its firewall mark.
    pub mark: u32,
    /// Whether its transport checksum may be partial.
    pub partial: bool,
    /// Whether it is handled in generic XDP.
    pub generic: bool,
}

impl HostFrame {
    /// A frame with valid checksums that came in by interface 1, in native XDP.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, interface: 1, mark: 0, partial: false, generic: false }
    }
}

impl Frame for HostFrame {
    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        self.bytes.get(offset..offset + size_of::<T>()).map(pod_read_unaligned)
    }

    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        let place = self.bytes.get_mut(offset..offset + size_of::<T>()).ok_or(Reason::RewriteFailed)?;
        place.copy_from_slice(bytes_of(&value));
        Ok(())
    }

    fn holds(&self, end: usize) -> bool {
        end <= self.bytes.len()
    }

    fn sum(&self, offset: usize, end: usize) -> Option<u64> {
        let mut sum = 0;
        for pair in self.bytes.get(offset..end)?.chunks(2) {
            sum += u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        Some(sum)
    }

    fn copy(&self, offset: usize, length: usize, text: &mut Text) -> bool {
        let length = length.min(text.len());
        let Some(bytes) = self.bytes.get(offset..offset + length) else { return false };
        text[..length].copy_from_slice(bytes);
        true
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Reason> {
        self.bytes.splice(0..0, vec![0xa5; bytes]);
        Ok(())
    }

    fn shrink(&mut self, bytes: usize) -> Result<(), Reason> {
        self.bytes.drain(..bytes);
        Ok(())
    }

    fn truncate(&mut self, length: usize) -> Result<(), Reason> {
        self.bytes.truncate(length);
        Ok(())
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn mark(&self) -> u32 {
        self.mark
    }

    fn may_be_partial(&self) -> bool {
        self.partial
    }

    fn keeps_buffer(&self) -> bool {
        self.generic
    }

    fn segment(&self) -> Option<u32> {
        if self.generic { None } else { Some(0) }
    }
}
