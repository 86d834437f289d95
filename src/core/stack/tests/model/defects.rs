//! Policies and applications that are broken on purpose. The model must find each of them.

use std::collections::BTreeMap;

use super::explorer::explore;
use super::policy::Policy;
use super::stack::Stack;
use crate::core::stack::{
    ContractState, Member, OnStackFailure, ServiceEnd, ServicePhase, StackDirection, StackNext,
    StackOutcome, StackRun, StackStep,
};

/// `b` rolls out after `a`.
fn chain() -> Stack {
    Stack::new(2, &[(0, 1)], OnStackFailure::RollBack)
}

fn independent() -> Stack {
    Stack::new(2, &[], OnStackFailure::RollBack)
}

fn holding() -> Stack {
    Stack::new(2, &[], OnStackFailure::Hold)
}

fn single() -> Stack {
    Stack::new(1, &[], OnStackFailure::RollBack)
}

#[track_caller]
fn expect_violation(stack: &Stack, policy: &dyn Policy, what: &str) {
    let violation = explore(stack, policy).expect_err("the violation must be found");
    assert_eq!(violation.what, what, "{}", violation.path);
}

fn without_order(run: &StackRun) -> StackRun {
    let mut run = run.clone();
    run.members.values_mut().for_each(|it| it.after.clear());
    run
}

/// Defines a policy that differs from the real one in some functions.
macro_rules! defect {
    ($name:ident { $($function:item)* }) => {
        struct $name;
        impl Policy for $name {
            $($function)*
        }
    };
}

#[test]
fn model_finds_a_policy_that_rolls_out_everything_at_once() {
    defect!(AllAtOnce {
        fn next(&self, run: &StackRun) -> StackNext {
            match run.direction {
                StackDirection::Forward => without_order(run).next(),
                StackDirection::Back => run.next(),
            }
        }
    });
    expect_violation(&chain(), &AllAtOnce, "b rolls out before a is deployed");
}

#[test]
fn model_finds_a_policy_that_rolls_everything_back_at_once() {
    defect!(BackAtOnce {
        fn next(&self, run: &StackRun) -> StackNext {
            match run.direction {
                StackDirection::Forward => run.next(),
                StackDirection::Back => without_order(run).next(),
            }
        }
    });
    expect_violation(&chain(), &BackAtOnce, "a rolls back before b has returned");
}

#[test]
fn model_finds_a_policy_that_rolls_out_one_service_after_another() {
    defect!(OneByOne {
        fn next(&self, run: &StackRun) -> StackNext {
            match run.next() {
                StackNext::Steps(mut steps) => {
                    steps.truncate(1);
                    StackNext::Steps(steps)
                }
                StackNext::End(outcome) => StackNext::End(outcome),
            }
        }
    });
    let what = "b could start, and the policy waits";
    expect_violation(&independent(), &OneByOne, what);
}

#[test]
fn model_finds_a_policy_that_forgets_what_it_has_started() {
    defect!(Forgetful {
        fn started(&self, _: &mut StackRun, _: &StackStep) {}
    });
    expect_violation(&single(), &Forgetful, "a would have two rollouts at once");
}

#[test]
fn model_finds_a_policy_that_continues_after_a_stop() {
    defect!(Restless {
        fn ended(&self, run: &mut StackRun, service: &str, end: ServiceEnd) -> bool {
            let turned = run.ended(service, end);
            for member in run.members.values_mut() {
                if member.phase == ServicePhase::Stopped {
                    member.phase = ServicePhase::Unfinished;
                }
            }
            turned
        }
    });
    let what = "a step begins after a service was stopped";
    expect_violation(&single(), &Restless, what);
}

#[test]
fn model_finds_a_policy_that_continues_after_a_failure() {
    defect!(Careless {
        fn next(&self, run: &StackRun) -> StackNext {
            let mut run = run.clone();
            for member in run.members.values_mut() {
                if member.phase == ServicePhase::RolledBack {
                    member.phase = ServicePhase::Waiting;
                }
            }
            run.next()
        }
    });
    let what = "a step begins after a service has failed";
    expect_violation(&holding(), &Careless, what);
}

#[test]
fn model_finds_a_policy_that_starts_contracts_too_early() {
    defect!(EarlyContract {
        fn next(&self, run: &StackRun) -> StackNext {
            let mut due = run.members.iter().filter(|(_, member)| {
                let is_deployed = member.phase == ServicePhase::Deployed;
                is_deployed && member.contract == ContractState::Due
            });
            match due.next() {
                Some((name, _)) if run.direction == StackDirection::Forward => {
                    StackNext::Steps(vec![StackStep::Contract(name.clone())])
                }
                _ => run.next(),
            }
        }
    });
    let what = "the contract migrations of a begin before every service is deployed";
    expect_violation(&chain().with_contracts(0b01), &EarlyContract, what);
}

