//! Not there yet: as `wlc`.

use super::{Request, wlc};
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, _request: &Request) -> Option<u32> {
    wlc::choose(tables, service)
}
