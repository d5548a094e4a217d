//! The Call-ID of a SIP message (RFC 3261 §20.8), which `--pe sip` knows a client by: read as
//! `ip_vs_pe_sip.c` does, and kept as a digest.

use crate::{Frame, Reason, Tables, packet::Packet, wire::udp};
use lb_common::protocol;

/// The longest Call-ID that counts (`IP_VS_PEDATA_MAXLEN`).
const LONGEST: u32 = 255;
/// The header's name in small letters, and its short form.
const NAME: u64 = u64::from_le_bytes(*b"call-id\0");
const NAME_LENGTH: u32 = 7;
const SHORT: u8 = b'i';
/// The characters of `word` in RFC 3261 §25.1, a bit for each.
const WORD: u128 = {
    let characters =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~()<>:\\\"/[]?{}";
    let (mut bits, mut at) = (0, 0);
    while at < characters.len() {
        bits |= 1 << characters[at];
        at += 1;
    }
    bits
};

/// A digest of the Call-ID that a datagram carries, never 0; [`Reason::NoCall`] when there is none, or
/// none that is well formed. What lies beyond the first 2,048 bytes is not read.
#[inline(always)]
pub fn call<F: Frame, T: Tables>(frame: &F, tables: &T, packet: &Packet) -> Result<u64, Reason> {
    let start = packet.transport as usize + udp::LENGTH;
    if packet.flow.protocol as u8 != protocol::UDP || packet.is_later_fragment() || packet.is_quoted() {
        return Err(Reason::NoCall);
    }
    let length = (packet.end as usize).saturating_sub(start);
    let settings = tables.settings().ok_or(Reason::NoCall)?;
    let text = tables.text().ok_or(Reason::NoCall)?;
    if !frame.copy(start, length, text) {
        return Err(Reason::NoCall);
    }
    let zero = tables.zero();
    let mut reader =
        Reader { phase: Phase::IN_LINE + zero, matched: zero, length: zero, digest: settings.secret[0] };
    tables.each(length.min(text.len()) as u32, |at| {
        // The mask is for the verifier.
        reader.read(text[at as usize & (text.len() - 1)]);
        reader.phase < Phase::FOUND
    });
    if reader.phase != Phase::FOUND {
        return Err(Reason::NoCall);
    }
    Ok((reader.digest ^ reader.digest >> 32) | 1)
}

/// Reads a message byte by byte. Numbers rather than an enumeration, so that the verifier meets few
/// states.
struct Reader {
    phase: u32,
    /// Letters of the header's name that are there.
    matched: u32,
    /// Bytes of the Call-ID.
    length: u32,
    digest: u64,
}

struct Phase;

impl Phase {
    /// In a line that is not the header's.
    const IN_LINE: u32 = 0;
    /// Behind the end of a line.
    const AT_START: u32 = 1;
    /// In what may be the header's name.
    const IN_NAME: u32 = 2;
    /// Behind a letter that may be its short form.
    const IN_SHORT: u32 = 3;
    /// Behind the name, before the colon.
    const BEFORE_COLON: u32 = 4;
    /// Behind the colon, before the Call-ID.
    const BEFORE_WORD: u32 = 5;
    /// In the Call-ID before an `@`.
    const IN_WORD: u32 = 6;
    /// Just behind the `@`.
    const AT_HOST: u32 = 7;
    /// In the Call-ID behind the `@`.
    const IN_HOST: u32 = 8;
    /// The whole Call-ID has been read.
    const FOUND: u32 = 9;
    /// There is none that counts.
    const MISSING: u32 = 10;
}

