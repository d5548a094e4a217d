//! Never queue: the first idle member, whatever its weight; when all are busy, as `sed`.

use super::{
    lightest::{Weigh, lightest},
    sed::delay,
};
use crate::Tables;
use lb_common::{backend::Backend, service::Service};

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    lightest(tables, service, Nq)
}

#[derive(Clone, Copy)]
struct Nq;

impl Weigh for Nq {
    /// Of no load at all, an idle member is lighter than any other of any weight, and the first stays.
    #[inline(always)]
    fn load(self, backend: &Backend) -> u64 {
        if backend.active() == 0 { 0 } else { delay(backend) }
    }
}
