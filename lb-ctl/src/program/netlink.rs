//! Netlink, as far as questions about interfaces and IPVS need it: dumps, and attributes.

use anyhow::{Context as _, Result};
use netlink_packet_core::{
    DecodeError, NLA_ALIGNTO, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlaBuffer,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use std::collections::HashMap;

/// A message whose body is left as bytes: the kernel's headers differ by family.
#[derive(Debug, Clone)]
struct Raw {
    kind: u16,
    body: Vec<u8>,
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.body.len()].copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { kind: header.message_type, body: payload.to_vec() })
    }
}

/// Asks for everything of a kind; the bodies of the answers.
pub fn dump(protocol: isize, kind: u16, body: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    ask(protocol, kind, NLM_F_REQUEST | NLM_F_DUMP, body)
}

/// Asks for one thing; the body of the answer.
pub fn get(protocol: isize, kind: u16, body: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    ask(protocol, kind, NLM_F_REQUEST, body)
}

/// Length of a `genlmsghdr`: command, version, two reserved bytes.
const GENERIC_HEADER: usize = 4;

/// The number of a family of generic netlink; `None` where this kernel has none of that name.
pub fn generic_family(name: &str) -> Option<u16> {
    const GENL_ID_CTRL: u16 = 0x10;
    const CTRL_CMD_GETFAMILY: u8 = 3;
    const CTRL_ATTR_FAMILY_ID: u16 = 1;
    const CTRL_ATTR_FAMILY_NAME: u16 = 2;

    let question = attribute(CTRL_ATTR_FAMILY_NAME, format!("{name}\0").as_bytes());
    let answers = generic_get(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, question).ok()?;
    Some(u16::from_ne_bytes(bytes(attributes(answers.first()?).get(&CTRL_ATTR_FAMILY_ID)?)?))
}

/// Asks a family for everything of a kind; the attributes of the answers.
pub fn generic_dump(family: u16, command: u8, attributes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    generic(NLM_F_REQUEST | NLM_F_DUMP, family, command, attributes)
}

/// Asks a family for one thing; the attributes of the answer.
pub fn generic_get(family: u16, command: u8, attributes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    generic(NLM_F_REQUEST, family, command, attributes)
}

fn generic(flags: u16, family: u16, command: u8, attributes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let mut body = vec![command, 1, 0, 0];
    body.extend(attributes);
    let answers = ask(NETLINK_GENERIC, family, flags, body)?;
    Ok(answers.iter().map(|answer| answer.get(GENERIC_HEADER..).unwrap_or_default().to_vec()).collect())
}

/// Has the kernel do something.
pub fn acknowledged(protocol: isize, kind: u16, body: Vec<u8>) -> Result<()> {
    ask(protocol, kind, NLM_F_REQUEST | NLM_F_ACK, body).map(drop)
}

fn ask(protocol: isize, kind: u16, flags: u16, body: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(protocol).context("cannot open a netlink socket")?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;

    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(Raw { kind, body }));
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<Raw>::deserialize(rest)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io().into()),
                NetlinkPayload::InnerMessage(raw) => answers.push(raw.body),
                _ => {}
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        if flags & NLM_F_DUMP != NLM_F_DUMP {
            return Ok(answers);
        }
    }
}

impl From<Raw> for NetlinkPayload<Raw> {
    fn from(raw: Raw) -> Self {
        Self::InnerMessage(raw)
    }
}

/// The attributes in `bytes` by number; of several with the same number, the last.
pub fn attributes(mut rest: &[u8]) -> HashMap<u16, &[u8]> {
    let mut found = HashMap::new();
    while let Ok(attribute) = NlaBuffer::new_checked(rest) {
        let length = usize::from(attribute.length());
        found.insert(attribute.kind(), &rest[NLA_HEADER_SIZE..length]);
        rest = rest.get(length.next_multiple_of(NLA_ALIGNTO)..).unwrap_or_default();
    }
    found
}

/// An attribute with its header and padding.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((NLA_HEADER_SIZE + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(NLA_ALIGNTO), 0);
    bytes
}

/// The text of a string attribute, which ends with a zero byte.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// The first `N` bytes of an attribute.
pub fn bytes<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_back_as_written() {
        let mut written = attribute(2, b"netdev\0");
        written.extend(attribute(3, &7u64.to_ne_bytes()));
        let read = attributes(&written);
        assert_eq!(text(read[&2]), "netdev");
        assert_eq!(bytes(read[&3]).map(u64::from_ne_bytes), Some(7));
    }
}
