//! Shortest expected delay: the least active connections for the weight, the new one included.

use super::{lightest, weigh::Weigh};
use crate::Steps;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    lightest::choose(tables, service, Weigh::DELAY)
}
