//! Tests that records are read back as they were written, by this process or another.

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

fn service_key() -> ServiceKey {
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
    let state_dir = StateDir {
        dir: dir.path().join(".ship"),
    };
    let store = Sqlite::open(&state_dir).unwrap();
    (dir, state_dir, store)
}

/// A rollout with its first event.
fn start_rollout(store: &mut Sqlite, revision: Revision) -> RolloutId {
    let (rollout, _) = store
        .begin_rollout(&service_key(), revision, Epoch(0), Time(5))
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
fn revision_does_not_count_before_its_first_event_is_durable() {
    let (_dir, _, mut store) = store();
    let first = store.add_revision(&service_key(), &new("1")).unwrap();
    let rollout = start_rollout(&mut store, first);
    let next = store.add_revision(&service_key(), &new("2")).unwrap();
    store
        .begin_rollout(&service_key(), next, Epoch(0), Time(7))
        .unwrap();
    let numbers = |store: &Sqlite| -> Vec<_> {
        store
            .revisions(&service_key())
            .unwrap()
            .into_iter()
            .map(|record| record.revision)
            .collect()
    };
    assert_eq!(numbers(&store), [first]);
    assert_eq!(
        store.newest_journal(&service_key()).unwrap().unwrap().0,
        rollout
    );
    assert_eq!(store.rollouts(&service_key()).unwrap().len(), 1);
    let second = start_rollout(&mut store, next);
    assert_eq!(numbers(&store), [first, next]);
    assert_eq!(
        store.newest_journal(&service_key()).unwrap().unwrap().0,
        second
    );
}

#[test]
fn store_is_readable_by_a_second_process() {
    let (_dir, state_dir, mut store) = store();
    let revision = store.add_revision(&service_key(), &new("1")).unwrap();
    let (rollout, _) = store
        .begin_rollout(&service_key(), revision, Epoch(0), Time(5))
        .unwrap();
    let entry = Entry {
        at: Time(6),
        event: Event::Interrupted {
            by: "SIGINT".into(),
        },
    };
    store.append(rollout, std::slice::from_ref(&entry)).unwrap();

    let reader = Sqlite::open_existing(&state_dir).unwrap().unwrap();
    assert_eq!(
        reader.newest_journal(&service_key()).unwrap().unwrap(),
        (rollout, vec![entry])
    );
    let record = reader.revisions(&service_key()).unwrap().remove(0);
    assert_eq!(
        (record.began, record.ended, record.outcome, record.proven),
        (Time(5), None, None, false)
    );
    assert_eq!(record.definition, new("1").definition);
}

#[test]
fn revision_stays_proven_after_one_successful_rollout() {
    let (_dir, _, mut store) = store();
    let revision = store.add_revision(&service_key(), &new("1")).unwrap();
    for outcome in [
        Outcome::Interrupted,
        Outcome::Succeeded,
        Outcome::RolledBack,
    ] {
        let rollout = start_rollout(&mut store, revision);
        store
            .end_rollout(rollout, &outcome, outcome == Outcome::Succeeded, Time(9))
            .unwrap();
    }
    let record = store.revisions(&service_key()).unwrap().remove(0);
    assert!(record.proven);
    assert_eq!(
        record.outcome,
        Some(Outcome::RolledBack),
        "of its newest rollout"
    );
}

#[test]
fn revisions_and_epochs_are_never_reused() {
    let (_dir, _, mut store) = store();
    for expected in 1..=3 {
        assert_eq!(
            store.add_revision(&service_key(), &new("1")).unwrap(),
            Revision(expected)
        );
    }
    start_rollout(&mut store, Revision(1));
    start_rollout(&mut store, Revision(2));
    store
        .retain_revisions(&service_key(), &BTreeSet::from([Revision(1)]))
        .unwrap();
    assert_eq!(store.revisions(&service_key()).unwrap().len(), 1);
    assert_eq!(
        store.add_revision(&service_key(), &new("1")).unwrap(),
        Revision(4)
    );

    let mut epoch = |seen| {
        store
            .begin_rollout(&service_key(), Revision(4), Epoch(seen), Time(1))
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
fn two_histories_create_different_epochs() {
    let epoch = |_| {
        store()
            .2
            .begin_rollout(&service_key(), Revision(1), Epoch(7), Time(1))
            .unwrap()
            .1
    };
    let epochs: BTreeSet<_> = (0..8).map(epoch).collect();
    assert!(epochs.len() > 1, "{epochs:?}");
}

#[test]
fn lease_has_one_holder_and_the_error_names_it() {
    let (_dir, state_dir, mut store) = store();
    let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
    store
        .acquire_lease(&service_key(), me.clone(), None)
        .unwrap();

    let mut other = Sqlite::open(&state_dir).unwrap();
    let other_holder = Holder {
        owner: "bert".into(),
        now: Time(61_000 - 30_000),
        ..me.clone()
    };
    let refusal = other
        .acquire_lease(&service_key(), other_holder.clone(), None)
        .unwrap_err()
        .to_string();
    assert!(
        refusal.starts_with("locked by anna@here (pid "),
        "{refusal}"
    );
    assert!(
        refusal.contains("deploy 0.9) since 19") && refusal.contains(", 30s ago; last heartbeat"),
        "{refusal}"
    );

    store.release_lease().unwrap();
    other
        .acquire_lease(&service_key(), other_holder, None)
        .unwrap();
}

#[test]
fn process_with_the_token_continues_under_the_lease_of_its_caller() {
    let (_dir, state_dir, mut store) = store();
    let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
    let token = me.token.clone();
    store
        .acquire_lease(&service_key(), me.clone(), None)
        .unwrap();
    let mut nested = Sqlite::open(&state_dir).unwrap();
    let called = Holder::this_process("anna", "here", "restart", Time(2000));
    assert!(matches!(
        nested.acquire_lease(&service_key(), called.clone(), None),
        Err(StoreError::Held(_))
    ));
    assert!(matches!(
        nested.acquire_lease(&service_key(), called.clone(), Some("")),
        Err(StoreError::Held(_))
    ));
    assert!(matches!(
        nested.acquire_lease(&service_key(), called.clone(), Some("wrong")),
        Err(StoreError::Held(_))
    ));
    nested
        .acquire_lease(&service_key(), called, Some(&token))
        .unwrap();
    nested.release_lease().unwrap();
    assert_eq!(
        store
            .holder(&service_key(), "here", Time(3000))
            .unwrap()
            .unwrap()
            .run,
        "deploy 0.9",
        "still the caller's"
    );
    store.renew_lease(Time(3000)).unwrap();
}

#[test]
fn breaking_a_lease_revokes_it_and_raises_the_epoch() {
    let (_dir, state_dir, mut store) = store();
    let revision = store.add_revision(&service_key(), &new("1")).unwrap();
    let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
    store
        .acquire_lease(&service_key(), me.clone(), None)
        .unwrap();
    let (_, epoch) = store
        .begin_rollout(&service_key(), revision, Epoch(4), Time(1))
        .unwrap();
    let mut other = Sqlite::open(&state_dir).unwrap();
    assert!(other.break_lease(&service_key(), epoch).unwrap() > epoch);
    assert!(matches!(
        store.renew_lease(Time(2000)),
        Err(StoreError::LeaseLost)
    ));
}

#[test]
fn adopted_revision_is_finished_and_proven_only_on_request() {
    let (_dir, _, mut store) = store();
    let adopted = NewRevision {
        verb: Verb::Adopt,
        ..new("1")
    };
    let first = store
        .adopt(&service_key(), &adopted, true, 3, Time(7))
        .unwrap();
    store
        .adopt(&service_key(), &adopted, false, 3, Time(9))
        .unwrap();
    let records = store.revisions(&service_key()).unwrap();
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
    let (_, journal) = store.newest_journal(&service_key()).unwrap().unwrap();
    assert_eq!(journal.len(), 2);
}

#[test]
fn history_keeps_its_random_id() {
    let (_dir, state_dir, first) = store();
    let id = first.history_id().unwrap();
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(Sqlite::open(&state_dir).unwrap().history_id().unwrap(), id);
    assert_ne!(store().2.history_id().unwrap(), id);
}

#[test]
fn request_reaches_only_its_rollout() {
    let (_dir, state_dir, mut store) = store();
    let revision = store.add_revision(&service_key(), &new("1")).unwrap();
    let (first, _) = store
        .begin_rollout(&service_key(), revision, Epoch(0), Time(1))
        .unwrap();
    let request = Request {
        command: ControlRequest::Pause,
        by: "anna@laptop".into(),
    };
    Sqlite::open(&state_dir)
        .unwrap()
        .send_request(first, &request)
        .unwrap();
    assert_eq!(store.request(first).unwrap(), Some(request));
    let (second, _) = store
        .begin_rollout(&service_key(), revision, Epoch(0), Time(2))
        .unwrap();
    assert_eq!(store.request(second).unwrap(), None);
}

#[test]
fn database_of_version_1_is_migrated() {
    let (_dir, state_dir, store) = store();
    drop(store);
    std::fs::remove_file(state_dir.database()).unwrap();
    let old = Connection::open(state_dir.database()).unwrap();
    old.execute_batch(schema::SCHEMA).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute_batch("insert into counters values ('production', 'page', 7, 3)")
        .unwrap();
    drop(old);
    let mut store = Sqlite::open(&state_dir).unwrap();
    assert_eq!(
        store.add_revision(&service_key(), &new("1")).unwrap(),
        Revision(4)
    );
    let me = Holder::this_process("anna", "here", "deploy", Time(1000));
    store.acquire_lease(&service_key(), me, None).unwrap();
}

#[test]
fn expired_lease_is_taken_over_and_its_holder_gets_an_error() {
    let (_dir, state_dir, mut store) = store();
    let me = Holder::this_process("anna", "laptop", "deploy", Time(1000));
    store
        .acquire_lease(&service_key(), me.clone(), None)
        .unwrap();
    let mut other = Sqlite::open(&state_dir).unwrap();
    let other_holder = Holder {
        host: "server".into(),
        now: Time(32_000),
        ..me
    };
    other
        .acquire_lease(&service_key(), other_holder, None)
        .unwrap();
    assert!(matches!(
        store.renew_lease(Time(33_000)),
        Err(StoreError::LeaseLost)
    ));
}

#[test]
fn database_of_a_newer_version_is_rejected() {
    let (_dir, state_dir, store) = store();
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    assert!(
        Sqlite::open(&state_dir)
            .unwrap_err()
            .to_string()
            .contains("use the newer version")
    );
}
