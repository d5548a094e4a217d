//! Read-only globals, set at load. The verifier knows their values, so what they switch off costs
//! nothing.

use aya_ebpf::Global;

/// 1 in the instance that is attached in generic mode.
#[unsafe(no_mangle)]
pub static GENERIC: Global<u8> = Global::new(0);

/// 1 where packets with partial checksums may arrive.
#[unsafe(no_mangle)]
pub static PARTIAL: Global<u8> = Global::new(1);

/// 1 where packets without an Ethernet header may come in (tc).
#[unsafe(no_mangle)]
pub static BARE: Global<u8> = Global::new(0);

/// Buckets of the index less one.
#[unsafe(no_mangle)]
pub static INDEX_MASK: Global<u32> = Global::new(0);

/// Sets of hints of a CPU less one.
#[unsafe(no_mangle)]
pub static HINTS_MASK: Global<u32> = Global::new(0);

/// Nanoseconds of a jiffy, the kernel's own unit of time (1 / `CONFIG_HZ`).
#[unsafe(no_mangle)]
pub static JIFFY: Global<u32> = Global::new(4_000_000);

/// Slots of the connection table that a CPU sets aside at a time.
#[unsafe(no_mangle)]
pub static SPARE_SLOTS: Global<u32> = Global::new(1);

/// 1 while decisions are traced.
#[unsafe(no_mangle)]
pub static TRACE: Global<u8> = Global::new(0);

/// Trace only this client's connections; all zero for every client. Network order, IPv4 mapped.
#[unsafe(no_mangle)]
pub static TRACE_CLIENT: Global<[u8; 16]> = Global::new([0; 16]);

/// Trace only this service's packets; all zero for every service. Network order, IPv4 mapped.
#[unsafe(no_mangle)]
pub static TRACE_SERVICE: Global<[u8; 16]> = Global::new([0; 16]);

/// The port of that service, network order; 0 for every port.
#[unsafe(no_mangle)]
pub static TRACE_SERVICE_PORT: Global<u16> = Global::new(0);