#[test]
fn model_finds_a_policy_that_starts_all_contracts_at_once() {
    defect!(AllContracts {
        fn next(&self, run: &StackRun) -> StackNext {
            let due = run.members.iter();
            let due = due.filter(|(_, member)| member.contract == ContractState::Due);
            let steps = due.map(|(name, _)| StackStep::Contract(name.clone()));
            match run.next() {
                StackNext::Steps(planned) if matches!(planned[..], [StackStep::Contract(_)]) => {
                    StackNext::Steps(steps.collect())
                }
                next => next,
            }
        }
    });
    let what = "a contract migration begins while a rollout runs";
    expect_violation(&independent().with_contracts(0b11), &AllContracts, what);
}

#[test]
fn model_finds_a_policy_that_rolls_back_after_a_contract_has_begun() {
    defect!(PastContract {
        fn roll_back(&self, run: &mut StackRun) -> bool {
            let mut members = run.members.values();
            if members.any(|member| member.contract == ContractState::Running) {
                return false;
            }
            run.direction = StackDirection::Back;
            true
        }
    });
    let what = "a rolls back after a contract migration has begun";
    expect_violation(&single().with_contracts(0b1), &PastContract, what);
}

#[test]
fn model_finds_a_policy_that_refuses_every_abort() {
    defect!(Stubborn {
        fn roll_back(&self, _: &mut StackRun) -> bool {
            false
        }
    });
    let what = "the abort is refused, although no contract migration has begun";
    expect_violation(&single(), &Stubborn, what);
}

#[test]
fn model_finds_a_policy_that_misses_a_failure_before_the_crash() {
    defect!(Amnesiac {
        fn restored(
            &self,
            members: BTreeMap<String, Member>,
            on_failure: OnStackFailure,
            direction: StackDirection,
        ) -> StackRun {
            StackRun {
                members,
                on_failure,
                direction,
            }
        }
    });
    let back = "Resume leads to Held, expected RolledBack";
    expect_violation(&single(), &Amnesiac, back);
    let forward = "Resume leads to Held, expected Deployed";
    expect_violation(&holding(), &Amnesiac, forward);
}

#[test]
fn model_finds_a_policy_that_does_not_take_a_service_back_twice() {
    defect!(OnlyOnce {
        fn restored(
            &self,
            mut members: BTreeMap<String, Member>,
            on_failure: OnStackFailure,
            direction: StackDirection,
        ) -> StackRun {
            for member in members.values_mut() {
                if member.phase == ServicePhase::UndoUnfinished {
                    member.phase = ServicePhase::UndoFailed;
                }
            }
            StackRun::restored(members, on_failure, direction)
        }
    });
    let what = "Resume leads to RollbackFailed, expected RolledBack";
    expect_violation(&single(), &OnlyOnce, what);
}

#[test]
fn model_finds_a_policy_that_claims_a_return_without_an_earlier_revision() {
    defect!(Boastful {
        fn next(&self, run: &StackRun) -> StackNext {
            match run.next() {
                StackNext::End(StackOutcome::Held) if run.direction == StackDirection::Back => {
                    StackNext::End(StackOutcome::RolledBack)
                }
                next => next,
            }
        }
    });
    let what = "the deployment ends as RolledBack, which is wrong";
    expect_violation(&single().without_earlier_revision(0b1), &Boastful, what);
}

#[test]
fn model_finds_a_policy_that_never_ends() {
    defect!(Endless {
        fn next(&self, run: &StackRun) -> StackNext {
            match run.next() {
                StackNext::End(_) => StackNext::Steps(Vec::new()),
                steps @ StackNext::Steps(_) => steps,
            }
        }
    });
    let what = "nothing is in flight, and the policy gives neither a step nor an end";
    expect_violation(&single(), &Endless, what);
}

#[test]
fn model_finds_an_application_that_saves_the_direction_too_late() {
    defect!(Hasty {
        fn saves_direction_first(&self) -> bool {
            false
        }
    });
    // The outcome would be recorded for a deployment that still goes forward.
    let what = "the deployment ends as RolledBack, which is wrong";
    expect_violation(&chain(), &Hasty, what);
}
