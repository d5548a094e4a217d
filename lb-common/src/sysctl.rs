//! IPVS's sysctls (`Documentation/networking/ipvs-sysctl.rst`), with its names and defaults.

macro_rules! sysctls {
    ($($name:ident $text:literal $default:literal ..=$most:literal $words:literal,)*) => {
        /// A sysctl that changes what the balancer does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Sysctl {
            $(#[doc = $words] $name,)*
        }

        impl Sysctl {
            /// Every one, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name below `/proc/sys/net/ipv4/vs`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it does.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }

            /// Its value in a balancer that has just been loaded.
            pub const fn default(self) -> u32 {
                match self { $(Self::$name => $default,)* }
            }

            /// The highest value that it takes.
            pub const fn most(self) -> u32 {
                match self { $(Self::$name => $most,)* }
            }
        }
    };
}

sysctls! {
    ConnReuseMode "conn_reuse_mode" 1..=3 "a SYN in TIME_WAIT or CLOSE is scheduled anew (1), and in FIN_WAIT where no reply is seen (2)",
    ExpireNodestConn "expire_nodest_conn" 0..=1 "a connection ends with its next packet once its backend is removed",
    ExpireQuiescentTemplate "expire_quiescent_template" 0..=1 "a persistent client leaves a backend of weight 0",
    SloppyTcp "sloppy_tcp" 0..=1 "any TCP packet but RST opens a connection",
    SloppySctp "sloppy_sctp" 0..=1 "any SCTP packet opens a connection",
    NatIcmpSend "nat_icmp_send" 0..=1 "a server's packet without a connection is answered port unreachable",
    DropEntry "drop_entry" 0..=3 "half-open connections end early: 1, 2 while the table is nearly full, 3 always",
    DropPacket "drop_packet" 0..=3 "some new connections are dropped: 1, 2 while the table is nearly full, 3 always",
    SecureTcp "secure_tcp" 0..=3 "the strict table of TCP states: 1, 2 while the table is nearly full, 3 always",
    AmDroprate "am_droprate" 10..=1_000_000 "drop_packet drops one new connection in so many",
    Amemthresh "amemthresh" 1024..=16_777_216 "the table is nearly full below so many free pages of 32 slots, at most an eighth of it",
    RunEstimation "run_estimation" 1..=1 "rates are estimated; 0: they read 0",
    LblcExpiration "lblc_expiration" 86_400..=2_678_400 "seconds after which lblc forgets an unused destination",
    LblcrExpiration "lblcr_expiration" 86_400..=2_678_400 "seconds after which lblcr shrinks a destination's set",
    CacheBypass "cache_bypass" 0..=1 "what a firewall mark's service has no backend for goes where it was going",
    ScheduleIcmp "schedule_icmp" 0..=1 "an ICMP error about a service's connection that is not here opens it",
}

/// Room for the values in [`crate::settings::Settings`], those to come included.
pub const COUNT: usize = 32;

const _: () = assert!(Sysctl::ALL.len() <= COUNT);

/// The default of each.
pub const DEFAULTS: [u32; COUNT] = {
    let mut values = [0; COUNT];
    let mut number = 0;
    while number < Sysctl::ALL.len() {
        values[number] = Sysctl::ALL[number].default();
        number += 1;
    }
    values
};

const NO_SYNC: &str = "there is no synchronization with another balancer";
const ONE_TIMER: &str = "rates are estimated by one kernel timer, not by threads";

/// Sysctls of IPVS that change nothing here, and why.
pub const WITHOUT_EFFECT: [(&str, &str); 16] = [
    ("backup_only", NO_SYNC),
    ("conntrack", "XDP comes before netfilter: none of these connections is tracked there"),
    ("debug_level", "lb-ctl trace and lb-ctl counters say what happens"),
    ("est_cpulist", ONE_TIMER),
    ("est_nice", ONE_TIMER),
    ("ignore_tunneled", "only the outer header of a packet is looked at"),
    ("pmtu_disc", "what is larger than the MTU and must not be fragmented is always answered"),
    ("snat_reroute", "replies are always routed by their new source"),
    ("sync_persist_mode", NO_SYNC),
    ("sync_ports", NO_SYNC),
    ("sync_qlen_max", NO_SYNC),
    ("sync_refresh_period", NO_SYNC),
    ("sync_retries", NO_SYNC),
    ("sync_sock_size", NO_SYNC),
    ("sync_threshold", NO_SYNC),
    ("sync_version", NO_SYNC),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for (number, sysctl) in Sysctl::ALL.iter().enumerate() {
            assert_eq!(*sysctl as usize, number);
            assert!(sysctl.default() <= sysctl.most(), "{}", sysctl.name());
            assert!(WITHOUT_EFFECT.iter().all(|(name, _)| *name != sysctl.name()));
        }
    }
}
