//! Least connections, whatever the weight.

use super::{
    lightest::{Weigh, lightest},
    overhead,
};
use crate::Tables;
use lb_common::{
    backend::{Backend, Member},
    service::Service,
};

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    lightest(tables, service, Lc)
}

#[derive(Clone, Copy)]
struct Lc;

impl Weigh for Lc {
    #[inline(always)]
    fn load(self, backend: &Backend) -> u64 {
        overhead(backend)
    }

    #[inline(always)]
    fn weight(self, _member: &Member) -> u32 {
        1
    }
}
