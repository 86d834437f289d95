//! A host that cannot be used.

/// A host that cannot be used at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUnavailable {
    /// What ship tried, what the host answered, and the next step.
    pub why: String,
}
