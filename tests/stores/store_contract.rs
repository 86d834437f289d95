//! What ship expects of its state store, whatever the database is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use ship::core::ids::{Epoch, ReleaseId, Revision};
use ship::core::release::migration::MigrationKind;
use ship::core::release::unit::{Directives, StopSignal};
use ship::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use ship::core::rollout::event::{Entry, Event};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::task::TaskOutcome;
use ship::core::rollout::verb::Verb;
use ship::core::time::Time;
use ship::store::{
    ControlRequest, Database, Freeze, Holder, NewRevision, RecordStore, Request, RolloutId, Scale,
    ServiceKey, Store, StoreAccess, StoreError, this_machine,
};

use super::database_contract::Open;
use super::transactions::{commit, delete};

/// A check, with a service of its own.
type StoreCheck = fn(Open<'_>, &ServiceKey);

/// Checks everything. `open` opens the database as another process would.
pub(crate) fn check_all(open: Open<'_>) {
    let checks: [(&str, StoreCheck); 14] = [
        ("revision counts once its first event is durable", uncounted),
        ("journal is readable by another process", journal_is_shared),
        ("revision stays proven", proven_stays),
        ("numbers and epochs are never reused", numbers_only_grow),
        ("lease has one holder", one_holder),
        ("child process shares the lease", child_shares_lease),
        ("broken lease fences its holder", broken_lease_fences),
        ("late writer is refused", late_writer_is_refused),
        (
            "expired lease is acquired again",
            expired_lease_is_acquired_again,
        ),
        ("writes need the lease", writes_need_the_lease),
        (
            "repeated append has the effect of one",
            append_is_repeatable,
        ),
        ("adopted revision is finished", adopted_is_finished),
        ("settings and requests", settings_are_kept),
        ("migrations outlive their journals", migrations_outlive),
    ];
    for (number, (name, check)) in checks.into_iter().enumerate() {
        eprintln!("store: {name}");
        let service_key = ServiceKey {
            fleet: format!("production/{number}"),
            service: "page".into(),
        };
        check(open, &service_key);
    }
    history_id_is_kept(open);
    large_journal_is_kept(open);
}

fn store(open: Open<'_>) -> RecordStore {
    RecordStore::open(open(), StoreAccess::Write).expect("the store")
}

/// A store that holds the lease.
fn locked(open: Open<'_>, service_key: &ServiceKey) -> RecordStore {
    let mut store = store(open);
    let holder = Holder::this_process("anna", "laptop", "deploy 0.9");
    store
        .acquire_lease(service_key, holder, None)
        .expect("no one else holds the lease");
    store
}

/// A holder on another machine, whose process this one cannot see.
fn elsewhere(owner: &str) -> Holder {
    Holder {
        machine: "another machine".into(),
        ..Holder::this_process(owner, "server", "deploy 0.9")
    }
}

pub(crate) fn new_revision(version: &str) -> NewRevision {
    let second = Duration::from_secs(1);
    NewRevision {
        release: ReleaseId::from(format!("digest-of-{version}")),
        definition: Definition {
            service: "page".into(),
            version: version.into(),
            command: vec!["./page".into()],
            activate: Vec::new(),
            reload: Vec::new(),
            ports: Vec::new(),
            slots: None,
            server: None,
            env: BTreeMap::new(),
            driver: Driver::Process,
            user: None,
            stop_signal: StopSignal::Term,
            systemd: Directives::default(),
            shared_dirs: Vec::new(),
            stop_timeout: second,
            linger: None,
            readiness: Readiness {
                check: Check::Tcp,
                port: None,
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
        playbook: "version = \"1\" # 'quoted' \\ ☃".into(),
        who: "anna@laptop".into(),
        reason: "because".into(),
        verb: Verb::Deploy,
        contents_sha256: Some(format!("contents-of-{version}")),
    }
}

pub(crate) fn entry(at: u64) -> Entry {
    Entry {
        at: Time(at),
        event: Event::Interrupted {
            by: format!("signal {at}"),
        },
    }
}

/// A rollout with its first event.
fn start_rollout(
    store: &mut RecordStore,
    service_key: &ServiceKey,
    revision: Revision,
) -> RolloutId {
    let (rollout, _) = store
        .begin_rollout(service_key, revision, Epoch(0), Time(5))
        .expect("a rollout");
    store.append(rollout, 1, &[entry(6)]).expect("an event");
    rollout
}

fn uncounted(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    let first = store
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut store, service_key, first);
    let next = store
        .add_revision(service_key, &new_revision("2"))
        .expect("a revision");
    store
        .begin_rollout(service_key, next, Epoch(0), Time(7))
        .expect("a rollout");
    let records = store.service(service_key).expect("the records");
    let numbers: Vec<_> = records.revisions().iter().map(|it| it.revision).collect();
    assert_eq!(numbers, [first]);
    assert_eq!(records.newest_rollout(), Some(rollout));
    assert_eq!(records.rollouts().len(), 1);
    let second = start_rollout(&mut store, service_key, next);
    let records = store.service(service_key).expect("the records");
    assert_eq!(records.revisions().len(), 2);
    assert_eq!(records.newest_rollout(), Some(second));
    assert_eq!(records.newest_rollout_of(first), Some(rollout));
}

fn journal_is_shared(open: Open<'_>, service_key: &ServiceKey) {
    let mut writer = locked(open, service_key);
    let revision = writer
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut writer, service_key, revision);
    writer
        .append(rollout, 2, &[entry(7), entry(8)])
        .expect("events");
    let reader = RecordStore::open(open(), StoreAccess::Read).expect("the store");
    let journals = reader
        .journals(&[rollout, RolloutId(999_999)])
        .expect("the journals");
    assert_eq!(journals, [vec![entry(6), entry(7), entry(8)], Vec::new()]);
    let records = reader.service(service_key).expect("the records");
    let record = records.revisions().remove(0);
    assert_eq!(
        (record.began, record.ended, record.outcome, record.proven),
        (Time(5), None, None, false)
    );
    assert_eq!(record.definition, new_revision("1").definition);
    assert_eq!(record.playbook, new_revision("1").playbook);
    assert_eq!(record.contents_sha256, new_revision("1").contents_sha256);
}

fn proven_stays(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    let revision = store
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    for outcome in [
        Outcome::Interrupted,
        Outcome::Succeeded,
        Outcome::RolledBack,
    ] {
        let rollout = start_rollout(&mut store, service_key, revision);
        store
            .end_rollout(rollout, &outcome, outcome == Outcome::Succeeded, Time(9))
            .expect("its end");
        let records = store.service(service_key).expect("the records");
        assert_eq!(records.outcome(rollout), Some(outcome));
    }
    let records = store.service(service_key).expect("the records");
    let record = records.revisions().remove(0);
    assert!(record.proven);
    assert_eq!(
        (record.outcome, record.ended),
        (Some(Outcome::RolledBack), Some(Time(9))),
        "of its newest rollout"
    );
}

fn numbers_only_grow(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    for expected in 1..=3 {
        let revision = store.add_revision(service_key, &new_revision("1"));
        assert_eq!(revision.expect("a revision"), Revision(expected));
    }
    start_rollout(&mut store, service_key, Revision(1));
    let deleted = start_rollout(&mut store, service_key, Revision(2));
    store
        .retain_revisions(service_key, &BTreeSet::from([Revision(1)]))
        .expect("deleted");
    let records = store.service(service_key).expect("the records");
    assert_eq!(records.revisions().len(), 1);
    assert!(store.journal(deleted).expect("no journal").is_empty());
    assert!(!store.rollout_ids().expect("the ids").contains(&deleted));
    let revision = store.add_revision(service_key, &new_revision("1"));
    assert_eq!(revision.expect("a revision"), Revision(4));

    let mut begin = |seen| {
        store
            .begin_rollout(service_key, Revision(4), Epoch(seen), Time(1))
            .expect("a rollout")
    };
    let far = 1 << 40;
    let rollouts = [begin(0), begin(0), begin(far), begin(3)];
    assert!(rollouts[0].0 > deleted, "{rollouts:?}");
    let epochs = rollouts.map(|(_, epoch)| epoch.0);
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
    assert!(epochs[1] < far && far < epochs[2], "{epochs:?}");
}

fn one_holder(open: Open<'_>, service_key: &ServiceKey) {
    let mut first = store(open);
    first
        .acquire_lease(service_key, elsewhere("anna"), None)
        .expect("the lease");
    let mut second = store(open);
    let refused = second
        .acquire_lease(service_key, elsewhere("bert"), None)
        .expect_err("anna holds it")
        .to_string();
    assert!(
        refused.starts_with("locked by anna@server (pid ") && refused.contains("deploy 0.9) since"),
        "{refused}"
    );
    first.renew_lease().expect("still anna's");
    let records = second.service(service_key).expect("the records");
    let holder = records.holder(&this_machine()).expect("a live holder");
    assert_eq!(
        (holder.owner.as_str(), holder.run.as_str()),
        ("anna", "deploy 0.9")
    );
    first.release_lease().expect("released");
    second
        .acquire_lease(service_key, elsewhere("bert"), None)
        .expect("the lease is free");
    first.release_lease().expect("nothing to release");
    second.renew_lease().expect("still bert's");
}

fn child_shares_lease(open: Open<'_>, service_key: &ServiceKey) {
    let parent = locked(open, service_key);
    let token = parent.lease_token().expect("a token").to_owned();
    let mut child = store(open);
    let called = Holder::this_process("anna", "laptop", "restart");
    for wrong in [None, Some(""), Some("wrong")] {
        let refused = child.acquire_lease(service_key, called.clone(), wrong);
        assert!(matches!(refused, Err(StoreError::Held(_))), "{refused:?}");
    }
    child
        .acquire_lease(service_key, called, Some(&token))
        .expect("the parent's lease");
    child
        .add_revision(service_key, &new_revision("1"))
        .expect("written under the parent's lease");
    child.release_lease().expect("released");
    let records = parent.service(service_key).expect("the records");
    let holder = records.holder(&this_machine()).expect("still the parent's");
    assert_eq!(holder.run, "deploy 0.9");
}

fn broken_lease_fences(open: Open<'_>, service_key: &ServiceKey) {
    let mut holder = locked(open, service_key);
    let revision = holder
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let (rollout, epoch) = holder
        .begin_rollout(service_key, revision, Epoch(4), Time(1))
        .expect("a rollout");
    let newer = store(open).break_lease(service_key, epoch).expect("broken");
    assert!(newer > epoch);
    assert!(matches!(holder.renew_lease(), Err(StoreError::LeaseLost)));
    let late = holder.append(rollout, 1, &[entry(1)]);
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
}

fn late_writer_is_refused(open: Open<'_>, service_key: &ServiceKey) {
    let mut late = locked(open, service_key);
    let revision = late
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut late, service_key, revision);
    // The first controller is suspended; another takes over and continues its rollout.
    store(open)
        .break_lease(service_key, Epoch(0))
        .expect("broken");
    let mut next = locked(open, service_key);
    next.append(rollout, 2, &[entry(20)]).expect("an event");
    let writes: [(&str, Result<(), StoreError>); 7] = [
        ("append", late.append(rollout, 2, &[entry(10)])),
        ("append further", late.append(rollout, 3, &[entry(10)])),
        (
            "end",
            late.end_rollout(rollout, &Outcome::Succeeded, true, Time(9)),
        ),
        (
            "begin",
            late.begin_rollout(service_key, revision, Epoch(0), Time(9))
                .map(drop),
        ),
        (
            "add",
            late.add_revision(service_key, &new_revision("2")).map(drop),
        ),
        (
            "retain",
            late.retain_revisions(service_key, &BTreeSet::new()),
        ),
        ("scale", late.set_scale(service_key, None)),
    ];
    for (what, result) in writes {
        assert!(
            matches!(result, Err(StoreError::LeaseLost)),
            "{what}: {result:?}"
        );
    }
    late.release_lease().expect("it holds none any more");
    next.renew_lease().expect("still the second controller's");
    assert_eq!(
        next.journal(rollout).expect("the journal"),
        [entry(6), entry(20)]
    );
}

