//! Shortest expected delay: the least active connections for the weight, the new one included.

use super::lightest::{Weigh, lightest};
use crate::Tables;
use lb_common::{backend::Backend, service::Service};

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    lightest(tables, service, Sed)
}

#[derive(Clone, Copy)]
struct Sed;

impl Weigh for Sed {
    #[inline(always)]
    fn load(self, backend: &Backend) -> u64 {
        delay(backend)
    }
}

/// What the new connection would wait for.
#[inline(always)]
pub(super) fn delay(backend: &Backend) -> u64 {
    u64::from(backend.active()) + 1
}
