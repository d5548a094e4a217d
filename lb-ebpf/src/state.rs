//! What a packet does to its connection, one file for each protocol.

pub mod tcp;
