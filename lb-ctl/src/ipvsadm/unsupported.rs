//! What can be asked for and the packet path does not do yet. It is refused rather than listed and
//! not done; a row goes when the packet path has it.

use super::failure::Failure;
use crate::store::Schedule;
use lb_common::service::engine;

/// Whether a service needs what there is not, and what to say then.
type Row = (fn(&Schedule) -> bool, &'static str);

const SERVICES: [Row; 3] = [
    (|schedule| schedule.engine.is_some_and(|engine| engine != engine::NONE), "--pe"),
    (|schedule| schedule.persistence.is_some_and(|seconds| seconds != 0), "-p (persistence)"),
    (|schedule| schedule.one_packet == Some(true), "-o (one-packet scheduling)"),
];

/// Refuses a service that packets would not get.
pub fn check_service(schedule: &Schedule) -> Result<(), Failure> {
    match SERVICES.iter().find(|(needs, _)| needs(schedule)) {
        Some((_, what)) => refuse(what),
        None => Ok(()),
    }
}

fn refuse(what: &str) -> Result<(), Failure> {
    // The tests of the listings put such services in; a release has no way to.
    if cfg!(debug_assertions) && std::env::var_os("LB_TEST_UNSUPPORTED").is_some() {
        return Ok(());
    }
    Err(Failure::refused(format!("{what} is not there yet in this version of lb-ctl")))
}
