//! Packets of random and of mutated bytes, the same for the same seed.

use crate::scenario::Scenario;
use lb_common::reason::Reason;

/// An endless row of frames.
pub struct Mutation {
    state: u64,
    frames: Vec<Vec<u8>>,
}

impl Mutation {
    /// Mutations of the frames that go in and come out of the scenarios.
    pub fn new(seed: u64, scenarios: Vec<Scenario>) -> Self {
        let steps = scenarios.into_iter().flat_map(|scenario| scenario.steps);
        // Much of the table is one frame cut at every byte.
        let steps = steps.filter(|step| step.reason != Reason::TruncatedIp);
        let mut frames: Vec<_> = steps.flat_map(|step| [Some(step.frame), step.out]).flatten().collect();
        frames.sort();
        frames.dedup();
        Self { state: seed.max(1), frames }
    }

    /// A random number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// The next frame; at least an Ethernet header, which the kernel insists on.
    pub fn next(&mut self) -> Vec<u8> {
        let choice = self.below(8);
        if choice == 0 {
            let length = 14 + self.below(200);
            return (0..length).map(|_| self.below(256) as u8).collect();
        }
        let at = self.below(self.frames.len());
        let mut frame = self.frames[at].clone();
        if choice % 2 == 1 {
            self.other_port(&mut frame);
        }
        let changes = if choice < 4 { 0 } else { 1 + self.below(4) };
        for _ in 0..changes {
            match self.below(10) {
                0 => frame.truncate(14 + self.below(frame.len() - 13)),
                1 => frame.extend([0xaa; 7]),
                2..=4 => {
                    let at = self.below(frame.len());
                    frame[at] ^= 1 << self.below(8);
                }
                // Headers are where it hurts.
                _ => {
                    let at = self.below(frame.len().min(90));
                    frame[at] = self.below(256) as u8;
                }
            }
        }
        frame
    }

    /// Another source port, so that connections come and go, with what makes up for it in the word
    /// six bytes on: TCP's sequence number or UDP's checksum.
    fn other_port(&mut self, frame: &mut [u8]) {
        let (place, protocol) = if frame[12] == 8 { (34, frame[23]) } else { (54, frame[20]) };
        if ![6, 17].contains(&protocol) || frame.len() < place + 8 {
            return;
        }
        let change = 1 + self.below(0xfffe) as u32;
        for (at, change) in [(place, change), (place + 6, 0xffff - change)] {
            let sum = u32::from(u16::from_be_bytes([frame[at], frame[at + 1]])) + change;
            let folded = (sum & 0xffff) + (sum >> 16);
            frame[at..at + 2].copy_from_slice(&(folded as u16).to_be_bytes());
        }
    }
}
