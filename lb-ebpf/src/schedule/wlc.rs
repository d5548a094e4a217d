//! Weighted least connections: the least overhead for the weight.

use super::{lightest, overhead};
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    lightest(tables, service, overhead)
}
