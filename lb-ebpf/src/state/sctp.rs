//! IPVS's SCTP state machine (`net/netfilter/ipvs/ip_vs_proto_sctp.c`).

use super::Side;
use crate::wire::sctp::kind;
use core::hint::black_box;
use lb_common::connection::state;

/// What a packet's first chunk stands for.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Data, acknowledgements, heartbeats and all that is unknown.
    Data = 0,
    /// INIT.
    Init = 1,
    /// INIT ACK.
    InitAck = 2,
    /// COOKIE ECHO.
    CookieEcho = 3,
    /// COOKIE ACK.
    CookieAck = 4,
    /// SHUTDOWN.
    Shutdown = 5,
    /// SHUTDOWN ACK.
    ShutdownAck = 6,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete = 7,
    /// ERROR.
    Error = 8,
    /// ABORT.
    Abort = 9,
}

/// The event of a kind of chunk.
#[inline(always)]
pub fn event(kind: u8) -> u8 {
    let event = match kind {
        kind::INIT => Event::Init,
        kind::INIT_ACK => Event::InitAck,
        kind::COOKIE_ECHO => Event::CookieEcho,
        kind::COOKIE_ACK => Event::CookieAck,
        kind::SHUTDOWN => Event::Shutdown,
        kind::SHUTDOWN_ACK => Event::ShutdownAck,
        kind::SHUTDOWN_COMPLETE => Event::ShutdownComplete,
        kind::ERROR => Event::Error,
        kind::ABORT => Event::Abort,
        _ => Event::Data,
    };
    event as u8
}

const I1: u8 = 1;
const IN: u8 = 2;
const CS: u8 = 3;
const CR: u8 = 4;
const CW: u8 = 5;
const CO: u8 = 6;
const CE: u8 = 7;
const ES: u8 = 8;
const SS: u8 = 9;
const SR: u8 = 10;
const SA: u8 = 11;
const RJ: u8 = 12;
const CL: u8 = 13;

/// By side and event, a column for each state; padded to a power of two, so that an index can be
/// masked instead of checked.
#[rustfmt::skip]
static NEXT: [u8; 512] = {
    let rows: [[u8; 14]; 30] = [
        // --  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
        // Input
        [  ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // data
        [  I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN ], // init
        [  CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL ], // init ack
        [  CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // cookie echo
        [  ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL ], // cookie ack
        [  SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL ], // shutdown
        [  CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL ], // shutdown ack
        [  CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL ], // shutdown complete
        [  CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL ], // error
        [  CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL ], // abort
        // Output
        [  ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // data
        [  CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW ], // init
        [  CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // init ack
        [  CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL ], // cookie echo
        [  ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL ], // cookie ack
        [  SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL ], // shutdown
        [  SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL ], // shutdown ack
        [  CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // shutdown complete
        [  CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // error
        [  CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL ], // abort
        // InputOnly
        [  ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL ], // data
        [  I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN ], // init
        [  CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL ], // init ack
        [  ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL ], // cookie echo
        [  ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL ], // cookie ack
        [  SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL ], // shutdown
        [  CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL ], // shutdown ack
        [  CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL ], // shutdown complete
        [  CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ], // error
        [  CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL ], // abort
    ];
    let mut flat = [CL; 512];
    let mut row = 0;
    while row < 30 {
        let mut column = 0;
        while column < 14 {
            flat[row * 16 + column] = rows[row][column];
            column += 1;
        }
        row += 1;
    }
    flat
};

/// The state after `event` in `current`, both ways as [`state`] numbers them.
#[inline(always)]
pub fn next(side: Side, event: u8, current: u8) -> u8 {
    let row = side as usize * 10 + (event & 0xf) as usize;
    let index = row * 16 + (current & 0xf) as usize;
    // As in `tcp::next`.
    state::SCTP + NEXT[black_box(index) & 0x1ff]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sctp::kind::*;

    /// Runs a conversation: `>` from the client, `<` from the backend; the states it goes through.
    fn life(steps: &[(char, u8)]) -> std::vec::Vec<&'static str> {
        let mut current = state::SCTP;
        let step = |&(from, kind): &(char, u8)| {
            let side = match from {
                '>' => Side::Input,
                '<' => Side::Output,
                _ => Side::InputOnly,
            };
            current = next(side, event(kind), current);
            state::NAMES[current as usize]
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn a_client_s_association_from_start_to_end() {
        let setup = [('>', INIT), ('<', INIT_ACK), ('>', COOKIE_ECHO), ('<', COOKIE_ACK), ('>', DATA)];
        assert_eq!(life(&setup), ["INIT1", "C-SENT", "C-REPLIED", "ESTABLISHED", "ESTABLISHED"]);
        let mut whole = setup.to_vec();
        whole.extend([('>', SHUTDOWN), ('<', SHUTDOWN_ACK), ('>', SHUTDOWN_COMPLETE)]);
        assert_eq!(life(&whole)[5..], ["S-RECEIVED", "S-ACK-SENT", "CLOSED"]);
    }

    #[test]
    fn where_replies_are_not_seen_the_cookie_establishes() {
        let seen =
            life(&[('-', INIT), ('-', COOKIE_ECHO), ('-', DATA), ('-', SHUTDOWN), ('-', SHUTDOWN_COMPLETE)]);
        assert_eq!(seen, ["INIT1", "ESTABLISHED", "ESTABLISHED", "S-RECEIVED", "CLOSED"]);
    }

    #[test]
    fn a_refused_initiation_is_rejected() {
        assert_eq!(life(&[('>', INIT), ('<', ABORT)]), ["INIT1", "REJECTED"]);
    }
}
