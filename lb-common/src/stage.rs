//! The programs that the path of a packet consists of. Each ends in the next by a tail call, which begins a
//! new stack; and the verifier counts the instructions of each by itself.

/// What follows the shortcut: its place in the map of stages.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What is it, and whose?
    Find = 0,
    /// A connection for a packet that has none.
    Open = 1,
    /// The way out.
    Send = 2,
    /// Both for a plain SYN.
    Accept = 3,
}

impl Stage {
    /// Every stage, in the order of the map.
    pub const ALL: [Self; 4] = [Self::Find, Self::Open, Self::Send, Self::Accept];

    /// Name of its program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Open => "open",
            Self::Send => "send",
            Self::Accept => "accept",
        }
    }
}
