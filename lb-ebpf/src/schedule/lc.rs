//! Least connections, whatever the weight.

use super::{Lightest, available, member, overhead};
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let mut best = Lightest::none();
    tables.each(service.count, |position| {
        let Some(member) = member(tables, service, position) else { return false };
        if let Some(backend) = available(tables, member) {
            best.offer(position, 1, overhead(backend));
        }
        true
    });
    best.position()
}
