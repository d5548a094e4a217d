//! Destination hashing: 256 buckets over the address that the client wants. The members fill them
//! in turn, whatever their weights.

use super::{fold, looked_up, sh::hash, usable};
use crate::{Tables, packet::Flow};
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    usable(looked_up(tables, service, hash(fold(flow.destination))))
}
