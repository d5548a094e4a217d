//! The tc shell around the packet path: entry points, and the one match from reasons to actions.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features, reason = "no stable atomics on the BPF target"))]

/// The program is for the BPF target; on the host there is only the library.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
#[path = "shell/tc.rs"]
mod shell;

#[cfg(target_arch = "bpf")]
mod program {
    use crate::{
        kernel::{begin, frame::Buffer, globals, maps, sweep, tables::Maps, trace},
        shell::{Context, add_header, pull_headers},
    };
    use aya_ebpf::{
        bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC},
        helpers::bpf_redirect,
        macros::classifier,
        programs::TcContext,
    };
    use lb_common::{
        device::{LOOPBACK, flags},
        reason::Verdict,
        stage::Stage,
    };
    use lb_ebpf::{Next, Outcome, Reason, Tables as _};

    /// What `arm` and `disarm` return when they have worked: the number that those of XDP return.
    const DONE: i32 = 2;
    const FAILED: i32 = 0;
    const SHOT: i32 = TC_ACT_SHOT as i32;
    /// On a packet that is received once more: the letters "lb". Queueing disciplines alone look at this word, and
    /// only where a packet leaves.
    const HERE: u32 = 0x6c62;

    /// The balancer: attached to what comes in by every interface. Plain packets end here; all others go on
    /// to the stages.
    #[classifier]
    #[inline(always)] // else it would be a call, whose return costs more than a look-up
    pub fn balance(context: TcContext) -> i32 {
        let maps = Maps { context: context.skb.skb };
        if was_here(maps.context) {
            return TC_ACT_UNSPEC;
        }
        if globals::BARE.load() != 0 && is_bare(&maps) && !add_header(maps.context) {
            return settle(&maps, Outcome::of(Reason::TruncatedEthernet));
        }
        pull_headers(maps.context);
        let mut frame = Buffer::of(maps.context);
        match begin(&mut frame, &maps) {
            Next::End(outcome) => settle(&maps, outcome),
            Next::Stage(stage) => enter(&context, &maps, stage),
        }
    }

    /// The stage of that name, as are the three below.
    #[classifier]
    pub fn find(context: TcContext) -> i32 {
        let (frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return SHOT };
        if globals::TRACE.load() != 0 {
            trace::before(context.skb.skb);
        }
        go_on(&context, &maps, lb_ebpf::find(&frame, &maps, packet))
    }

    #[classifier]
    pub fn open(context: TcContext) -> i32 {
        let (mut frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return SHOT };
        go_on(&context, &maps, lb_ebpf::open(&mut frame, &maps, packet))
    }

    #[classifier]
    pub fn send(context: TcContext) -> i32 {
        let (mut frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return SHOT };
        end(&maps, lb_ebpf::send(&mut frame, &maps, packet))
    }

    #[classifier]
    pub fn accept(context: TcContext) -> i32 {
        let (mut frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return SHOT };
        go_on(&context, &maps, lb_ebpf::accept(&mut frame, &maps, packet))
    }

    #[inline(always)]
    fn of(context: &TcContext) -> (Buffer, Maps) {
        (Buffer::of(context.skb.skb), Maps { context: context.skb.skb })
    }

    /// Whether the packet has been through this program, and is received once more.
    #[inline(always)]
    fn was_here(context: *mut Context) -> bool {
        // SAFETY: the context is the packet's.
        unsafe {
            let was_here = (*context).ifindex == LOOPBACK && (*context).tc_index == HERE;
            if was_here {
                (*context).tc_index = 0;
            }
            was_here
        }
    }

    /// Whether the packet has come without an Ethernet header.
    #[inline(always)]
    fn is_bare(maps: &Maps) -> bool {
        // SAFETY: the context is the packet's.
        let interface = unsafe { (*maps.context).ifindex };
        maps.device(interface).is_some_and(|device| device.flags & flags::BARE != 0)
    }

    /// Ends in the next stage, or for good.
    #[inline(always)]
    fn go_on(context: &TcContext, maps: &Maps, next: Next) -> i32 {
        match next {
            Next::Stage(stage) => enter(context, maps, stage),
            Next::End(outcome) => end(maps, outcome),
        }
    }

    #[inline(always)]
    fn enter(context: &TcContext, maps: &Maps, stage: Stage) -> i32 {
        // SAFETY: the entry is a program of the same type. The call returns only when it is missing.
        let _ = unsafe { maps::STAGES.tail_call(context, stage as u32) };
        settle(maps, Outcome::of(Reason::Unfinished))
    }

    /// Ends the way of a packet that may be traced.
    #[inline(always)]
    fn end(maps: &Maps, outcome: Outcome) -> i32 {
        if globals::TRACE.load() != 0 {
            trace::after(outcome);
        }
        settle(maps, outcome)
    }

    /// Counts a packet, and turns the reason into an action.
    #[inline(always)]
    fn settle(maps: &Maps, outcome: Outcome) -> i32 {
        maps.count(outcome.reason);
        action(maps.context, outcome)
    }

    #[inline(always)]
    fn action(context: *mut Context, outcome: Outcome) -> i32 {
        // SAFETY: the context is the packet's.
        let arrival = unsafe { (*context).ifindex };
        match outcome.reason.verdict() {
            // What this host sends to itself has been routed before it comes in, to where it was addressed then.
            // Received once more, it is routed to where it is addressed now.
            Verdict::Kernel if arrival == LOOPBACK => unsafe {
                (*context).tc_index = HERE;
                bpf_redirect(arrival, BPF_F_INGRESS as u64) as i32
            },
            // What else is attached here sees the packet too, as if it had come so.
            Verdict::Pass | Verdict::Kernel => TC_ACT_UNSPEC,
            Verdict::Drop => SHOT,
            Verdict::Forward => {
                let interface = if outcome.detail == 0 { arrival } else { outcome.detail };
                unsafe { bpf_redirect(interface, 0) as i32 }
            }
        }
    }

    /// Run once by `lb-ctl` after loading: starts the sweep's timer, or hands it to this program.
    #[classifier]
    pub fn arm(_context: TcContext) -> i32 {
        if sweep::arm() { DONE } else { FAILED }
    }

    /// Run once by `lb-ctl` before unloading: stops the sweep's timer.
    #[classifier]
    pub fn disarm(_context: TcContext) -> i32 {
        if sweep::disarm() { DONE } else { FAILED }
    }
}
