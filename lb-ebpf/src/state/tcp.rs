//! IPVS's TCP state machine (`net/netfilter/ipvs/ip_vs_proto_tcp.c`).

use super::Side;
use crate::wire::tcp::flags;
use core::hint::black_box;
use lb_common::connection::state::*;

/// The rows of the table that a packet moves in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Where it comes from.
    pub side: Side,
    /// Whether the strict table is in force (`secure_tcp`): a half-open connection is established by
    /// the backend's ACK only.
    pub is_secure: bool,
}

/// The event that a packet's flags stand for: RST before SYN before FIN before ACK.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SYN, with or without ACK.
    Syn = 0,
    /// FIN.
    Fin = 1,
    /// ACK alone.
    Ack = 2,
    /// RST.
    Rst = 3,
    /// None of the four.
    None = 4,
}

/// The event of a packet's flags.
#[inline(always)]
pub fn event(bits: u8) -> Event {
    if bits & flags::RST != 0 {
        Event::Rst
    } else if bits & flags::SYN != 0 {
        Event::Syn
    } else if bits & flags::FIN != 0 {
        Event::Fin
    } else if bits & flags::ACK != 0 {
        Event::Ack
    } else {
        Event::None
    }
}

const ES: u8 = ESTABLISHED;
const SS: u8 = SYN_SENT;
const SR: u8 = SYN_RECV;
const FW: u8 = FIN_WAIT;
const TW: u8 = TIME_WAIT;
const CL: u8 = CLOSE;
const CW: u8 = CLOSE_WAIT;
const LA: u8 = LAST_ACK;
const LI: u8 = LISTEN;
const SA: u8 = SYNACK;

/// By table, side and event, a column for each state; padded to a power of two, so that an index can be
/// masked instead of checked.
#[rustfmt::skip]
static NEXT: [u8; 2 * 16 * 16] = {
    let tables: [[[u8; 11]; 12]; 2] = [[
        // --  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
        // Input
        [  SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR ], // syn
        [  CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW ], // fin
        [  ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES ], // ack
        [  CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR ], // rst
        // Output
        [  SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR ], // syn
        [  TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW ], // fin
        [  ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES ], // ack
        [  CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL ], // rst
        // InputOnly
        [  SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR ], // syn
        [  CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW ], // fin
        [  ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES ], // ack
        [  CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL ], // rst
    ], [
        // --  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
        // Input
        [  SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA ], // syn
        [  CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA ], // fin
        [  ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA ], // ack
        [  CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL ], // rst
        // Output
        [  SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA ], // syn
        [  TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW ], // fin
        [  ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES ], // ack
        [  CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL ], // rst
        // InputOnly
        [  SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA ], // syn
        [  CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW ], // fin
        [  ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES ], // ack
        [  CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL ], // rst
    ]];
    let mut flat = [CL; 512];
    let mut row = 0;
    while row < 24 {
        let mut column = 0;
        while column < 11 {
            flat[(row / 12 * 16 + row % 12) * 16 + column] = tables[row / 12][row % 12][column];
            column += 1;
        }
        row += 1;
    }
    flat
};

/// The state after `event` in `state`.
#[inline(always)]
pub fn next(rows: Rows, event: Event, state: u8) -> u8 {
    if event as u8 == Event::None as u8 {
        return CLOSE;
    }
    let row = rows.is_secure as usize * 16 + rows.side as usize * 4 + event as usize;
    let index = row * 16 + (state & 0xf) as usize;
    // The compiler would drop a mask that it knows to be needless; kernel 6.1 needs it.
    NEXT[black_box(index) & 0x1ff]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a conversation: `>` from the client, `<` from the backend; the states it goes through.
    fn life(steps: &[(char, u8)]) -> std::vec::Vec<&'static str> {
        life_in(false, steps)
    }

    fn life_in(is_secure: bool, steps: &[(char, u8)]) -> std::vec::Vec<&'static str> {
        let mut state = NONE;
        let step = |&(from, bits): &(char, u8)| {
            let side = if from == '>' { Side::Input } else { Side::Output };
            state = next(Rows { side, is_secure }, event(bits), state);
            NAMES[state as usize]
        };
        steps.iter().map(step).collect()
    }

    const SYN: u8 = flags::SYN;
    const ACK: u8 = flags::ACK;
    const FIN: u8 = flags::FIN | flags::ACK;
    const RST: u8 = flags::RST;

    #[test]
    fn the_client_closes_first() {
        let seen = life(&[('>', SYN), ('<', SYN | ACK), ('>', ACK), ('>', FIN), ('<', FIN), ('>', ACK)]);
        assert_eq!(seen, ["SYN_RECV", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT", "TIME_WAIT"]);
    }

    #[test]
    fn the_backend_closes_first() {
        let seen = life(&[('>', SYN), ('<', SYN | ACK), ('>', ACK), ('<', FIN), ('>', FIN)]);
        assert_eq!(seen[3..], ["FIN_WAIT", "TIME_WAIT"]);
    }

    #[test]
    fn the_backend_refuses() {
        assert_eq!(life(&[('>', SYN), ('<', RST | ACK)]), ["SYN_RECV", "CLOSE"]);
    }

    #[test]
    fn a_blind_reset_does_not_close_a_half_open_connection() {
        assert_eq!(life(&[('>', SYN), ('>', RST)]), ["SYN_RECV", "SYN_RECV"]);
    }

    #[test]
    fn where_replies_are_not_seen_the_client_s_fin_waits() {
        let mut state = NONE;
        let seen = [SYN, ACK, FIN, ACK].map(|bits| {
            state = next(Rows { side: Side::InputOnly, is_secure: false }, event(bits), state);
            NAMES[state as usize]
        });
        assert_eq!(seen, ["SYN_RECV", "ESTABLISHED", "FIN_WAIT", "FIN_WAIT"]);
    }

    #[test]
    fn in_the_strict_table_only_the_backend_establishes() {
        let seen = life_in(true, &[('>', SYN), ('<', SYN | ACK), ('>', ACK), ('<', ACK), ('>', ACK)]);
        assert_eq!(seen, ["SYN_RECV", "SYNACK", "SYNACK", "ESTABLISHED", "ESTABLISHED"]);
    }

    #[test]
    fn a_packet_without_flags_closes() {
        assert_eq!(life(&[('>', SYN), ('>', ACK), ('>', 0)])[2], "CLOSE");
    }
}
