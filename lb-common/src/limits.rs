//! How much there can be of everything.

/// Services at the same time.
pub const SERVICES: u32 = 10_000;
/// Slots for service records: every service, and as many that one change publishes. A power of two
/// well above twice [`SERVICES`], so that the slot of a replaced record rests before it is used again.
pub const SERVICE_SLOTS: u32 = 32_768;
/// Entries of the map of services: two sets of them.
pub const SERVICE_KEYS: u32 = 2 * SERVICES;
/// Backends at the same time, over all services, including removed ones that still have connections.
pub const BACKENDS: u32 = 65_536;
/// Backends of one service.
pub const BACKENDS_PER_SERVICE: u32 = 4_096;
/// Entries of all member lists: every backend once, as often again while lists are replaced, and
/// room for the holes between them.
pub const MEMBERS: u32 = 4 * BACKENDS;
/// Entries of all lookup tables of `dh`, `sh` (256 each) and `mh` (4,093 each): 16 MiB.
pub const LOOKUP: u32 = 1 << 22;
/// Connections, unless `load --max-connections` says otherwise.
pub const CONNECTIONS: u32 = 1 << 20;
/// The most that `load --max-connections` takes: a slot number and its direction fit in 32 bits.
pub const CONNECTIONS_MAX: u32 = 1 << 27;
/// The least that `load --max-connections` takes.
pub const CONNECTIONS_MIN: u32 = 16;
/// Fragmented packets whose ports are remembered at the same time.
pub const FRAGMENTS: u32 = 16_384;
/// Interfaces that `load` has described.
pub const DEVICES: u32 = 4_096;
/// Destinations that `lblc` and `lblcr` remember.
pub const CACHE: u32 = 16_384;
/// The highest weight of a backend, as in Debian's ipvsadm 1.31 (65,535 upstream).
pub const WEIGHT: u32 = i32::MAX as u32;
/// Pages of ports ([`crate::snat::Ports`]) that full NAT has in use: one for each address of a backend and
/// 4,096 connections. A page takes 600 bytes, once it is needed.
pub const PORT_PAGES: u32 = 1 << 16;
/// Rules of firewall marks, in two generations.
pub const MARK_RULES: u32 = 1 << 15;
/// Prefixes that they make, in two generations.
pub const MARK_PREFIXES: u32 = 1 << 18;
/// Ranges of ports that they make, in two generations.
pub const MARK_RANGES: u32 = 1 << 17;
/// Pairs of interface and protocol that they name, in two generations.
pub const MARK_CLASSES: u32 = 4_096;
