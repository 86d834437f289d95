//! The policy that the model explores: the real one, or one that a test breaks on purpose.

use std::collections::BTreeMap;

use crate::core::stack::{
    Member, OnStackFailure, ServiceEnd, StackDirection, StackNext, StackRun, StackStep,
};

/// Everything that the application asks of the policy, and the one promise it makes itself.
pub(super) trait Policy {
    fn restored(
        &self,
        members: BTreeMap<String, Member>,
        on_failure: OnStackFailure,
        direction: StackDirection,
    ) -> StackRun {
        StackRun::restored(members, on_failure, direction)
    }

    fn next(&self, run: &StackRun) -> StackNext {
        run.next()
    }

    fn started(&self, run: &mut StackRun, step: &StackStep) {
        run.started(step);
    }

    fn ended(&self, run: &mut StackRun, service: &str, end: ServiceEnd) -> bool {
        run.ended(service, end)
    }

    fn roll_back(&self, run: &mut StackRun) -> bool {
        run.roll_back()
    }

    /// Whether the application saves a new direction before it starts the next step.
    fn saves_direction_first(&self) -> bool {
        true
    }
}

/// The real policy.
pub(super) struct Correct;

impl Policy for Correct {}
