//! What a packet does to its connection, one file for each protocol.

pub mod sctp;
pub mod tcp;

/// Which rows of the table a packet moves in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client, where replies are seen too.
    Input = 0,
    /// From the backend.
    Output = 1,
    /// From the client, where replies are not seen (direct routing, tunnels).
    InputOnly = 2,
}
