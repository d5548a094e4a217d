//! `-L`: services, connections, timeouts.

use super::{
    exclusions::Part,
    failure::{Failure, refusal},
    request::Request,
};
use crate::{
    report::{self, Names, connections::Rows, order::Key},
    snapshot::Snapshot,
    store::{Store, Timeouts, now},
};
use std::io::Write;

/// Writes what is asked for.
pub fn write(out: &mut impl Write, store: &Store, request: &Request) -> Result<(), Failure> {
    use Part::{Connection, Daemon, PersistentConn, Rate, Stats, Thresholds, Timeout};
    let given = request.given;
    if given.any(&[Connection, Timeout, Daemon]) && given.any(&[Stats, Rate, Thresholds])
        || given.any(&[Timeout, Daemon]) && given.has(PersistentConn)
    {
        return Err(Failure::usage("options conflicts in the list command"));
    }
    let names = Names::new(given.has(Part::Numeric));
    if given.has(Connection) {
        let mut rows = Rows::start(out, names, now(), given.has(PersistentConn))?;
        store.each_connection(|connection| rows.write(connection))?;
    } else if given.has(Timeout) {
        let Timeouts { tcp, tcpfin, udp } = store.timeouts();
        writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcpfin} {udp}")?;
    } else if given.has(Daemon) {
        // There is none to show.
    } else {
        services(out, store, request, names)?;
    }
    Ok(())
}

fn services(out: &mut impl Write, store: &Store, request: &Request, mut names: Names) -> Result<(), Failure> {
    let Request { given, service, .. } = request;
    let only = service.name.map(|name| name.key());
    let mut snapshot = Snapshot::read(store, only.as_ref()).map_err(Failure::unlisted)?;
    if only.is_none() {
        report::heading(out, store.size())?;
    } else if snapshot.services.is_empty() {
        return Err(Failure::unlisted(refusal::NO_SERVICE));
    }
    if given.has(Part::Nosort) { Key::None } else { Key::Address }.sort(&mut snapshot);
    Ok(request.view().write(out, &snapshot, &mut names, given.has(Part::Exact))?)
}
