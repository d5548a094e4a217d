//! What was typed about the server.

use super::{
    exclusions::{Given, Part},
    failure::Failure,
};
use lb_common::{backend::method, tunnel::Tunnel};
use std::net::{IpAddr, Ipv4Addr};

/// A server as it was typed.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// Its port, host order.
    pub port: u16,
    /// A [`method`].
    pub method: u32,
    /// For a tunnel.
    pub tunnel: Tunnel,
    /// `-w`.
    pub weight: u32,
    /// `-x`.
    pub upper: u32,
    /// `-y`.
    pub lower: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            method: method::ROUTE,
            tunnel: Tunnel::default(),
            weight: 1,
            upper: 0,
            lower: 0,
        }
    }
}

impl Server {
    /// Takes a forwarding method.
    pub fn forward(&mut self, given: &mut Given, method: u32) -> Result<(), Failure> {
        given.note(Part::Forward)?;
        self.method = method;
        Ok(())
    }
}
