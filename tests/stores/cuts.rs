//! Connections that are cut at any byte: no event is lost, and none is there twice.

use std::time::{Duration, Instant};

use ship::core::ids::Epoch;
use ship::core::time::Time;
use ship::store::{
    Database, Holder, RecordStore, ServiceKey, Store as _, StoreAccess, StoreError, connect,
};
use ship_testing::etcd_cluster::EtcdCluster;
use ship_testing::postgres_server::PostgresServer;

use super::cutting_proxy::CuttingProxy;
use super::store_contract::{entry, new_revision};

const CUTS: usize = 1000;
/// The time limit of one test. It ends earlier unless something is wrong.
const DEADLINE: Duration = Duration::from_mins(10);

/// Repeats a call as long as the connection is cut.
#[track_caller]
fn until_answered<T>(mut call: impl FnMut() -> Result<T, StoreError>) -> T {
    let started = Instant::now();
    loop {
        match call() {
            Ok(done) => return done,
            Err(StoreError::Unavailable { .. }) if started.elapsed() < DEADLINE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Appends events through connections that are cut. `direct` opens the database without the proxy.
fn append_through_cuts(
    proxy: &CuttingProxy,
    cut_url: &str,
    direct: &dyn Fn() -> Box<dyn Database>,
) {
    let service_key = ServiceKey {
        fleet: "production".into(),
        service: "page".into(),
    };
    // The schema and the first records exist.
    let reader = RecordStore::open(direct(), StoreAccess::Write).expect("the store");
    let mut store = until_answered(|| {
        RecordStore::open(connect(cut_url, StoreAccess::Write)?, StoreAccess::Write)
    });
    // An attempt whose answer was lost may hold the lease; its token tells that it is ours.
    let own = Holder::this_process("anna", "laptop", "deploy");
    let token = own.token.clone();
    until_answered(|| store.acquire_lease(&service_key, own.clone(), Some(&token)));
    let revision = until_answered(|| store.add_revision(&service_key, &new_revision("1")));
    let (rollout, _) =
        until_answered(|| store.begin_rollout(&service_key, revision, Epoch(0), Time(1)));
    let (mut next, started) = (1_u64, Instant::now());
    while proxy.cuts() < CUTS && started.elapsed() < DEADLINE {
        let count = 1 + next % 3;
        let entries: Vec<_> = (next..next + count).map(entry).collect();
        until_answered(|| store.append(rollout, next, &entries));
        next += count;
        until_answered(|| store.renew_lease());
    }
    assert!(proxy.cuts() >= CUTS, "only {} cuts", proxy.cuts());
    let journal = reader.journal(rollout).expect("the journal");
    let expected: Vec<_> = (1..next).map(entry).collect();
    assert_eq!(journal.len(), expected.len());
    assert_eq!(journal, expected);
    let records = reader.service(&service_key).expect("the records");
    assert_eq!(records.revisions().len(), 1, "no revision is there twice");
    eprintln!("{} cuts, {} events", proxy.cuts(), journal.len());
}

#[test]
fn postgres_keeps_every_event_once_through_a_thousand_cuts() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let proxy = CuttingProxy::start(server.port(), 12_000, 1);
    let direct = server.url();
    let cut = direct.replace(
        &format!(":{}/", server.port()),
        &format!(":{}/", proxy.port()),
    );
    append_through_cuts(&proxy, &cut, &|| {
        connect(&direct, StoreAccess::Write).expect("a connection")
    });
}

#[test]
fn etcd_keeps_every_event_once_through_a_thousand_cuts() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let proxy = CuttingProxy::start(cluster.port(0), 8_000, 2);
    let cut = format!("etcd://127.0.0.1:{}/ship", proxy.port());
    append_through_cuts(&proxy, &cut, &|| {
        connect(&cluster.url(), StoreAccess::Write).expect("a connection")
    });
}
