//! What is written is read back, by this process or another.

use crate::core::time::Time;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::*;
use crate::core::ids::ReleaseId;
use crate::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::store::contract::{Requests as _, Revisions as _};
use crate::store::records::{ControlRequest, NewRevision, Request};

fn subject() -> ServiceKey {
    ServiceKey {
        fleet: "production".into(),
        service: "page".into(),
    }
}

fn new(version: &str) -> NewRevision {
    let second = Duration::from_secs(1);
    NewRevision {
        release: ReleaseId::from(format!("digest-of-{version}")),
        definition: Definition {
            service: "page".into(),
            version: version.into(),
            command: vec!["./page".into()],
            ports: Vec::new(),
            server: None,
            env: BTreeMap::new(),
            driver: Driver::Process,
            user: None,
            stop_timeout: second,
            readiness: Readiness {
                check: Check::Tcp,
                via: Via::Direct,
                interval: second,
                timeout: second,
                success_threshold: 1,
                failure_threshold: 3,
                initial_delay: Duration::ZERO,
            },
            liveness: None,
            hooks: Vec::new(),
            migrations: Vec::new(),
            artifact: Artifact {
                form: ArtifactForm::TarGz,
                sha256: "0".into(),
                size_bytes: 1,
                strip_components: 0,
            },
            secrets_sha256: None,
        },
        playbook: "version = \"1\"".into(),
        who: "anna@here".into(),
        reason: "because".into(),
        verb: Verb::Deploy,
    }
}

fn store() -> (tempfile::TempDir, StateDir, Sqlite) {
    let dir = tempfile::tempdir().unwrap();
    let place = StateDir {
        dir: dir.path().join(".ship"),
    };
    let store = Sqlite::open(&place).unwrap();
    (dir, place, store)
}

/// A rollout with its first event.
fn begun(store: &mut Sqlite, revision: Revision) -> RolloutId {
    let (rollout, _) = store
        .begin_rollout(&subject(), revision, Epoch(0), Time(5))
        .unwrap();
    store
        .append(
            rollout,
            &[Entry {
                at: Time(6),
                event: Event::Interrupted {
                    by: "SIGINT".into(),
                },
            }],
        )
        .unwrap();
    rollout
}

#[test]
fn a_revision_whose_ship_died_before_the_first_event_is_none() {
    let (_dir, _, mut store) = store();
    let first = store.add_revision(&subject(), &new("1")).unwrap();
    let rollout = begun(&mut store, first);
    let next = store.add_revision(&subject(), &new("2")).unwrap();
    store
        .begin_rollout(&subject(), next, Epoch(0), Time(7))
        .unwrap();
    let numbers = |store: &Sqlite| -> Vec<_> {
        store
            .revisions(&subject())
            .unwrap()
            .into_iter()
            .map(|record| record.revision)
            .collect()
    };
    assert_eq!(numbers(&store), [first]);
    assert_eq!(
        store.newest_journal(&subject()).unwrap().unwrap().0,
        rollout
    );
    assert_eq!(store.rollouts(&subject()).unwrap().len(), 1);
    let again = begun(&mut store, next);
    assert_eq!(numbers(&store), [first, next]);
    assert_eq!(store.newest_journal(&subject()).unwrap().unwrap().0, again);
}

#[test]
fn a_second_process_reads_what_the_first_has_just_written() {
    let (_dir, place, mut store) = store();
    let revision = store.add_revision(&subject(), &new("1")).unwrap();
    let (rollout, _) = store
        .begin_rollout(&subject(), revision, Epoch(0), Time(5))
        .unwrap();
    let entry = Entry {
        at: Time(6),
        event: Event::Interrupted {
            by: "SIGINT".into(),
        },
    };
    store.append(rollout, std::slice::from_ref(&entry)).unwrap();

    let reader = Sqlite::open_existing(&place).unwrap().unwrap();
    assert_eq!(
        reader.newest_journal(&subject()).unwrap().unwrap(),
        (rollout, vec![entry])
    );
    let record = reader.revisions(&subject()).unwrap().remove(0);
    assert_eq!(
        (record.began, record.ended, record.outcome, record.proven),
        (Time(5), None, None, false)
    );
    assert_eq!(record.definition, new("1").definition);
}