/// etcd deletes a lease that was not renewed, for example while the network was partitioned.
fn expired_lease_is_acquired_again(open: Open<'_>, service_key: &ServiceKey) {
    let mut holder = locked(open, service_key);
    let revision = holder
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut holder, service_key, revision);
    let expire = || {
        let key = format!(
            "services/{}/page/lease",
            service_key.fleet.replace('/', "%2F")
        );
        commit(&*open(), &[], vec![delete(&key)]);
    };
    expire();
    holder.append(rollout, 2, &[entry(7)]).expect("an event");
    expire();
    holder.renew_lease().expect("acquired again");
    // Another controller acts in between, and has finished.
    expire();
    let mut other = locked(open, service_key);
    other
        .begin_rollout(service_key, revision, Epoch(0), Time(8))
        .expect("a rollout");
    other.release_lease().expect("released");
    let late = holder.append(rollout, 3, &[entry(9)]);
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    assert!(matches!(holder.renew_lease(), Err(StoreError::LeaseLost)));
    let journal = holder.journal(rollout).expect("the journal");
    assert_eq!(journal, [entry(6), entry(7)]);
}

fn writes_need_the_lease(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = store(open);
    let refused = [
        store
            .add_revision(service_key, &new_revision("1"))
            .map(drop),
        store
            .begin_rollout(service_key, Revision(1), Epoch(0), Time(1))
            .map(drop),
        store.append(RolloutId(1), 1, &[entry(1)]),
        store.set_scale(service_key, None),
    ];
    for result in refused {
        assert!(matches!(result, Err(StoreError::LeaseLost)), "{result:?}");
    }
    let records = store.service(service_key).expect("the records");
    assert!(records.revisions().is_empty() && records.rollouts().is_empty());
}

