//! Weighted least connections: the least overhead for the weight.

use super::{
    lightest::{Weigh, lightest},
    overhead,
};
use crate::Tables;
use lb_common::{backend::Backend, service::Service};

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    lightest(tables, service, Wlc)
}

#[derive(Clone, Copy)]
struct Wlc;

impl Weigh for Wlc {
    #[inline(always)]
    fn load(self, backend: &Backend) -> u64 {
        overhead(backend)
    }
}
