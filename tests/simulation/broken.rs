//! Ships and worlds that are broken on purpose: the proof that the judge would see it.

use std::time::Duration;

use ship::core::spec::budget::Amount;

use super::scene::Scene;

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

impl Broken {
    /// The scene as a broken planner takes it.
    pub(crate) fn scene(self, scene: &Scene) -> Scene {
        let mut scene = scene.clone();
        match self {
            Broken::LowerFloor => scene.max_unavailable = one_more(scene.max_unavailable),
            Broken::HigherCeiling => scene.max_surge = one_more(scene.max_surge),
            Broken::NoSoak => scene.min_ready = Duration::ZERO,
            _ => {}
        }
        scene
    }
}

fn one_more(amount: Amount) -> Amount {
    match amount {
        Amount::Count(count) => Amount::Count(count + 1),
        Amount::Percent(percent) => Amount::Percent((percent + 50).min(100)),
    }
}
