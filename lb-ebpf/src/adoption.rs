//! Taking over a connection that another balancer has held.

use crate::{
    Reason, Steps,
    connection::{count, weight_of},
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
    if tables.is_known(packet) {
        return Ok(());
    }
    let choice = Choice { member: adoption.member, how: how::ADOPTED, ..Choice::default() };
    let slot = match tables.create(packet, choice) {
        Ok(slot) => slot,
        // A packet of the client was faster, and knows better.
        Err(Reason::Raced) => return Ok(()),
        Err(reason) => return Err(reason),
    };
    let connection = tables.connection(slot).ok_or(Reason::Raced)?;
    let word = connection.word;
    let new = if (adoption.state as usize) < state::NAMES.len() { adoption.state } else { state::NONE };
    // Or has moved it on meanwhile.
    if state::is_connection(word)
        && tables.compare_exchange(&mut connection.word, word, with_state(word, new)).is_ok()
    {
        connection.expires = tables.now().wrapping_add(adoption.ticks);
        let change = weight_of(new).wrapping_sub(weight_of(word as u8));
        if let Some(backend) = tables.backend(connection.backend_index) {
            count(tables, backend, change);
        }
    }
    Ok(())
}
