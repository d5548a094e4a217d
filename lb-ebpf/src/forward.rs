//! How a packet reaches its backend, and its reply the client: one file for each method.

pub mod nat;
