//! Ships and worlds that are broken on purpose: the proof that the judge would see it.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// Hosts obey every epoch.
    NoFence,
    /// Hosts obey every order of an epoch, however late.
    NoOrderFence,
    /// Anybody gets the lease.
    NoLease,
    /// The intent is durable only when the next events are.
    JournalComesLate,
    /// Whatever is asked passes.
    AlwaysPasses,
    /// Hosts seem to have seen the present epoch.
    SeemsClaimed,
    /// What nobody knows is taken for a failure.
    UnknownIsFailed,
    /// The planner may spend one instance more than was allowed.
    LowerFloor,
    /// The planner may run one instance more than was allowed.
    HigherCeiling,
    /// The planner does not wait for an instance to have been ready for long enough.
    NoSoak,
    /// The planner wants one instance fewer.
    FewerReplicas,
}