#[test]
fn a_revision_is_proven_once_a_rollout_of_it_has_succeeded() {
    let (_dir, _, mut store) = store();
    let revision = store.add_revision(&subject(), &new("1")).unwrap();
    for outcome in [
        Outcome::Interrupted,
        Outcome::Succeeded,
        Outcome::RolledBack,
    ] {
        let rollout = begun(&mut store, revision);
        store
            .end_rollout(rollout, &outcome, outcome == Outcome::Succeeded, Time(9))
            .unwrap();
    }
    let record = store.revisions(&subject()).unwrap().remove(0);
    assert!(record.proven);
    assert_eq!(
        record.outcome,
        Some(Outcome::RolledBack),
        "of its newest rollout"
    );
}

#[test]
fn numbers_of_revisions_and_epochs_are_never_given_twice() {
    let (_dir, _, mut store) = store();
    for expected in 1..=3 {
        assert_eq!(
            store.add_revision(&subject(), &new("1")).unwrap(),
            Revision(expected)
        );
    }
    begun(&mut store, Revision(1));
    begun(&mut store, Revision(2));
    store
        .retain_revisions(&subject(), &BTreeSet::from([Revision(1)]))
        .unwrap();
    assert_eq!(store.revisions(&subject()).unwrap().len(), 1);
    assert_eq!(
        store.add_revision(&subject(), &new("1")).unwrap(),
        Revision(4)
    );

    let mut epoch = |seen| {
        store
            .begin_rollout(&subject(), Revision(4), Epoch(seen), Time(1))
            .unwrap()
            .1
            .0
    };
    let far = 1 << 40;
    let epochs = [epoch(0), epoch(0), epoch(far), epoch(3)];
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
    assert!(epochs[1] < far && far < epochs[2], "{epochs:?}");
}

#[test]
fn two_histories_that_have_counted_alike_do_not_give_the_same_epoch() {
    let epoch = |_| {
        store()
            .2
            .begin_rollout(&subject(), Revision(1), Epoch(7), Time(1))
            .unwrap()
            .1
    };
    let epochs: BTreeSet<_> = (0..8).map(epoch).collect();
    assert!(epochs.len() > 1, "{epochs:?}");
}

#[test]
fn the_lease_is_for_one_and_says_whose_it_is() {
    let (_dir, place, mut store) = store();
    let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
    store.acquire_lease(&subject(), me.clone(), None).unwrap();

    let mut other = Sqlite::open(&place).unwrap();
    let rival = Holder {
        owner: "bert".into(),
        now: Time(61_000 - 30_000),
        ..me.clone()
    };
    let refusal = other
        .acquire_lease(&subject(), rival.clone(), None)
        .unwrap_err()
        .to_string();
    assert!(
        refusal.starts_with("locked by anna@here (pid "),
        "{refusal}"
    );
    assert!(
        refusal.contains("deploy 0.9) since 19") && refusal.contains(", 30s ago;"),
        "{refusal}"
    );

    store.release_lease().unwrap();
    other.acquire_lease(&subject(), rival, None).unwrap();
}

#[test]
fn who_was_called_by_the_holder_goes_on_under_its_lease() {
    let (_dir, place, mut store) = store();
    let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
    let token = me.token.clone();
    store.acquire_lease(&subject(), me.clone(), None).unwrap();
    let mut nested = Sqlite::open(&place).unwrap();
    let called = Holder::this_process("anna", "here", "restart", Time(2000));
    assert!(matches!(
        nested.acquire_lease(&subject(), called.clone(), None),
        Err(StoreError::Held(_))
    ));
    assert!(matches!(
        nested.acquire_lease(&subject(), called.clone(), Some("")),
        Err(StoreError::Held(_))
    ));
    assert!(matches!(
        nested.acquire_lease(&subject(), called.clone(), Some("wrong")),
        Err(StoreError::Held(_))
    ));
    nested
        .acquire_lease(&subject(), called, Some(&token))
        .unwrap();
    nested.release_lease().unwrap();
    assert_eq!(
        store
            .holder(&subject(), "here", Time(3000))
            .unwrap()
            .unwrap()
            .run,
        "deploy 0.9",
        "still the caller's"
    );
    store.renew_lease(Time(3000)).unwrap();
}

