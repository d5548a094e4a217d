//! Why a packet was passed or dropped: one numbered list for the data path, the counters and the
//! command line.

macro_rules! reasons {
    ($($name:ident $verdict:ident $words:literal,)*) => {
        /// Why a packet went where it went.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Contiguous)]
        pub enum Reason {
            $(#[doc = $words] $name,)*
        }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason of a number.
            #[inline(always)]
            pub fn from_number(number: u32) -> Option<Self> {
                if number < Self::ALL.len() as u32 { <Self as bytemuck::Contiguous>::from_integer(number as u8) } else { None }
            }

            /// The reason in words.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }

            /// What becomes of the packet.
            #[inline(always)]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)* }
            }
        }
    };
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Left to the kernel, unchanged.
    Pass,
    /// Rewritten, then left to the kernel, which forwards it.
    Kernel,
    /// Discarded.
    Drop,
    /// Sent out by XDP, on another interface or the same.
    Forward,
}

/// Counters in the map of reasons: room for those to come, so that an upgrade keeps the map.
pub const COUNTERS: usize = 64;

reasons! {
    NotIp Pass "not IP: left to the host",
    NotBalanced Pass "no service and no connection: left to the host",
    NotUnicast Pass "Ethernet broadcast or multicast: left to the host",
    NoServices Pass "no service is configured: left to the host",
    MidStream Pass "TCP without a connection and without SYN: left to the host, which answers RST",
    Bypassed Pass "no backend available for a firewall mark, and cache_bypass is set: left to the host, which routes it",
    IcmpToHost Pass "ICMP that is about no connection: left to the host",
    OtherMachine Pass "the frame is for another machine's MAC address: left to the host",
    TruncatedEthernet Pass "truncated Ethernet or VLAN header: left to the host",
    TruncatedIp Pass "truncated or malformed IP header: left to the host",
    TruncatedTransport Pass "truncated or malformed TCP, UDP, SCTP or ICMP header: left to the host",
    ExtensionHeaders Pass "IPv6 extension headers too long or too many to follow: left to the host",
    FragmentUnknown Pass "fragment whose first fragment was not seen: left to the host",
    ReplyTtlExpired Pass "reply whose TTL ends here: left to the host, which answers time exceeded",
    ReplyTooBig Pass "reply larger than the MTU towards the client: left to the host, which answers",
    DirectReply Pass "reply of a backend that answers by itself: left to the host",
    LocalBackend Pass "the backend is this host, or has no route: left to the host",
    Redirected Forward "forwarded to another interface",
    Transmitted Forward "forwarded out of the interface it came in by",
    KernelDevice Kernel "rewritten and left to the kernel: the interface cannot take redirected packets",
    KernelNeighbour Kernel "rewritten and left to the kernel: the next hop's MAC address is not known yet",
    KernelRoute Kernel "rewritten and left to the kernel: no plain route to the next hop",
    KernelVlan Kernel "rewritten and left to the kernel: the frame carries a VLAN tag",
    KernelFragment Kernel "rewritten and left to the kernel: larger than the MTU and may be fragmented",
    KernelChecksum Kernel "rewritten and left to the kernel: it completes the checksum of SCTP",
    KernelProbe Kernel "rewritten and left to the kernel: it checks whether the next hop is still there",
    NeighbourAsked Kernel "direct routing: lost, so that the kernel asks for the next hop's MAC address",
    IcmpError Forward "ICMP error about a connection, translated",
    IcmpErrorKernel Kernel "ICMP error about a connection, translated and left to the kernel",
    AnsweredUnreachable Forward "no backend available: answered port unreachable",
    AnsweredHostUnreachable Forward "the next hop does not answer: answered host unreachable",
    AnsweredUnasked Forward "from a server, without a connection, and nat_icmp_send is set: answered port unreachable",
    AnsweredTimeExceeded Forward "TTL ended here: answered time exceeded",
    AnsweredTooBig Forward "larger than the MTU: answered fragmentation needed",
    AnsweredKernel Kernel "answered with an ICMP error, which is left to the kernel to send",
    NoBackend Drop "no backend available",
    NeighbourSilent Drop "the next hop does not answer",
    Unasked Drop "from a server, without a connection, and nat_icmp_send is set",
    BackendRemoved Drop "the connection's backend has been removed",
    NoCall Drop "no Call-ID in a packet to a service with --pe sip",
    DropPacket Drop "a new connection, dropped because drop_packet says so",
    TableFull Drop "the connection table is full",
    PoolEmpty Drop "full NAT: the pool has no address of this family (lb-ctl snat-pool add)",
    PortsTaken Drop "full NAT: no port is left towards the backend (lb-ctl snat-pool add)",
    TtlExpired Drop "TTL ended here",
    IcmpTtlExpired Drop "TTL of an ICMP error ended here",
    TooBig Drop "larger than the MTU",
    RouteDevice Drop "direct routing: XDP cannot send by this interface or with a VLAN tag, and the kernel cannot route it",
    RouteFragment Drop "direct routing: larger than the MTU and may be fragmented, which XDP cannot do",
    TunnelSource Drop "tunnel: no address of this host is known for the outer header (once there is one: lb-ctl upgrade)",
    Unassociated Drop "SCTP for a service without an association and without INIT",
    AnswerLimited Drop "an ICMP answer was due but the limit per second was reached",
    RewriteFailed Drop "the packet ended before a field that had to be rewritten",
    Raced Drop "another CPU was changing the same connection",
    Unfinished Drop "the program for all but plain packets is not there: lb-ctl upgrade",
}

const _: () = assert!(Reason::ALL.len() <= COUNTERS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
    }
}
