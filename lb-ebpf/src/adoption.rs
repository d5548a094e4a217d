//! Taking over a connection that another balancer has held.

use crate::{
    Reason, Steps,
    connection::{count, weight_of},
    index,
    open::{Choice, how},
    packet::{Flow, Packet},
};
use lb_common::{
    adoption::Adoption,
    connection::{state, with_state},
};

/// Makes the connection and puts it into its state; one that is there already stays as it is.
/// `packet` is room for the packet that would have opened it.
#[inline(always)]
pub fn adopt<T: Steps>(tables: &T, adoption: &Adoption, packet: &mut Packet) -> Result<(), Reason> {
    packet.flow = Flow {
        source: adoption.client,
        destination: adoption.service,
        source_port: adoption.client_port,
        destination_port: adoption.service_port,
        protocol: adoption.protocol as u32,
    };
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let hash = index::hash(&packet.flow, settings);
    if index::find(tables, &packet.flow, hash).is_some() {
        return Ok(());
    }
    let choice = Choice { member: adoption.member, how: how::ADOPTED, ..Choice::default() };
    match tables.create(packet, choice) {
        // A packet of the client was faster.
        Ok(_) | Err(Reason::Raced) => {}
        Err(reason) => return Err(reason),
    }
    let found = index::find(tables, &packet.flow, hash).ok_or(Reason::Raced)?;
    let new = if (adoption.state as usize) < state::NAMES.len() { adoption.state } else { state::NONE };
    // A packet of the client may have been faster; then it knows better.
    if tables.compare_exchange(&mut found.connection.word, found.word, with_state(found.word, new)).is_ok() {
        found.connection.expires = tables.now().wrapping_add(adoption.ticks);
        let change = weight_of(new).wrapping_sub(weight_of(found.word as u8));
        if let Some(backend) = tables.backend(found.connection.backend_index) {
            count(tables, backend, change);
        }
    }
    Ok(())
}
