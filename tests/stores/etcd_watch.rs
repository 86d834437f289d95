//! Watching a record in etcd, across the loss of the member that reports its changes.

use std::time::{Duration, Instant};

use ship::store::Database as _;
use tokio::sync::watch::Receiver;

use super::etcd::open;
use super::transactions::{commit, delete, eventually, put};
use ship_testing::etcd_cluster::EtcdCluster;

const KEY: &str = "services/a/b/requests/0000000001";
/// A suspended member is noticed by its silence.
const DEADLINE: Duration = Duration::from_mins(1);

/// Waits until the number has changed since it was last read.
#[track_caller]
fn await_change(changes: &mut Receiver<u64>, deadline: Duration) {
    let since = Instant::now();
    while !changes.has_changed().expect("a watch") {
        assert!(since.elapsed() < deadline, "no change is reported");
        std::thread::sleep(Duration::from_millis(5));
    }
    changes.borrow_and_update();
}

#[test]
fn watch_reports_each_kind_of_change_at_once() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let mut changes = database.watch(KEY).expect("a watch");
    // It has begun.
    await_change(&mut changes, DEADLINE);
    let other = open(&cluster.url());
    for writes in [
        vec![put(KEY, "pause")],
        vec![put(KEY, "abort")],
        vec![delete(KEY)],
    ] {
        commit(&other, &[], writes);
        await_change(&mut changes, Duration::from_secs(5));
    }
    // Other records do not matter.
    commit(
        &other,
        &[],
        vec![put(&format!("{KEY}/1"), "x"), put("a", "x")],
    );
    commit(
        &other,
        &[],
        vec![put(KEY, "large"), put("b", &"x".repeat(1 << 20))],
    );
    await_change(&mut changes, Duration::from_secs(5));
    assert!(!changes.has_changed().unwrap());
    // Large values arrive in several parts.
    commit(&other, &[], vec![put(KEY, &"x".repeat(1_500_000))]);
    await_change(&mut changes, Duration::from_secs(5));
}

#[test]
fn watch_survives_a_restart_and_a_compaction() {
    let Some(mut cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let mut changes = database.watch(KEY).expect("a watch");
    await_change(&mut changes, DEADLINE);
    let other = open(&cluster.url());
    let compact = |cluster: &EtcdCluster, revision: u64| {
        cluster.etcdctl(&["compact", "--physical", &revision.to_string()]);
    };
    commit(&other, &[], vec![put(KEY, "1")]);
    let revision = commit(&other, &[], vec![put(KEY, "2")]);
    compact(&cluster, revision);
    await_change(&mut changes, DEADLINE);
    cluster.kill(0);
    cluster.restart(0);
    // Writes and a compaction that the watch has missed.
    commit(&other, &[], vec![put(KEY, "3")]);
    let revision = commit(&other, &[], vec![put(KEY, "4")]);
    compact(&cluster, revision);
    await_change(&mut changes, DEADLINE);
    let is_quiet = |changes: &mut Receiver<u64>| {
        let number = *changes.borrow_and_update();
        commit(&other, &[], vec![put(KEY, "5")]);
        await_change(changes, DEADLINE);
        *changes.borrow() == number + 1
    };
    // The watch has begun again if a write leads to just one change.
    eventually("the watch has begun again", || is_quiet(&mut changes));
}

#[test]
fn watch_survives_the_loss_of_each_member() {
    let Some(mut cluster) = EtcdCluster::start(3) else {
        return;
    };
    let database = open(&cluster.url());
    let mut changes = database.watch(KEY).expect("a watch");
    await_change(&mut changes, DEADLINE);
    for missing in 0..3 {
        cluster.kill(missing);
        let rest: Vec<usize> = (0..3).filter(|member| *member != missing).collect();
        let other = open(&cluster.url_of(&rest));
        cluster.leader();
        let _ = changes.borrow_and_update();
        // Reported, or the watch begins again.
        commit(&other, &[], vec![put(KEY, &missing.to_string())]);
        await_change(&mut changes, DEADLINE);
        cluster.restart(missing);
    }
}

#[test]
fn watch_leaves_a_member_that_is_suspended() {
    let Some(cluster) = EtcdCluster::start(3) else {
        return;
    };
    // The watch begins at the first endpoint.
    let database = open(&cluster.url());
    let mut changes = database.watch(KEY).expect("a watch");
    await_change(&mut changes, DEADLINE);
    cluster.suspend(0);
    let other = open(&cluster.url_of(&[1, 2]));
    eventually("there is a leader", || other.read(&[]).is_ok());
    await_change(&mut changes, DEADLINE);
    commit(&other, &[], vec![put(KEY, "1")]);
    await_change(&mut changes, Duration::from_secs(5));
    cluster.resume(0);
}

#[test]
fn watch_begins_when_the_cluster_can_be_reached() {
    let Some(mut cluster) = EtcdCluster::start(1) else {
        return;
    };
    cluster.kill(0);
    let database = open(&cluster.url());
    let mut changes = database.watch(KEY).expect("a watch");
    cluster.restart(0);
    await_change(&mut changes, DEADLINE);
    commit(&open(&cluster.url()), &[], vec![put(KEY, "1")]);
    await_change(&mut changes, Duration::from_secs(5));
}