fn append_is_repeatable(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    let revision = store
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut store, service_key, revision);
    for _ in 0..3 {
        store
            .append(rollout, 2, &[entry(7), entry(8)])
            .expect("the same events");
    }
    let other = store.append(rollout, 2, &[entry(9)]);
    assert!(matches!(other, Err(StoreError::LeaseLost)), "{other:?}");
    assert_eq!(
        store.journal(rollout).expect("the journal"),
        [entry(6), entry(7), entry(8)]
    );
}

fn adopted_is_finished(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    let adopted = NewRevision {
        verb: Verb::Adopt,
        ..new_revision("1")
    };
    let first = store
        .adopt(service_key, &adopted, true, 3, Time(7))
        .expect("adopted");
    store
        .adopt(service_key, &adopted, false, 3, Time(9))
        .expect("adopted");
    let records = store.service(service_key).expect("the records");
    let revisions = records.revisions();
    assert_eq!(revisions[0].revision, first);
    let proven: Vec<_> = revisions.iter().map(|it| it.proven).collect();
    assert_eq!(proven, [true, false]);
    for (record, at) in revisions.iter().zip([Time(7), Time(9)]) {
        assert_eq!(
            (record.began, record.ended, record.outcome.clone()),
            (at, Some(at), Some(Outcome::Succeeded))
        );
    }
    let newest = records.newest_rollout().expect("a rollout");
    assert_eq!(store.journal(newest).expect("its journal").len(), 2);
    assert_eq!(records.runs().len(), 2);
}

