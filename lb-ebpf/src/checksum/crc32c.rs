//! CRC32c (RFC 9260 appendix A), updated without reading the packet.
//!
//! A CRC is the remainder of the message as a polynomial over GF(2), so it is linear: changing some bits
//! changes it by the remainder of these bits alone, with zeros for all others. The zeros that follow them
//! multiply by a power of x, which takes as many steps as the packet's length has bits.
//!
//! Numbers here are reflected, as the CRC is: the highest bit is the coefficient of x^0.

/// The generator polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// 1.
const ONE: u32 = 1 << 31;

/// The longest length: an IP packet's, 16 bits.
const BITS: usize = 16;

/// x^(8 · 2^k) for each k.
static POWERS: [u32; BITS] = {
    let mut powers = [0; BITS];
    // x^8.
    let mut power = ONE >> 8;
    let mut k = 0;
    while k < BITS {
        powers[k] = power;
        power = multiply(power, power);
        k += 1;
    }
    powers
};

/// The product of two polynomials, modulo the generator.
#[inline(always)]
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        // Without branches: the verifier would follow every combination.
        product ^= b & (a >> (31 - bit) & 1).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
        bit += 1;
    }
    product
}

/// The checksum field after the first word of a packet of `length` bytes has changed. All as they lie in
/// the packet.
#[inline(always)]
pub fn update(field: u32, old: u32, new: u32, length: u32) -> u32 {
    let mut change = u32::from_le(old ^ new);
    for (k, power) in POWERS.iter().enumerate() {
        let chosen = (length >> k & 1).wrapping_neg();
        change = multiply(change, power & chosen | ONE & !chosen);
    }
    field ^ change.to_le()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, as RFC 9260 appendix A describes it.
    fn whole(bytes: &[u8]) -> u32 {
        let mut sum = u32::MAX;
        for byte in bytes {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = sum >> 1 ^ POLYNOMIAL & (sum & 1).wrapping_neg();
            }
        }
        !sum
    }

    #[test]
    fn the_example_of_rfc_3720() {
        // Appendix B.4: 32 bytes of zeros.
        assert_eq!(whole(&[0; 32]), 0x8a91_36aa);
    }

    proptest! {
        #[test]
        fn an_update_equals_a_new_sum(mut bytes in prop::collection::vec(any::<u8>(), 4..2000), new: [u8; 4]) {
            let old = *bytes.first_chunk::<4>().unwrap();
            let before = whole(&bytes).to_le();
            bytes[..4].copy_from_slice(&new);
            let [old, new] = [old, new].map(u32::from_ne_bytes);
            prop_assert_eq!(update(before, old, new, bytes.len() as u32), whole(&bytes).to_le());
        }
    }
}
