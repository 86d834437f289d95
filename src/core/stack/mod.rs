//! The policy of a stack: in which order its services roll out, and how they roll back together.
//!
//! [`StackRun`] knows only how each service ended, not its hosts. Each service has a rollout of its
//! own, which the planner carries out. [`ServiceRecord`] computes the state of each service from
//! the store, so that another process continues the deployment after a crash. Only the direction is
//! saved: before the first step that follows its change.

mod deployment;
mod member;
mod on_failure;
mod record;
mod rollback;
mod run;
mod unfinished;

#[cfg(test)]
mod tests;

pub use deployment::{DeployedService, Deployment, DeploymentNumber};
pub use member::{ContractState, Member, ServiceEnd, ServicePhase};
pub use on_failure::OnStackFailure;
pub use record::{RecordedRollout, ServiceRecord};
pub use rollback::{RollbackTargets, StackRollbackRefusal, rollback_targets};
pub use run::{StackDirection, StackNext, StackOutcome, StackRun, StackStep};
pub use unfinished::{StackResolution, resolve_unfinished};
