//! What the benchmarks measure with, and against.
//!
//! The kernel repeats a program on one buffer without restoring it, so a program that rewrites its packet would see its own
//! output the second time. `restore` writes the packet anew, changes its flow if asked, and calls the program
//! under test. `floor` in that place is the cost of all this. With `redirect` in that place and live frames
//! it is a generator of packets.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[path = "../kernel/bare.rs"]
mod bare;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        Global,
        bindings::{
            BPF_F_MMAPABLE,
            xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX},
        },
        btf_maps::Array,
        helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_redirect},
        macros::{btf_map, map, raw_tracepoint, xdp},
        maps::{PerCpuArray, ProgramArray},
        programs::{RawTracePointContext, XdpContext},
    };

    /// Words of the packet that are restored: 80 bytes.
    const WORDS: usize = 10;
    /// Offsets in a packet of TCP over IPv4, without options.
    const IPV4_CHECKSUM: usize = 24;
    const SOURCE_ADDRESS: usize = 28;
    const SOURCE_PORT: usize = 34;
    const TCP_CHECKSUM: usize = 50;
    /// In the data: how many flows came before this one, and the complement of that, so that checksums stay.
    const ORDER: usize = 56;

    /// The packet, and how its flow is changed.
    #[repr(C)]
    pub struct Pattern {
        pub packet: [u64; WORDS],
        /// Flows to rotate through, a power of two up to 2^22, of TCP over IPv4; 0 for one of any kind.
        pub flows: u32,
        /// Packets so far.
        pub count: u32,
        /// Sums of the IPv4 header and of what TCP's checksum covers, without the checksums, the first half of
        /// the source address and the source port.
        pub sums: [u32; 2],
    }

    #[btf_map]
    static PATTERN: Array<Pattern, 1> = Array::new();
    #[map]
    static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
    /// As many as a table of a million connections has; see `memory`.
    const INDEX_BITS: u32 = 20;
    /// Sizes are set by those who use them.
    #[btf_map]
    static INDEX: Array<[u64; 2], 1, { BPF_F_MMAPABLE as usize }> = Array::new();
    #[btf_map]
    static SLOTS: Array<[u64; 16], 1, { BPF_F_MMAPABLE as usize }> = Array::new();
    /// Where `redirect` sends.
    #[unsafe(no_mangle)]
    static EGRESS: Global<u32> = Global::new(0);

    #[xdp(frags)]
    pub fn restore(context: XdpContext) -> u32 {
        let (start, end) = (context.data(), context.data_end());
        let Some(pattern) = PATTERN.get_ptr_mut(0) else { return XDP_ABORTED };
        if start + WORDS * 8 > end {
            return XDP_ABORTED;
        }
        // SAFETY: in bounds; one CPU.
        unsafe {
            for index in 0..WORDS {
                *(start as *mut u64).add(index) = (*pattern).packet[index];
            }
            let flows = (*pattern).flows;
            if flows != 0 {
                // An odd factor: every flow comes once before one comes twice, and neighbours are far apart.
                let flow = (*pattern).count.wrapping_mul(0x9e37_79b1) & (flows - 1);
                let order = (*pattern).count & (flows - 1);
                (*pattern).count = (*pattern).count.wrapping_add(1);
                // 10.0 to 10.255: addresses that the kernel routes.
                let address = u16::from_be_bytes([10, (flow >> 14) as u8]).to_be();
                let port = ((flow as u16 & 0x3fff) + 1024).to_be();
                let [header, segment] = (*pattern).sums;
                *((start + SOURCE_ADDRESS) as *mut u16) = address;
                *((start + SOURCE_PORT) as *mut u16) = port;
                *((start + ORDER) as *mut [u32; 2]) = [order, !order];
                *((start + IPV4_CHECKSUM) as *mut u16) = checksum(header + address as u32);
                *((start + TCP_CHECKSUM) as *mut u16) = checksum(segment + address as u32 + port as u32);
            }
            let _ = TARGET.tail_call(&context, 0);
        }
        XDP_ABORTED
    }

    /// The complement of a sum, folded to 16 bits (RFC 1071).
    #[inline(always)]
    fn checksum(sum: u32) -> u16 {
        let once = (sum & 0xffff) + (sum >> 16);
        !(once + (once >> 16)) as u16
    }

    #[xdp(frags)]
    pub fn floor(_context: XdpContext) -> u32 {
        XDP_TX
    }

    /// The cache lines that a packet of a standing connection needs, and nothing else: an entry of an index, by a hash
    /// of the flow, then both lines of the slot that it leads to. Connections that come one after the other have slots
    /// one after the other.
    #[inline(always)]
    fn remember(context: &XdpContext) -> Option<()> {
        let (start, end) = (context.data(), context.data_end());
        if start + WORDS * 8 > end {
            return None;
        }
        // SAFETY: in bounds.
        let (address, port, order) = unsafe {
            (
                *((start + SOURCE_ADDRESS) as *const [u8; 2]),
                *((start + SOURCE_PORT) as *const u16),
                *((start + ORDER) as *const u32),
            )
        };
        let flow = ((address[1] as u32) << 14) | (u16::from_be(port) as u32).wrapping_sub(1024);
        let entry = INDEX.get(flow.wrapping_mul(0x85eb_ca6b) >> (32 - INDEX_BITS))?;
        // Always 0, but the processor has to wait for it.
        let slot = SLOTS.get(order + entry[0] as u32)?;
        (core::hint::black_box(slot[0]) | core::hint::black_box(slot[8]) == 0).then_some(())
    }

    #[xdp(frags)]
    pub fn memory(context: XdpContext) -> u32 {
        remember(&context).map_or(XDP_ABORTED, |()| XDP_TX)
    }

    #[xdp(frags)]
    pub fn redirect(_context: XdpContext) -> u32 {
        to_egress()
    }

    /// What every forwarder that knows its connections has to do.
    #[xdp(frags)]
    pub fn remembering_redirect(context: XdpContext) -> u32 {
        match remember(&context) {
            Some(()) => to_egress(),
            None => XDP_ABORTED,
        }
    }

    #[inline(always)]
    fn to_egress() -> u32 {
        // SAFETY: takes any number.
        unsafe { bpf_redirect(EGRESS.load(), 0) as u32 }
    }

    /// The end of a wire.
    #[xdp(frags)]
    pub fn sink(_context: XdpContext) -> u32 {
        XDP_DROP
    }

    /// Where the kernel calls a `bpf_timer`'s program (`bpf_timer_cb`), in memory.
    #[unsafe(no_mangle)]
    static TIMER_CALLBACK: Global<u64> = Global::new(0);
    /// Where a `struct hrtimer` has its function.
    const FUNCTION: usize = 40;

    /// Longer than any packet should have to wait, in nanoseconds.
    const LONG: u64 = 1_000_000;

    /// How long a CPU was held by programs of timers, in nanoseconds.
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Held {
        pub since: u64,
        pub longest: u64,
        pub times: u64,
        /// Of these, how often longer than [`LONG`].
        pub long: u64,
    }

    #[map]
    static HELD: PerCpuArray<Held> = PerCpuArray::with_max_entries(1, 0);

    #[raw_tracepoint(tracepoint = "hrtimer_expire_entry")]
    pub fn timer_begins(context: RawTracePointContext) -> i32 {
        if let Some(held) = held(&context) {
            held.since = unsafe { bpf_ktime_get_ns() };
        }
        0
    }

    #[raw_tracepoint(tracepoint = "hrtimer_expire_exit")]
    pub fn timer_ends(context: RawTracePointContext) -> i32 {
        if let Some(held) = held(&context)
            && held.since != 0
        {
            let took = unsafe { bpf_ktime_get_ns() } - held.since;
            held.longest = if took > held.longest { took } else { held.longest };
            held.times += 1;
            held.long += (took > LONG) as u64;
        }
        0
    }

    /// This CPU's, if the timer that the kernel tells of is a program's.
    #[inline(always)]
    fn held(context: &RawTracePointContext) -> Option<&'static mut Held> {
        let timer: u64 = context.arg(0);
        // SAFETY: the helper takes any address; the element is this CPU's, and such timers do not interrupt each other.
        unsafe {
            let function = bpf_probe_read_kernel((timer as usize + FUNCTION) as *const u64).ok()?;
            if function != TIMER_CALLBACK.load() {
                return None;
            }
            HELD.get_ptr_mut(0).map(|held| &mut *held)
        }
    }

    /// Makes a veth deliver what was redirected to it.
    #[xdp(frags)]
    pub fn pass(_context: XdpContext) -> u32 {
        XDP_PASS
    }
}
