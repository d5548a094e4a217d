//! The XDP shell around the packet path: entry points, and the one match from reasons to actions.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features, reason = "no stable atomics on the BPF target"))]

/// The program is for the BPF target; on the host there is only the library.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
#[path = "shell/xdp.rs"]
mod shell;

#[cfg(target_arch = "bpf")]
mod program {
    use crate::kernel::{begin, frame::Buffer, globals, maps, sweep, tables::Maps, trace};
    use aya_ebpf::{
        bindings::xdp_action::*,
        helpers::{bpf_redirect, bpf_redirect_map},
        macros::xdp,
        programs::XdpContext,
    };
    use lb_common::{adoption::Adoption, reason::Verdict, stage::Stage};
    use lb_ebpf::{Frame as _, Next, Outcome, Reason, Tables as _, adoption};

    /// The balancer: attached to every interface. Plain packets end here; all others go on to the stages.
    #[xdp(frags)]
    #[inline(always)] // else it would be a call, whose return costs more than a look-up
    pub fn balance(context: XdpContext) -> u32 {
        let (mut frame, maps) = of(&context);
        match begin(&mut frame, &maps) {
            Next::End(outcome) => settle(&maps, outcome),
            Next::Stage(stage) => enter(&context, &maps, stage),
        }
    }

    /// The stage of that name, as are the three below.
    #[xdp(frags)]
    pub fn find(context: XdpContext) -> u32 {
        let (frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return XDP_ABORTED };
        if globals::TRACE.load() != 0 {
            trace::before(context.ctx);
        }
        go_on(&context, &maps, lb_ebpf::find(&frame, &maps, packet))
    }

    #[xdp(frags)]
    pub fn open(context: XdpContext) -> u32 {
        let (mut frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return XDP_ABORTED };
        go_on(&context, &maps, lb_ebpf::open(&mut frame, &maps, packet))
    }

    #[xdp(frags)]
    pub fn send(context: XdpContext) -> u32 {
        let (mut frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return XDP_ABORTED };
        end(&maps, lb_ebpf::send(&mut frame, &maps, packet))
    }

    #[xdp(frags)]
    pub fn accept(context: XdpContext) -> u32 {
        let (mut frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return XDP_ABORTED };
        go_on(&context, &maps, lb_ebpf::accept(&mut frame, &maps, packet))
    }

    #[inline(always)]
    fn of(context: &XdpContext) -> (Buffer, Maps) {
        (Buffer::of(context.ctx), Maps { context: context.ctx })
    }

    /// Ends in the next stage, or for good.
    #[inline(always)]
    fn go_on(context: &XdpContext, maps: &Maps, next: Next) -> u32 {
        match next {
            Next::Stage(stage) => enter(context, maps, stage),
            Next::End(outcome) => end(maps, outcome),
        }
    }

    #[inline(always)]
    fn enter(context: &XdpContext, maps: &Maps, stage: Stage) -> u32 {
        // SAFETY: the entry is a program of the same type. The call returns only when it is missing.
        let _ = unsafe { maps::STAGES.tail_call(context, stage as u32) };
        settle(maps, Outcome::of(Reason::Unfinished))
    }

    /// Ends the way of a packet that may be traced.
    #[inline(always)]
    fn end(maps: &Maps, outcome: Outcome) -> u32 {
        if globals::TRACE.load() != 0 {
            trace::after(outcome);
        }
        settle(maps, outcome)
    }

    /// Counts a packet, and turns the reason into an action.
    #[inline(always)]
    fn settle(maps: &Maps, outcome: Outcome) -> u32 {
        // Most packets: first, so that those which are known to be such need not be asked what they are.
        if outcome.reason == Reason::Redirected {
            maps.count(Reason::Redirected);
            return redirect(outcome.detail);
        }
        maps.count(outcome.reason);
        action(outcome)
    }

    #[inline(always)]
    fn action(outcome: Outcome) -> u32 {
        match outcome.reason.verdict() {
            Verdict::Pass | Verdict::Kernel => XDP_PASS,
            Verdict::Drop => XDP_DROP,
            Verdict::Forward if outcome.detail == 0 => XDP_TX,
            Verdict::Forward => redirect(outcome.detail),
        }
    }

    /// Through the map, which has what `lb-ctl` found when it loaded and is a few nanoseconds faster; any other
    /// interface by its index.
    #[inline(always)]
    fn redirect(interface: u32) -> u32 {
        // SAFETY: both take any number.
        unsafe {
            match bpf_redirect_map((&raw const maps::EXITS).cast_mut().cast(), interface.into(), 0) as u32 {
                XDP_REDIRECT => XDP_REDIRECT,
                _ => bpf_redirect(interface, 0) as u32,
            }
        }
    }

    /// Run by `lb-ctl` for each connection that it takes over, which stands in place of a packet.
    #[xdp]
    pub fn adopt(context: XdpContext) -> u32 {
        let (frame, maps) = of(&context);
        let Some(packet) = maps.packet() else { return XDP_ABORTED };
        let Some(adoption) = frame.load::<Adoption>(0) else { return XDP_ABORTED };
        match adoption::adopt(&maps, &adoption, packet) {
            Ok(()) => XDP_PASS,
            Err(_) => XDP_ABORTED,
        }
    }

    /// Run once by `lb-ctl` after loading: starts the sweep's timer, or hands it to this program.
    #[xdp]
    pub fn arm(_context: XdpContext) -> u32 {
        if sweep::arm() { XDP_PASS } else { XDP_ABORTED }
    }

    /// Run once by `lb-ctl` before unloading: stops the sweep's timer.
    #[xdp]
    pub fn disarm(_context: XdpContext) -> u32 {
        if sweep::disarm() { XDP_PASS } else { XDP_ABORTED }
    }
}
