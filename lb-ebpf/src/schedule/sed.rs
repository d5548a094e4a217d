//! Shortest expected delay: the least active connections for the weight, the new one included.

use super::lightest::{self, Weigh};
use crate::Steps;
use lb_common::{backend::Backend, service::Service};

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    lightest::choose(tables, service, Weigh::DelayForWeight)
}

/// What the new connection would wait for.
#[inline(always)]
pub(super) fn delay(backend: &Backend) -> u64 {
    u64::from(backend.active()) + 1
}
