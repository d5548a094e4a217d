//! Frames, written field by field, with checksums summed from scratch: nothing of the packet path
//! helps, so that its incremental updates are compared with something else.

use std::net::{IpAddr, SocketAddr};

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Payload {
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
        data: Vec<u8>,
    },
    /// The first chunk's kind, and what it carries.
    Sctp {
        source: u16,
        destination: u16,
        kind: u8,
        data: Vec<u8>,
    },
    Udp {
        source: u16,
        destination: u16,
        data: Vec<u8>,
    },
    Icmp {
        kind: u8,
        code: u8,
        detail: u32,
        quote: Vec<u8>,
    },
    Other(u8, Vec<u8>),
}

/// What the sender has put where the transport checksum belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Full,
    /// The bare sum of the pseudo-header.
    Partial,
    Absent,
}

/// A packet and its frame.
#[derive(Clone, Debug)]
pub struct Packet {
    pub link: [[u8; 6]; 2],
    pub tags: Vec<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub service: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    /// Offset in units of eight bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    pub options: Vec<u8>,
    /// Options of TCP, a multiple of four bytes.
    pub tcp_options: Vec<u8>,
    /// IPv6 extension headers: kind and bytes, the first of which is filled in.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub checksum: Checksum,
    pub payload: Payload,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A packet between two addresses, with a TTL of 64 and no link addresses yet.
pub fn packet(source: IpAddr, destination: IpAddr, payload: Payload) -> Packet {
    Packet {
        link: [[0; 6]; 2],
        tags: Vec::new(),
        source,
        destination,
        ttl: 64,
        service: 0,
        identification: 0x1234,
        dont_fragment: false,
        fragment: None,
        options: Vec::new(),
        tcp_options: Vec::new(),
        extensions: Vec::new(),
        checksum: Checksum::Full,
        payload,
    }
}

/// A TCP segment.
pub fn tcp(from: &str, to: &str, flags: u8) -> Packet {
    let (from, to) = (address(from), address(to));
    let data = b"an odd number of bytes.".to_vec();
    packet(from.ip(), to.ip(), Payload::Tcp { source: from.port(), destination: to.port(), flags, data })
}

/// A UDP datagram.
pub fn udp(from: &str, to: &str) -> Packet {
    let (from, to) = (address(from), address(to));
    let data = b"question".to_vec();
    packet(from.ip(), to.ip(), Payload::Udp { source: from.port(), destination: to.port(), data })
}

/// An SCTP packet with one chunk.
pub fn sctp(from: &str, to: &str, kind: u8) -> Packet {
    let (from, to) = (address(from), address(to));
    let data = b"cookies".to_vec();
    packet(from.ip(), to.ip(), Payload::Sctp { source: from.port(), destination: to.port(), kind, data })
}

/// An ICMP or ICMPv6 message; the ports are not looked at.
pub fn icmp(from: &str, to: &str, kind: u8, code: u8, detail: u32, quote: Vec<u8>) -> Packet {
    packet(address(from).ip(), address(to).ip(), Payload::Icmp { kind, code, detail, quote })
}

impl Packet {
    pub fn link(mut self, destination: [u8; 6], source: [u8; 6]) -> Self {
        self.link = [destination, source];
        self
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    pub fn tag(mut self, kind: u16) -> Self {
        self.tags.push(kind);
        self
    }

    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    pub fn extension(mut self, kind: u8, length: usize) -> Self {
        let mut bytes = vec![0; length];
        bytes[1] = (length / 8 - 1) as u8;
        self.extensions.push((kind, bytes));
        self
    }

    /// IPv4 options, a multiple of four bytes.
    pub fn options(mut self, bytes: &[u8]) -> Self {
        self.options = bytes.to_vec();
        self
    }

    /// Options of TCP, a multiple of four bytes.
    pub fn tcp_options(mut self, bytes: &[u8]) -> Self {
        self.tcp_options = bytes.to_vec();
        self
    }

    pub fn data(mut self, bytes: Vec<u8>) -> Self {
        match &mut self.payload {
            Payload::Tcp { data, .. } | Payload::Udp { data, .. } | Payload::Sctp { data, .. } => {
                *data = bytes
            }
            Payload::Icmp { quote, .. } => *quote = bytes,
            Payload::Other(_, data) => *data = bytes,
        }
        self
    }

    fn protocol(&self) -> u8 {
        match self.payload {
            Payload::Tcp { .. } => 6,
            Payload::Udp { .. } => 17,
            Payload::Sctp { .. } => 132,
            Payload::Icmp { .. } if self.source.is_ipv4() => 1,
            Payload::Icmp { .. } => 58,
            Payload::Other(protocol, _) => protocol,
        }
    }

    /// Header and data, from the transport header on.
    pub fn transport(&self) -> Vec<u8> {
        let (mut bytes, place) = match &self.payload {
            Payload::Tcp { source, destination, flags, data } => {
                let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                let length = 0x50 + (self.tcp_options.len() / 4 * 16) as u8;
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, length, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                bytes.extend(&self.tcp_options);
                bytes.extend(data);
                (bytes, 16)
            }
            Payload::Udp { source, destination, data } => {
                let length = 8 + data.len() as u16;
                let mut bytes =
                    [source.to_be_bytes(), destination.to_be_bytes(), length.to_be_bytes(), [0; 2]].concat();
                bytes.extend(data);
                (bytes, 6)
            }
            Payload::Icmp { kind, code, detail, quote } => {
                let mut bytes = vec![*kind, *code, 0, 0];
                bytes.extend(detail.to_be_bytes());
                bytes.extend(quote);
                (bytes, 2)
            }
            Payload::Sctp { source, destination, kind, data } => {
                let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                bytes.extend([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, *kind, 0]);
                bytes.extend((4 + data.len() as u16).to_be_bytes());
                bytes.extend(data);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                // The sender leaves the whole of it open.
                if self.checksum == Checksum::Full {
                    let sum = crc32c(&bytes).to_le_bytes();
                    bytes[8..12].copy_from_slice(&sum);
                }
                return bytes;
            }
            Payload::Other(_, bytes) => return bytes.clone(),
        };
        let mut covered = Vec::new();
        if self.protocol() != 1 {
            match (self.source, self.destination) {
                (IpAddr::V4(a), IpAddr::V4(b)) => covered.extend([a.octets(), b.octets()].concat()),
                (IpAddr::V6(a), IpAddr::V6(b)) => covered.extend([a.octets(), b.octets()].concat()),
                _ => panic!("two families in one packet"),
            }
            covered.extend((bytes.len() as u32).to_be_bytes());
            covered.extend([0, 0, 0, self.protocol()]);
        }
        let sum = match self.checksum {
            Checksum::Absent => return bytes,
            Checksum::Partial => sum(&covered),
            Checksum::Full => {
                covered.extend(&bytes);
                match !sum(&covered) {
                    0 if self.protocol() == 17 => 0xffff,
                    sum => sum,
                }
            }
        };
        bytes[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The IP packet, without the frame.
    pub fn packet(&self) -> Vec<u8> {
        let transport = self.transport();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let words = 5 + self.options.len() / 4;
                let length = (words * 4 + transport.len()) as u16;
                let (offset, more) = self.fragment.unwrap_or_default();
                let fragment = offset | u16::from(more) << 13 | u16::from(self.dont_fragment) << 14;
                let mut bytes = vec![0x40 | words as u8, self.service];
                bytes.extend([length, self.identification, fragment].map(u16::to_be_bytes).concat());
                bytes.extend([self.ttl, self.protocol(), 0, 0]);
                bytes.extend([source.octets(), destination.octets()].concat());
                bytes.extend(&self.options);
                let sum = !sum(&bytes);
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
                bytes.extend(transport);
                bytes
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut extensions = self.extensions.clone();
                if let Some((offset, more)) = self.fragment {
                    let field = offset << 3 | u16::from(more);
                    let id = u32::from(self.identification).to_be_bytes();
                    extensions.push((44, [&[0, 0], &field.to_be_bytes()[..], &id].concat()));
                }
                let kinds: Vec<u8> =
                    extensions.iter().map(|(kind, _)| *kind).chain([self.protocol()]).collect();
                let length: usize = extensions.iter().map(|(_, bytes)| bytes.len()).sum();
                let mut bytes = vec![0x60 | self.service >> 4, self.service << 4, 0, 0];
                bytes.extend(((length + transport.len()) as u16).to_be_bytes());
                bytes.extend([kinds[0], self.ttl]);
                bytes.extend([source.octets(), destination.octets()].concat());
                for (index, (_, extension)) in extensions.iter().enumerate() {
                    bytes.push(kinds[index + 1]);
                    bytes.extend(&extension[1..]);
                }
                bytes.extend(transport);
                bytes
            }
            _ => panic!("two families in one packet"),
        }
    }

    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = self.link.concat();
        for tag in &self.tags {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0, 7]);
        }
        let kind: u16 = if self.source.is_ipv4() { 0x0800 } else { 0x86dd };
        bytes.extend(kind.to_be_bytes());
        bytes.extend(self.packet());
        bytes
    }
}

/// Bit by bit (RFC 9260 appendix A).
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !sum
}

pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
