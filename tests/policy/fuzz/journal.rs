//! Journals of another version of ship, or damaged ones: every decoded entry can be reported.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use ship::core::availability::{Answer, AvailabilityReport, Tally};
use ship::core::ids::{ActionId, Epoch, Revision, Slot};
use ship::core::journal::rollout_summary::RolloutSummary;
use ship::core::release::hook::HookPoint;
use ship::core::release::patch::Transfer;
use ship::core::rollout::Rollout;
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::event::{
    Entry, Event, FailureResponse, Progress, RevisionRef, RolloutStart, Scaling,
};
use ship::core::rollout::failure::{Failure, FailureKind, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::time::Time;

use ship_testing::mutation::{cases, mutated_text};

fn revision_ref(revision: u32, release: &str) -> RevisionRef {
    RevisionRef {
        revision: Revision(revision),
        release: release.into(),
        version: format!("0.{revision}"),
    }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::NotReady,
        host: Some("web1".into()),
        slot: Some(Slot::new("web1", 8081)),
        detail: "HTTP 500: \"no\" database".to_owned(),
        waited: Duration::from_millis(2500),
    }
}

fn start() -> RolloutStart {
    RolloutStart {
        verb: Verb::Deploy,
        service: "page".to_owned(),
        fleet: "tests".to_owned(),
        target: revision_ref(4, "aa"),
        rollback_target: Some(revision_ref(3, "bb")),
        replicas: 3,
        rollback_replicas: Some(2),
        epoch: Epoch(7),
        is_proven: false,
        scaling: Some(Scaling {
            shares: [("aa".into(), 2)].into(),
            then: Box::new(Outcome::Interrupted),
        }),
        set: vec!["rollout.replicas=3".to_owned()],
        hosts_from: None,
    }
}

fn availability_report() -> AvailabilityReport {
    let mut tally = Tally::new(0);
    tally.add(
        Time(1),
        Answer::NotSent {
            why: "no network".to_owned(),
        },
    );
    tally.add(
        Time(2),
        Answer::Served {
            took: Duration::from_millis(3),
            version: Some("0.8".to_owned()),
        },
    );
    tally.add(
        Time(3),
        Answer::Served {
            took: Duration::from_millis(3),
            version: None,
        },
    );
    tally.add(
        Time(4),
        Answer::Failed {
            why: "HTTP 500".to_owned(),
        },
    );
    tally.report()
}

/// One event of every kind, encoded as in the journal.
fn lines() -> Vec<String> {
    let slot = || Slot::new("web1", 8081);
    let started = |id, action, instance: Option<&str>| Event::ActionStarted {
        id: ActionId(id),
        action,
        instance: instance.map(Into::into),
    };
    let ready = || ("page-aa-1".into(), "aa".into(), "ready".to_owned());
    let (instance, release, answer) = ready();
    let (unhealthy, unhealthy_release, unhealthy_answer) = ready();
    let events = vec![
        Event::RolloutStarted(start()),
        Event::RolloutStarted(RolloutStart {
            rollback_target: None,
            scaling: None,
            set: Vec::new(),
            ..start()
        }),
        started(
            1,
            Action::Claim {
                host: "web1".into(),
            },
            None,
        ),
        started(
            2,
            Action::Stage {
                host: "web1".into(),
                release: "aa".into(),
            },
            None,
        ),
        started(
            3,
            Action::Start {
                slot: slot(),
                release: "aa".into(),
                reloads: None,
            },
            Some("page-aa-1"),
        ),
        started(
            4,
            Action::Stop {
                slot: slot(),
                instance: "page-bb-1".into(),
                why: StopReason::Replaced,
                restore_after: Some(Duration::from_secs(30)),
                ended: None,
            },
            None,
        ),
        started(5, Action::Disarm { slot: slot() }, None),
        started(
            6,
            Action::Prune {
                host: "web1".into(),
                releases: ["cc".into()].into(),
            },
            None,
        ),
        Event::ActionDone { id: ActionId(1) },
        Event::ActionDone { id: ActionId(2) },
        Event::ActionFailed {
            id: ActionId(3),
            error: "no space".to_owned(),
        },
        Event::ActionUnknown {
            id: ActionId(4),
            why: "the connection broke".to_owned(),
        },
        Event::InstanceReady {
            slot: slot(),
            instance,
            release,
            answer,
        },
        Event::InstanceNotReady {
            slot: slot(),
            instance: unhealthy,
            release: unhealthy_release,
            answer: unhealthy_answer,
        },
        Event::Transferred {
            host: "web1".into(),
            transfer: Transfer {
                sent_bytes: 1_000_000,
                artifact_bytes: 100_000_000,
                whole_because: None,
                relayed_by: Some("web2".into()),
                direct_because: None,
            },
        },
        Event::HookRan {
            point: HookPoint::BeforeStart,
            slot: Some(slot()),
            instance: Some("page-aa-1".into()),
            host: Some("web1".into()),
            ok: false,
            detail: "it ended with exit status 3".to_owned(),
            took: Duration::from_millis(1230),
            output: vec!["one".to_owned(), "two".to_owned()],
        },
        Event::HookRan {
            point: HookPoint::BeforeAll,
            slot: None,
            instance: None,
            host: None,
            ok: true,
            detail: "done".to_owned(),
            took: Duration::ZERO,
            output: Vec::new(),
        },
        Event::Progress(Progress {
            desired: 3,
            updated: 1,
            updated_ready: 1,
            updated_available: 1,
            available: 3,
            total: 4,
        }),
        Event::HostLost {
            host: "web1".into(),
            why: "no route".to_owned(),
        },
        Event::HostRecovered {
            host: "web1".into(),
        },
        Event::RolloutFailed {
            failure: failure(),
            log: vec!["fatal".to_owned()],
            then: FailureResponse::RollBack,
        },
        Event::RolloutFailed {
            failure: failure(),
            log: Vec::new(),
            then: FailureResponse::Hold {
                why: "both fail".to_owned(),
            },
        },
        Event::Fenced {
            host: "web1".into(),
            seen: Epoch(8),
        },
        Event::HostFailed {
            failure: failure(),
            log: Vec::new(),
        },
        Event::AvailabilityReported(availability_report()),
        Event::Interrupted {
            by: "SIGINT".to_owned(),
        },
        Event::Paused {
            by: "anna".to_owned(),
        },
        Event::Aborted {
            by: "anna".to_owned(),
        },
        Event::RolloutFinished {
            outcome: Outcome::Succeeded,
        },
        Event::RolloutFinished {
            outcome: Outcome::Held {
                why: "a person is needed".to_owned(),
            },
        },
        Event::RolloutFinished {
            outcome: Outcome::RollbackFailed { failure: failure() },
        },
        Event::RolloutFinished {
            outcome: Outcome::Paused {
                by: "anna".to_owned(),
                since: Time(5),
            },
        },
    ];
    let entry = |(at, event): (u64, Event)| {
        serde_json::to_string(&Entry {
            at: Time(1000 + at),
            event,
        })
        .unwrap()
    };
    (0..).zip(events).map(entry).collect()
}