fn settings_are_kept(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    let mut other = self::store(open);
    let scale = Scale {
        replicas: 7,
        playbook: 3,
        who: "anna@laptop".into(),
    };
    let freeze = Freeze {
        who: "bert@server".into(),
        since: Time(1),
        until: None,
        why: "the sale".into(),
    };
    store.set_scale(service_key, Some(&scale)).expect("a scale");
    let was_frozen = other.set_freeze(service_key, Some(&freeze));
    assert!(!was_frozen.expect("a freeze"), "anyone may freeze");
    let records = other.service(service_key).expect("the records");
    assert_eq!(records.scale, Some(scale));
    assert_eq!(records.active_freeze(), Some(&freeze));
    store.set_scale(service_key, None).expect("no scale");
    assert!(other.set_freeze(service_key, None).expect("thawed"));
    assert!(!other.set_freeze(service_key, None).expect("not frozen"));
    let records = other.service(service_key).expect("the records");
    assert_eq!(
        (records.scale.clone(), records.active_freeze()),
        (None, None)
    );

    let inventory = Path::new("/srv/app/inventory.toml");
    store
        .record_inventory(service_key, inventory)
        .expect("an inventory");
    let known = other.inventories().expect("the inventories");
    assert!(
        known
            .iter()
            .any(|known| known.service_key == *service_key && known.inventory == inventory),
        "{known:?}"
    );

    let revision = store
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let first = start_rollout(&mut store, service_key, revision);
    let second = start_rollout(&mut store, service_key, revision);
    let request = Request {
        command: ControlRequest::Promote { step: 2 },
        by: "anna@laptop".into(),
    };
    other.send_request(first, &request).expect("sent");
    assert_eq!(store.request(first).expect("read"), Some(request));
    assert_eq!(store.request(second).expect("read"), None);
}

