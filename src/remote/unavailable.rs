//! A host that cannot be used.

/// A host that cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUnavailable {
    /// What was tried, what came back, and what to try next.
    pub why: String,
}
