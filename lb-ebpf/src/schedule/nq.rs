//! Never queue: the first idle member, whatever its weight; when all are busy, as `sed`.

use super::{lightest, weigh::Weigh};
use crate::Steps;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    lightest::choose(tables, service, Weigh::DELAY_UNLESS_IDLE)
}