fn migrations_outlive(open: Open<'_>, service_key: &ServiceKey) {
    let mut store = locked(open, service_key);
    let revision = store
        .add_revision(service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut store, service_key, revision);
    let id = "2026/11 add-email";
    let migration = Some((MigrationKind::Contract, id.to_owned()));
    let started = Entry {
        at: Time(7),
        event: Event::TaskStarted {
            id: ship::core::ids::ActionId(1),
            task: format!("contract {id}"),
            host: None,
            migration: migration.clone(),
        },
    };
    store.append(rollout, 2, &[started]).expect("an event");
    let records = store.service(service_key).expect("the records");
    assert!(records.applied_migrations().is_empty());
    assert_eq!(records.contracted()[0].id, id);
    let ended = Entry {
        at: Time(8),
        event: Event::TaskEnded {
            task: format!("contract {id}"),
            end: TaskOutcome::Done,
            migration,
            took: Duration::ZERO,
            output: Vec::new(),
        },
    };
    store.append(rollout, 3, &[ended]).expect("an event");
    store
        .retain_revisions(service_key, &BTreeSet::new())
        .expect("deleted");
    let records = store.service(service_key).expect("the records");
    assert_eq!(
        records.applied_migrations(),
        BTreeSet::from([id.to_owned()])
    );
    assert_eq!(records.contracted()[0].version, "1");
}

fn history_id_is_kept(open: Open<'_>) {
    let first = store(open).history_id();
    assert_eq!(first.len(), 32, "{first}");
    assert_eq!(store(open).history_id(), first);
}

/// The output of hooks may be long.
fn large_journal_is_kept(open: Open<'_>) {
    let service_key = ServiceKey {
        fleet: "production".into(),
        service: "large".into(),
    };
    let mut store = locked(open, &service_key);
    let revision = store
        .add_revision(&service_key, &new_revision("1"))
        .expect("a revision");
    let rollout = start_rollout(&mut store, &service_key, revision);
    let large: Vec<_> = (0..40)
        .map(|number| Entry {
            at: Time(number),
            event: Event::Interrupted {
                by: "☃".repeat(30_000),
            },
        })
        .collect();
    store.append(rollout, 2, &large).expect("3.6 MB of events");
    store
        .append(rollout, 2, &large)
        .expect("the same events again");
    let journal = store.journal(rollout).expect("the journal");
    assert_eq!(journal.len(), 41);
    assert_eq!(journal[1..], large);
}

/// A database for tests that need no server.
pub(crate) fn open_sqlite(dir: &Path) -> Box<dyn Database> {
    let state_dir = ship::store::StateDir {
        dir: dir.to_owned(),
    };
    Box::new(ship::store::Sqlite::open(&state_dir).expect("a database"))
}
