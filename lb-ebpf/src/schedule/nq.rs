//! Never queue: the first idle member, whatever its weight; when all are busy, as `sed`.

use super::{Lightest, available, member, sed::delay};
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let mut best = Lightest::none();
    tables.each(service.count, |position| {
        let Some(member) = member(tables, service, position) else { return false };
        let Some(backend) = available(tables, member) else { return true };
        if backend.active() == 0 {
            best = Lightest { position, weight: member.weight, load: 0 };
            return false;
        }
        best.offer(position, member.weight, delay(backend));
        true
    });
    best.position()
}
