//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A checksum is the complement of a one's complement sum of 16-bit words. Such a sum may be taken
//! over wider words and folded later, in any byte order, because a carry out of one word goes into
//! another. So replacing an old word `m` by a new `m'` changes the checksum `c` to `~(~c + ~m + m')`.

pub mod crc32c;

use crate::Frame;
use lb_common::address::Address;

/// Adds the halves of a sum until 16 bits are left. Where a sum is added to itself with its halves exchanged, the upper
/// half is their sum, with the carry that comes out of it added again.
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// Whether a sum, which is not 0, folds to so much. Folding keeps what is left by 65,535, and makes 65,535 of nothing
/// left; to ask for that is a product and a comparison.
#[inline(always)]
pub const fn is_fold(sum: u64, folded: u16) -> bool {
    folded != 0 && (sum + (!folded) as u64).is_multiple_of(0xffff)
}

/// RFC 768: a UDP checksum of zero is sent as ffff, because 0 says that there is none.
#[inline(always)]
pub const fn of_udp(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// What changed in the bytes that a checksum covers: the sum to apply to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change(pub u64);

impl Change {
    /// A 16-bit word was replaced.
    #[inline(always)]
    pub fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A 32-bit word was replaced.
    #[inline(always)]
    pub fn double(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// An address was replaced by another of the same family.
    #[inline(always)]
    pub fn address(self, old: Address, new: Address) -> Self {
        let change = self.double((old.words[1] >> 32) as u32, (new.words[1] >> 32) as u32);
        if old.words[0] | new.words[0] == 0 {
            // Two IPv4 addresses: their other three words are equal (see `Address`), big endian or not.
            return change.double(old.words[1] as u32, new.words[1] as u32);
        }
        change
            .double(old.words[1] as u32, new.words[1] as u32)
            .double((old.words[0] >> 32) as u32, (new.words[0] >> 32) as u32)
            .double(old.words[0] as u32, new.words[0] as u32)
    }

    /// The checksum after the change.
    #[inline(always)]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(self.0 + (!checksum) as u64)
    }
}

/// The sum of a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1), not folded. `length` is that of the
/// transport header and its data in bytes.
#[inline(always)]
pub fn pseudo_header(source: Address, destination: Address, protocol: u32, length: u32) -> u64 {
    let mut sum = length.to_be() as u64 + protocol.to_be() as u64;
    for address in [source, destination] {
        if address.words[0] == 0 && address.is_ipv4() {
            sum += address.ipv4() as u64;
        } else {
            for word in address.words {
                sum += (word & 0xffff_ffff) + (word >> 32);
            }
        }
    }
    sum
}

/// The checksum of `offset..end` of a frame, its own field being zero there, with `start` added.
#[inline(always)]
pub fn of_frame<F: Frame>(frame: &F, offset: usize, end: usize, start: u64) -> Option<u16> {
    Some(!fold(start + frame.sum(offset, end)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        // RFC 1071 §3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
        let bytes: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sum = bytes.chunks(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair[1]]))).sum();
        assert_eq!(fold(sum).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // RFC 1624 §4: the word 5555 becomes 3285 under the checksum dd2f: the new one is 0000.
        let change = Change::default().word(0x5555, 0x3285);
        assert_eq!(change.apply(0xdd2f), 0);
    }

    proptest! {
        #[test]
        fn it_is_told_whether_a_sum_folds_to_a_number(sum in 1u64..1 << 36, other: u16) {
            for sum in [sum, sum / 0xffff * 0xffff + 0xffff] {
                prop_assert!(is_fold(sum, fold(sum)));
                prop_assert_eq!(is_fold(sum, other), fold(sum) == other);
                prop_assert!(!is_fold(sum, 0));
            }
        }

        #[test]
        fn an_update_equals_a_new_sum(mut words: [u32; 9], at in 0usize..9, new: u32) {
            let sum = |words: &[u32; 9]| fold(words.iter().map(|&word| u64::from(word)).sum());
            let before = !sum(&words);
            let change = Change::default().double(words[at], new);
            words[at] = new;
            let (after, updated) = (!sum(&words), change.apply(before));
            // 0000 and ffff are both zero in one's complement.
            prop_assert!(after == updated || (after ^ updated == 0xffff && (after == 0 || updated == 0)));
        }
    }
}
