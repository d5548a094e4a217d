//! What an edit makes of a member.

use lb_common::{backend::Member, tunnel::Tunnel};

/// What is asked for a backend; `None` is as before, or the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberSettings {
    /// `-w`.
    pub weight: Option<u32>,
    /// `-x`.
    pub upper: Option<u32>,
    /// `-y`.
    pub lower: Option<u32>,
    /// `-m`, `-g`, `-i`: a [`lb_common::backend::method`].
    pub method: Option<u32>,
    /// `--tun-type` and the options that belong to it.
    pub tunnel: Option<Tunnel>,
}

impl MemberSettings {
    /// All of a member.
    pub const fn of(member: &Member) -> Self {
        Self {
            weight: Some(member.weight),
            upper: Some(member.upper),
            lower: Some(member.lower),
            method: Some(member.method),
            tunnel: Some(member.tunnel),
        }
    }

    /// A member with what is asked for.
    pub fn applied_to(self, old: Member) -> Member {
        let weight = self.weight.unwrap_or(old.weight);
        Member {
            weight,
            upper: self.upper.unwrap_or(old.upper),
            lower: self.lower.unwrap_or(old.lower),
            last_weight: if weight > 0 { weight } else { old.last_weight },
            method: self.method.unwrap_or(old.method),
            tunnel: self.tunnel.unwrap_or(old.tunnel),
            backend: old.backend,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_only_what_is_named() {
        let new = Member { backend: 4, ..Member::default() };
        let first = MemberSettings { weight: Some(3), ..MemberSettings::default() }.applied_to(new);
        let quiet = MemberSettings { weight: Some(0), upper: Some(10), ..MemberSettings::default() }
            .applied_to(first);
        assert_eq!(quiet, Member { backend: 4, weight: 0, upper: 10, last_weight: 3, ..Member::default() });
        assert_eq!(MemberSettings::default().applied_to(quiet), quiet);
    }
}
