//! The state store in shared databases, and moves between databases.

use std::path::Path;

use ship::core::ids::Epoch;
use ship::core::rollout::failure::Outcome;
use ship::core::time::Time;
use ship::store::{
    CopiedRecords, Database, Holder, KeyRange, RecordStore, ServiceKey, Store as _, StoreAccess,
    StoreError, Write, connect, relocate, services_of,
};
use ship_testing::etcd_cluster::EtcdCluster;
use ship_testing::postgres_server::PostgresServer;

use super::store_contract::{check_all, entry, new_revision, open_sqlite};

#[test]
fn postgres_is_a_store_as_ship_expects() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let url = server.url();
    check_all(&|| connect(&url, StoreAccess::Write).expect("a connection"));
}

#[test]
fn etcd_is_a_store_as_ship_expects() {
    let Some(cluster) = EtcdCluster::start(3) else {
        return;
    };
    let url = cluster.url();
    check_all(&|| connect(&url, StoreAccess::Write).expect("a connection"));
}

/// A database with the history of two services.
fn fill(database: Box<dyn Database>) {
    let mut store = RecordStore::open(database, StoreAccess::Write).expect("the store");
    for service in ["page", "api/ü"] {
        let service_key = ServiceKey {
            fleet: "production".into(),
            service: service.into(),
        };
        let holder = Holder::this_process("anna", "laptop", "deploy");
        store
            .acquire_lease(&service_key, holder, None)
            .expect("the lease");
        for version in ["1", "2", "3"] {
            let revision = store
                .add_revision(&service_key, &new_revision(version))
                .expect("a revision");
            let (rollout, _) = store
                .begin_rollout(&service_key, revision, Epoch(0), Time(1))
                .expect("a rollout");
            for number in (1..400).step_by(2) {
                let entries = [entry(number), entry(number + 1)];
                store.append(rollout, number, &entries).expect("the events");
            }
            store
                .end_rollout(rollout, &Outcome::Succeeded, true, Time(9))
                .expect("its end");
        }
        store
            .record_inventory(&service_key, Path::new("/srv/inventory.toml"))
            .expect("an inventory");
        store.release_lease().expect("released");
    }
}

/// All records but the first, as pairs of key and value.
fn contents(database: &dyn Database) -> Vec<(String, String)> {
    let prefixes = ["services/", "events/", "requests/", "counters"];
    let ranges = prefixes.map(|prefix| KeyRange::Prefix(prefix.into()));
    let found = database.read(&ranges).expect("the records");
    let records = found.ranges.into_iter().flatten();
    records.map(|record| (record.key, record.value)).collect()
}

fn move_state(from: &dyn Database, to: &dyn Database) -> Result<CopiedRecords, StoreError> {
    relocate(from, to, || Ok(()))
}

#[test]
fn state_moves_through_all_databases_and_back() {
    let (Some(server), Some(cluster)) = (PostgresServer::start(), EtcdCluster::start(3)) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join(".ship");
    let (postgres, etcd) = (server.url(), cluster.url());
    let open = |which: usize| match which % 3 {
        0 => open_sqlite(&place),
        1 => connect(&postgres, StoreAccess::Write).expect("a connection"),
        _ => connect(&etcd, StoreAccess::Write).expect("a connection"),
    };
    fill(open(0));
    let original = contents(&*open(0));
    let history = RecordStore::open(open(0), StoreAccess::Read)
        .expect("the store")
        .history_id();
    // Twice around, so that each database is also a place to which the state returns.
    for step in 0..6 {
        let (from, to) = (open(step), open(step + 1));
        let copied = move_state(&*from, &*to).expect("moved");
        assert_eq!(
            copied,
            CopiedRecords {
                services: 2,
                revisions: 6,
                rollouts: 6,
                events: 2400
            }
        );
        assert_eq!(contents(&*to), original, "step {step}");
        assert_eq!(services_of(&*to).expect("the services").len(), 2);
        let refused = RecordStore::open(from, StoreAccess::Write).err();
        let refused = refused.expect("the old place is closed").to_string();
        assert!(
            refused.contains(&format!("was moved to {}", to.location())),
            "{refused}"
        );
        let store = RecordStore::open(to, StoreAccess::Write).expect("the store");
        assert_eq!(store.history_id(), history);
    }
}

#[test]
fn occupied_place_is_refused_and_unfinished_copy_is_repeated() {
    let dir = tempfile::tempdir().expect("a directory");
    let [source, target, other] = ["a", "b", "c"].map(|name| dir.path().join(name));
    fill(open_sqlite(&source));
    fill(open_sqlite(&other));
    let refused = move_state(&*open_sqlite(&source), &*open_sqlite(&other));
    let refused = refused.expect_err("it has state").to_string();
    assert!(refused.contains("it already contains state"), "{refused}");

    // Not even if that history was moved away, because a process may still look for it there.
    move_state(&*open_sqlite(&other), &*open_sqlite(&dir.path().join("d"))).expect("moved");
    let refused = move_state(&*open_sqlite(&source), &*open_sqlite(&other));
    let refused = refused.expect_err("it has state").to_string();
    assert!(refused.contains("it already contains state"), "{refused}");

    // The copy ends half way, for example because the connection is lost.
    let (from, to) = (open_sqlite(&source), open_sqlite(&target));
    let mut parts = 0;
    let ended = relocate(&*from, &*to, || {
        parts += 1;
        if parts == 2 {
            return Err(StoreError::LeaseLost);
        }
        Ok(())
    });
    assert!(matches!(ended, Err(StoreError::LeaseLost)), "{ended:?}");
    let unfinished = RecordStore::open(open_sqlite(&target), StoreAccess::Write).err();
    let unfinished = unfinished.expect("nothing may use it yet").to_string();
    assert!(unfinished.contains("was moved to"), "{unfinished}");
    drop(RecordStore::open(open_sqlite(&source), StoreAccess::Write).expect("still in use"));
    move_state(&*from, &*to).expect("moved");
    assert_eq!(contents(&*from), contents(&*to));
}

#[test]
fn copy_that_differs_is_not_used() {
    /// Loses one record of the copy.
    struct Lossy(Box<dyn Database>);
    impl Database for Lossy {
        fn read(&self, ranges: &[KeyRange]) -> Result<ship::store::Snapshot, StoreError> {
            self.0.read(ranges)
        }
        fn commit(
            &self,
            transaction: &ship::store::Transaction,
        ) -> Result<ship::store::CommitResult, StoreError> {
            let mut kept = transaction.clone();
            kept.writes.retain(
                |write| !matches!(write, Write::Put { key, .. } if key.ends_with("/0000000101")),
            );
            self.0.commit(&kept)
        }
        fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError> {
            self.0.renew(key, created)
        }
        fn watch(&self, key: &str) -> Option<tokio::sync::watch::Receiver<u64>> {
            self.0.watch(key)
        }
        fn location(&self) -> String {
            self.0.location()
        }
        fn size_bytes(&self) -> Result<u64, StoreError> {
            self.0.size_bytes()
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let [source, target] = ["a", "b"].map(|name| dir.path().join(name));
    fill(open_sqlite(&source));
    let lossy = Lossy(open_sqlite(&target));
    let refused = move_state(&*open_sqlite(&source), &lossy);
    let refused = refused.expect_err("a record is missing").to_string();
    assert!(refused.contains("the copy of journal"), "{refused}");
    let store = RecordStore::open(open_sqlite(&source), StoreAccess::Write);
    assert!(store.is_ok(), "the state stays where it is");
}
