//! Tests of the updates from earlier versions.

use crate::core::ids::{Epoch, Revision};
use crate::core::time::Time;
use crate::store::contract::Store as _;
use crate::store::records::{ServiceKey, StoreAccess};
use crate::store::{Holder, RecordStore, RolloutId};

use super::schema::{SCHEMA, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5};
use super::*;

fn service_key() -> ServiceKey {
    ServiceKey {
        fleet: "production".into(),
        service: "page".into(),
    }
}

/// A database as an earlier version of ship left it.
fn earlier(tables: &[&str], version: u32, rows: &str) -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = StateDir {
        dir: dir.path().join(".ship"),
    };
    state_dir.make(Access::OwnerOnly).unwrap();
    let old = Connection::open(state_dir.database()).unwrap();
    trust::make_private(&state_dir.database());
    for table in tables {
        old.execute_batch(table).unwrap();
    }
    old.pragma_update(None, "user_version", version).unwrap();
    old.execute_batch(rows).unwrap();
    (dir, state_dir)
}

fn open(state_dir: &StateDir) -> RecordStore {
    let database = Sqlite::open(state_dir).unwrap();
    RecordStore::open(Box::new(database), StoreAccess::Write).unwrap()
}

#[test]
fn database_of_version_1_is_updated() {
    let counters = "insert into counters values ('production', 'page', 7, 3)";
    let (_dir, state_dir) = earlier(&[SCHEMA], 1, counters);
    let mut store = open(&state_dir);
    let records = store.service(&service_key()).unwrap();
    assert_eq!(records.epoch(), Epoch(7));
    let me = Holder::this_process("anna", "here", "deploy");
    store.acquire_lease(&service_key(), me, None).unwrap();
    let (_, epoch) = store
        .begin_rollout(&service_key(), Revision(3), Epoch(0), Time(1))
        .unwrap();
    assert!(epoch > Epoch(7));
}

#[test]
fn database_of_version_5_is_converted() {
    let definition = r#"{"service":"page","version":"0.9","command":["./page"],"ports":[8081],
        "env":{},"driver":"process","stop_timeout":{"secs":10,"nanos":0},"readiness":{"check":"tcp","via":"direct",
        "interval":{"secs":1,"nanos":0},"timeout":{"secs":1,"nanos":0},"successes":1,"failures":3,"initial_delay":{"secs":0,"nanos":0}},
        "hooks":[],"artifact":{"form":"tar_gz","sha256":"0","size_bytes":1,"strip_components":0}}"#;
    let started = r#"{"at":5,"event":"rollout_started","verb":"deploy","service":"page",
        "fleet":"production","target":{"revision":3,"release":"r","version":"0.9"},
        "rollback_target":null,"replicas":2,"epoch":7}"#
        .replace('\n', "");
    let finished = r#"{"at":9,"event":"rollout_finished","outcome":{"outcome":"succeeded"}}"#;
    let rows = format!(
        r#"insert into identity values ('the id');
        insert into counters values ('production', 'page', 7, 3);
        insert into revisions values ('production', 'page', 3, 'r', '{definition}', 'text',
            'anna@here', 'because', '"deploy"', 1);
        insert into rollouts values (12, 'production', 'page', 3, 7, 5, 9,
            '{{"outcome":"succeeded"}}');
        insert into events values (12, 1, '{started}'), (12, 2, '{finished}');
        insert into requests values (12, '"pause"', 'bert@there');
        insert into scales values ('production', 'page', 4, 2, 'anna@here');
        insert into freezes values ('production', 'page', 'bert@there', 1, null, 'sale');
        insert into migrations values ('production', 'page', 'm1', 'contract', 3, '0.9', 'web1', 1,
            2, 'done');
        insert into inventories values ('production', 'page', '/srv/inventory.toml');
        insert into leases values ('production', 'page', 'anna', 'here', 1, 1, 'deploy', 1, 1, 't');"#
    );
    let tables = [SCHEMA, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5];
    let (_dir, state_dir) = earlier(&tables, 5, &rows);
    let mut store = open(&state_dir);
    assert_eq!(store.history_id(), "the id");
    let records = store.service(&service_key()).unwrap();
    let revision = records.revisions().remove(0);
    assert_eq!(
        (
            revision.revision,
            revision.definition.version.as_str(),
            revision.proven
        ),
        (Revision(3), "0.9", true)
    );
    assert_eq!((revision.began, revision.ended), (Time(5), Some(Time(9))));
    assert_eq!(records.runs()[0].start.replicas, 2);
    assert_eq!(records.epoch(), Epoch(7));
    assert_eq!(store.journal(RolloutId(12)).unwrap().len(), 2);
    assert_eq!(records.scale.as_ref().map(|scale| scale.replicas), Some(4));
    assert_eq!(
        records.freeze.as_ref().map(|it| it.why.as_str()),
        Some("sale")
    );
    assert_eq!(records.contracted()[0].id, "m1");
    assert_eq!(records.lease, None, "no one held it any more");
    assert_eq!(
        store.inventories().unwrap()[0].inventory,
        Path::new("/srv/inventory.toml")
    );
    assert_eq!(
        store.request(RolloutId(12)).unwrap(),
        None,
        "requests are only for running rollouts"
    );
    let me = Holder::this_process("anna", "here", "deploy");
    store.acquire_lease(&service_key(), me, None).unwrap();
    let next = store.begin_rollout(&service_key(), Revision(3), Epoch(0), Time(1));
    assert_eq!(next.unwrap().0, RolloutId(13));
}

#[test]
fn database_in_use_by_an_earlier_version_is_not_converted() {
    let me = Holder::this_process("anna", "here", "deploy");
    let (pid, started, now) = (me.pid, me.pid_started, wall().0);
    let lease = format!(
        "insert into identity values ('the id');
        insert into leases values ('production', 'page', 'anna', 'here', {pid}, {started}, \
         'deploy 0.9', {now}, {now}, 't');"
    );
    let tables = [SCHEMA, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5];
    let (_dir, state_dir) = earlier(&tables, 5, &lease);
    let refused = Sqlite::open(&state_dir).err().unwrap().to_string();
    assert!(
        refused.contains("an older version of ship uses it (anna, pid"),
        "{refused}"
    );
}

#[test]
fn database_of_a_newer_version_is_rejected() {
    let (_dir, state_dir) = earlier(&[], 99, "");
    let refused = Sqlite::open(&state_dir).err().unwrap().to_string();
    assert!(refused.contains("use the newer version"), "{refused}");
}
