//! Weighted overflow: the heaviest member until it has more active connections than its weight,
//! then the next heaviest. UDP flows are never active, so they never overflow.

use super::{available, member};
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let (mut heaviest, mut found) = (0, 0);
    tables.each(service.count, |position| {
        let Some(member) = member(tables, service, position) else { return false };
        let Some(backend) = available(tables, member) else { return true };
        if backend.active() <= member.weight && member.weight > heaviest {
            (heaviest, found) = (member.weight, position);
        }
        true
    });
    if heaviest == 0 { None } else { Some(found) }
}