#[test]
fn a_broken_lease_is_lost_to_its_holder_and_the_epoch_is_newer() {
    let (_dir, place, mut store) = store();
    let revision = store.add_revision(&subject(), &new("1")).unwrap();
    let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
    store.acquire_lease(&subject(), me.clone(), None).unwrap();
    let (_, epoch) = store
        .begin_rollout(&subject(), revision, Epoch(4), Time(1))
        .unwrap();
    let mut other = Sqlite::open(&place).unwrap();
    assert!(other.break_lease(&subject(), epoch).unwrap() > epoch);
    assert!(matches!(
        store.renew_lease(Time(2000)),
        Err(StoreError::LeaseLost)
    ));
}

#[test]
fn adopted_revision_is_a_finished_one_and_proven_only_if_said_so() {
    let (_dir, _, mut store) = store();
    let adopted = NewRevision {
        verb: Verb::Adopt,
        ..new("1")
    };
    let first = store.adopt(&subject(), &adopted, true, 3, Time(7)).unwrap();
    store
        .adopt(&subject(), &adopted, false, 3, Time(9))
        .unwrap();
    let records = store.revisions(&subject()).unwrap();
    assert_eq!(records[0].revision, first);
    assert_eq!(
        records
            .iter()
            .map(|record| record.proven)
            .collect::<Vec<_>>(),
        [true, false]
    );
    for (record, at) in records.iter().zip([Time(7), Time(9)]) {
        assert_eq!(
            (record.began, record.ended, record.outcome.clone()),
            (at, Some(at), Some(Outcome::Succeeded))
        );
    }
    let (_, journal) = store.newest_journal(&subject()).unwrap().unwrap();
    assert_eq!(journal.len(), 2);
}

#[test]
fn history_keeps_its_random_id() {
    let (_dir, place, first) = store();
    let id = first.history_id().unwrap();
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(Sqlite::open(&place).unwrap().history_id().unwrap(), id);
    assert_ne!(store().2.history_id().unwrap(), id);
}

#[test]
fn what_is_asked_of_a_rollout_reaches_it_and_no_other() {
    let (_dir, place, mut store) = store();
    let revision = store.add_revision(&subject(), &new("1")).unwrap();
    let (first, _) = store
        .begin_rollout(&subject(), revision, Epoch(0), Time(1))
        .unwrap();
    let request = Request {
        wish: ControlRequest::Pause,
        by: "anna@laptop".into(),
    };
    Sqlite::open(&place).unwrap().ask(first, &request).unwrap();
    assert_eq!(store.request(first).unwrap(), Some(request));
    let (second, _) = store
        .begin_rollout(&subject(), revision, Epoch(0), Time(2))
        .unwrap();
    assert_eq!(store.request(second).unwrap(), None);
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date() {
    let (_dir, place, store) = store();
    drop(store);
    std::fs::remove_file(place.database()).unwrap();
    let old = Connection::open(place.database()).unwrap();
    old.execute_batch(schema::SCHEMA).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute_batch("insert into counters values ('production', 'page', 7, 3)")
        .unwrap();
    drop(old);
    let mut store = Sqlite::open(&place).unwrap();
    assert_eq!(
        store.add_revision(&subject(), &new("1")).unwrap(),
        Revision(4)
    );
    let me = Holder::this_process("anna", "here", "deploy", Time(1000));
    store.acquire_lease(&subject(), me, None).unwrap();
}

#[test]
fn a_dead_owners_lease_is_taken_over_and_the_late_owner_learns_it() {
    let (_dir, place, mut store) = store();
    let me = Holder::this_process("anna", "laptop", "deploy", Time(1000));
    store.acquire_lease(&subject(), me.clone(), None).unwrap();
    let mut other = Sqlite::open(&place).unwrap();
    let rival = Holder {
        host: "server".into(),
        now: Time(32_000),
        ..me
    };
    other.acquire_lease(&subject(), rival, None).unwrap();
    assert!(matches!(
        store.renew_lease(Time(33_000)),
        Err(StoreError::LeaseLost)
    ));
}

#[test]
fn a_database_of_a_newer_ship_is_refused_not_misread() {
    let (_dir, place, store) = store();
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    assert!(
        Sqlite::open(&place)
            .unwrap_err()
            .to_string()
            .contains("use the newer ship")
    );
}
