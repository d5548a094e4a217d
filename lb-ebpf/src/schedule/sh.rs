//! Source hashing: 256 buckets over the client's address, and port with `sh-port`. A member fills
//! as many buckets in a row as its weight says, one at least.

use super::{BUSY, fold, looked_up, usable};
use crate::{Tables, packet::Flow};
use lb_common::{
    scheduler::{HASH_BUCKETS, flags},
    service::Service,
};

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    let start = hash(source(service, flow));
    let chosen = looked_up(tables, service, start);
    if chosen != BUSY || service.scheduler_flags & flags::FALLBACK == 0 {
        return usable(chosen);
    }
    // The step is the bucket itself, so every client of a bucket falls back by the same way.
    let mut found = BUSY;
    tables.each(HASH_BUCKETS, |step| {
        let slot = (start + start + step) % HASH_BUCKETS;
        found = looked_up(tables, service, slot);
        found == BUSY
    });
    usable(found)
}

/// What is hashed of a packet, host order.
#[inline(always)]
pub(super) fn source(service: &Service, flow: &Flow) -> u32 {
    let port = if service.scheduler_flags & flags::PORT != 0 { u16::from_be(flow.source_port) } else { 0 };
    fold(flow.source).wrapping_add(u32::from(port))
}

/// The bucket of a value: the upper 8 bits of its product with 2^32 / φ (the kernel's `hash_32`).
#[inline(always)]
pub(super) const fn hash(value: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> 24
}
