//! Least connections, whatever the weight.

use super::{lightest, weigh::Weigh};
use crate::Steps;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    lightest::choose(tables, service, Weigh::OVERHEAD)
}