/// A journal with a (mostly) valid first entry and random further entries.
fn journal() -> impl Strategy<Value = Vec<String>> {
    let entry = prop_oneof![
        3 => any::<Index>().prop_map(|which| which.get(&lines()).clone()),
        1 => mutated_text(lines()),
    ];
    let first = prop_oneof![3 => Just(lines()[0].clone()), 1 => mutated_text(lines())];
    (first, prop::collection::vec(entry, 0..20))
        .prop_map(|(first, rest)| [vec![first], rest].concat())
}

#[test]
fn journal_entry_round_trips() {
    for line in lines() {
        let entry: Entry = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    }
}

#[test]
fn action_may_have_the_largest_number() {
    let largest = lines()[2].replace("\"id\":1", &format!("\"id\":{}", u64::MAX));
    let journal =
        [lines()[0].clone(), largest].map(|line| serde_json::from_str::<Entry>(&line).unwrap());
    assert_eq!(
        Rollout::of(&journal).unwrap().next_action_id(),
        ActionId(u64::MAX)
    );
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn decoded_journal_can_be_summarized(journal in journal(), now in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]) {
        let entries: Vec<Entry> = journal.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let begins = entries.first().is_some_and(|entry| matches!(entry.event, Event::RolloutStarted(_)));
        let rollout = Rollout::of(&entries);
        prop_assert_eq!(rollout.is_some(), begins);
        let summary = RolloutSummary::of(&entries);
        prop_assert_eq!(summary.is_some(), begins);
        if let (Some(rollout), Some(summary)) = (rollout, summary) {
            for by in [None, Some("anna@laptop")] {
                prop_assert!(summary.lines(by, Time(now)).iter().all(|line| !line.is_empty()));
            }
            prop_assert!(serde_json::to_string(&summary).is_ok());
            let ids = entries.iter().filter_map(|entry| match &entry.event {
                Event::ActionStarted { id, .. } => Some(*id),
                _ => None,
            });
            let last = ids.max().unwrap_or_default();
            prop_assert!(rollout.next_action_id() > last || last == ActionId(u64::MAX), "an action number is used twice");
            prop_assert_eq!(rollout.outcome, summary.outcome);
        }
        for entry in &entries {
            let again = serde_json::from_str::<Entry>(&serde_json::to_string(entry).unwrap()).unwrap();
            prop_assert_eq!(&again, entry);
            if let Event::Progress(progress) = &entry.event {
                prop_assert!(!progress.sentence("page").is_empty());
            }
        }
    }
}