impl Reader {
    #[inline(always)]
    fn read(&mut self, byte: u8) {
        let is_end = byte == b'\r' || byte == b'\n';
        let is_blank = byte == b' ' || byte == b'\t';
        self.phase = match self.phase {
            Phase::IN_LINE..=Phase::IN_SHORT if is_end => Phase::AT_START,
            Phase::AT_START => self.begin(byte),
            Phase::IN_NAME => self.go_on(byte),
            Phase::IN_SHORT | Phase::BEFORE_COLON if byte == b':' => Phase::BEFORE_WORD,
            Phase::IN_SHORT | Phase::BEFORE_COLON if is_blank => Phase::BEFORE_COLON,
            Phase::BEFORE_WORD if is_blank => Phase::BEFORE_WORD,
            Phase::BEFORE_WORD | Phase::IN_WORD if is_word(byte) => self.take(byte, Phase::IN_WORD),
            Phase::IN_WORD if byte == b'@' => self.take(byte, Phase::AT_HOST),
            Phase::AT_HOST | Phase::IN_HOST if is_word(byte) => self.take(byte, Phase::IN_HOST),
            Phase::IN_WORD | Phase::IN_HOST if is_end && self.length <= LONGEST => Phase::FOUND,
            Phase::IN_LINE | Phase::IN_SHORT => Phase::IN_LINE,
            _ => Phase::MISSING,
        };
    }

    /// The first byte of a line; one that begins with a blank continues the last.
    #[inline(always)]
    fn begin(&mut self, byte: u8) -> u32 {
        self.matched = 1;
        if byte | 0x20 == SHORT {
            Phase::IN_SHORT
        } else if byte | 0x20 == NAME as u8 {
            Phase::IN_NAME
        } else {
            Phase::IN_LINE
        }
    }

    #[inline(always)]
    fn go_on(&mut self, byte: u8) -> u32 {
        let letter = (NAME >> (8 * (self.matched & 7))) as u8;
        // The hyphen has no capital; what it would be taken for is no character of a header.
        if byte | 0x20 != letter {
            return Phase::IN_LINE;
        }
        self.matched += 1;
        if self.matched == NAME_LENGTH { Phase::BEFORE_COLON } else { Phase::IN_NAME }
    }

    #[inline(always)]
    fn take(&mut self, byte: u8, next: u32) -> u32 {
        self.length += 1;
        self.digest = (self.digest ^ byte as u64).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.digest ^= self.digest >> 29;
        next
    }
}

#[inline(always)]
fn is_word(byte: u8) -> bool {
    let half = if byte < 64 { WORD as u64 } else { (WORD >> 64) as u64 };
    byte < 128 && half >> (byte & 63) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Option<u64> {
        let mut reader = Reader { phase: Phase::IN_LINE, matched: 0, length: 0, digest: 1 };
        for byte in message.bytes() {
            if reader.phase < Phase::FOUND {
                reader.read(byte);
            }
        }
        (reader.phase == Phase::FOUND).then_some(reader.digest)
    }

    #[test]
    fn it_is_found_in_every_form_of_the_header() {
        let call = read("INVITE sip:a@b SIP/2.0\r\nVia: x\r\nCall-ID: 7a@host.example\r\nc: y\r\n");
        assert!(call.is_some());
        for message in [
            "BYE sip:a@b SIP/2.0\r\ni: 7a@host.example\r\n\r\n",
            "BYE\nCALL-id \t:\t 7a@host.example\n",
            "BYE\r\nCall-Info: x\r\nI:7a@host.example\r",
        ] {
            assert_eq!(read(message), call, "{message:?}");
        }
        assert_ne!(read("BYE\r\ni: 7b@host.example\r\n"), call);
        assert!(read("BYE\r\ni: f81d4fae-7dec-11d0-a765-00a0c91e6bf6\r\n").is_some());
    }

    #[test]
    fn what_is_no_header_of_it_is_passed_over() {
        for message in [
            "Call-ID: 7a@host\r\n",
            "BYE\r\nc: application/sdp\r\n",
            "BYE\r\n i: 7a@host\r\n",
            "BYE\r\ni: 7a@host",
            "BYE\r\ni: 7a@host x\r\n",
            "BYE\r\ni: 7a@\r\n",
            "BYE\r\ni: @host\r\n",
            "BYE\r\nCall-ID 7a@host\r\n",
            "BYE\r\ninfo: 7a@host\r\n",
            "",
        ] {
            assert_eq!(read(message), None, "{message:?}");
        }
        let longest = |length| read(&std::format!("BYE\r\ni: {}\r\n", "a".repeat(length)));
        assert!(longest(255).is_some() && longest(256).is_none());
    }
}
