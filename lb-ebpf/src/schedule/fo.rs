//! Weighted failover: the heaviest member that is available gets everything.

use super::weight;
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let (mut heaviest, mut found) = (0, 0);
    tables.each(service.count, |position| {
        let weight = weight(tables, service, position);
        if weight > heaviest {
            (heaviest, found) = (weight, position);
        }
        true
    });
    if heaviest == 0 { None } else { Some(found) }
}
