//! Maglev hashing (Eisenbud et al., NSDI 2016, §3.4) over the client's address, and port with
//! `mh-port`.

use super::{BUSY, looked_up, sh::source, usable};
use crate::{Tables, packet::Flow};
use lb_common::{
    scheduler::{MAGLEV_SLOTS, flags},
    service::Service,
};

/// Both halves of the key that clients are hashed with, and where a member's permutation starts.
pub(crate) const START_KEY: u64 = 2_654_435_761;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    let source = source(service, flow);
    let start = hash(source, START_KEY) % MAGLEV_SLOTS;
    let chosen = looked_up(tables, service, start);
    if chosen != BUSY || service.scheduler_flags & flags::FALLBACK == 0 {
        return usable(chosen);
    }
    let mut found = BUSY;
    tables.each(MAGLEV_SLOTS, |step| {
        let offset = (start + step) % MAGLEV_SLOTS;
        let slot = hash(source.wrapping_add(offset), START_KEY) % MAGLEV_SLOTS;
        found = looked_up(tables, service, slot);
        found == BUSY
    });
    usable(found)
}

/// The kernel's `hsiphash` of one 32-bit word on a 64-bit machine: SipHash-1-3 of its four
/// little-endian bytes, cut to 32 bits. The same on every machine here, so that a table does not
/// depend on the balancer it was made on.
#[inline(always)]
pub(crate) const fn hash(value: u32, key: u64) -> u32 {
    let block = 4 << 56 | value as u64;
    let mut state = [
        0x736f_6d65_7073_6575 ^ key,
        0x646f_7261_6e64_6f6d ^ key,
        0x6c79_6765_6e65_7261 ^ key,
        0x7465_6462_7974_6573 ^ key ^ block,
    ];
    state = round(state);
    state[0] ^= block;
    state[2] ^= 0xff;
    let [a, b, c, d] = round(round(round(state)));
    (a ^ b ^ c ^ d) as u32
}

#[inline(always)]
const fn round([a, b, c, d]: [u64; 4]) -> [u64; 4] {
    let a = a.wrapping_add(b);
    let b = b.rotate_left(13) ^ a;
    let a = a.rotate_left(32);
    let c = c.wrapping_add(d);
    let d = d.rotate_left(16) ^ c;
    let a = a.wrapping_add(d);
    let d = d.rotate_left(21) ^ a;
    let c = c.wrapping_add(b);
    let b = b.rotate_left(17) ^ c;
    let c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    /// The standard library's hasher happens to be SipHash-1-3 with a key of 0.
    #[test]
    fn the_hash_is_siphash_1_3() {
        for value in [0, 1, 0xc0a8_020a, u32::MAX] {
            let mut hasher = DefaultHasher::new();
            hasher.write(&value.to_le_bytes());
            assert_eq!(hash(value, 0), hasher.finish() as u32);
        }
    }
}
