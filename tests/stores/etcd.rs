//! What is special to etcd: its URL, its limits and its leases.

use std::thread;
use std::time::{Duration, Instant};

use ship::store::{
    Database, Etcd, KeyRange, LEASE_EXPIRES_AFTER, StoreAccess, StoreError, Transaction, Write,
};

use super::database_contract::check_all;
use super::transactions::{
    absent, commit, created_by, delete, delete_prefix, eventually, modified_by, prefix, put,
    put_expiring, record, refuse, renew, value,
};
use ship_testing::etcd_cluster::{ClusterOptions, EtcdCluster};

#[track_caller]
pub(crate) fn open(url: &str) -> Etcd {
    Etcd::open(url, StoreAccess::Write).unwrap_or_else(|error| panic!("{error}"))
}

/// The text of an error of this kind.
#[track_caller]
pub(crate) fn rejected<T>(result: Result<T, StoreError>) -> String {
    match result.err() {
        Some(error @ StoreError::Rejected { .. }) => error.to_string(),
        other => panic!("not rejected: {other:?}"),
    }
}

/// The text of an error of this kind.
#[track_caller]
pub(crate) fn unavailable<T>(result: Result<T, StoreError>) -> String {
    match result.err() {
        Some(error @ StoreError::Unavailable { .. }) => error.to_string(),
        other => panic!("not unavailable: {other:?}"),
    }
}

/// A transaction without conditions.
pub(crate) fn unconditional(writes: Vec<Write>) -> Transaction {
    Transaction {
        conditions: Vec::new(),
        writes,
    }
}

#[track_caller]
pub(crate) fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

#[test]
fn one_member_does_what_ship_expects_of_a_database() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    check_all(&|| Box::new(open(&cluster.url())));
}

#[test]
fn three_members_do_what_ship_expects_of_a_database() {
    let Some(cluster) = EtcdCluster::start(3) else {
        return;
    };
    check_all(&|| Box::new(open(&cluster.url())));
}

#[test]
fn url_with_a_mistake_is_rejected_without_the_password() {
    for (url, expected) in [
        (
            "etcd://root:se/cret@db1",
            "it contains `@` after the first `/`",
        ),
        (
            "etcd://root:secret@db1:x",
            "its endpoint 1 has no valid port",
        ),
        (
            "etcd://root:secret@db1?user=x",
            "it has an option other than",
        ),
        (
            "etcd://root:secret@db1?ca=/none.pem",
            "cannot read /none.pem",
        ),
        (
            "etcd://root:secret@db1?ca=Cargo.toml",
            "Cargo.toml does not contain certificates",
        ),
        ("etcd://db1?cert=Cargo.toml", "needs both `cert` and `key`"),
        (
            "etcd://db1?cert=Cargo.toml&key=Cargo.toml",
            "does not contain a certificate and its key",
        ),
    ] {
        let text = rejected(Etcd::open(url, StoreAccess::Read));
        assert_contains(&text, &[expected, "\nhint: "]);
        assert!(!text.contains("cret"), "{text}");
    }
}

#[test]
fn location_and_debug_output_have_no_password() {
    let database = open("etcd://root:secret@db1,db2:99/team/ship");
    assert_eq!(database.location(), "etcd://db1:2379,db2:99/team/ship");
    assert!(!format!("{database:?}").contains("secret"));
}

#[test]
fn records_of_other_prefixes_are_not_touched() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let endpoint = cluster.endpoint(0);
    let one = open(&format!("etcd://{endpoint}/ship"));
    let other = open(&format!("etcd://{endpoint}/ship2"));
    cluster.etcdctl(&["put", "ship", "not below the prefix"]);
    commit(&one, &[], vec![put("a/key", "one")]);
    commit(&other, &[absent("a/key")], vec![put("a/key", "other")]);
    commit(&one, &[], vec![delete_prefix("a/"), delete("b")]);
    assert_eq!(record(&one, "a/key"), None);
    assert_eq!(value(&other, "a/key").as_deref(), Some("other"));
    assert_contains(&cluster.etcdctl(&["get", "ship"]), &["not below"]);

    // A value that is not text is another program's.
    cluster
        .post(
            0,
            "/v3/kv/put",
            &serde_json::json!({ "key": "c2hpcC9hL2I=", "value": "/w==" }),
        )
        .unwrap();
    let range = KeyRange::Prefix("a/".to_owned());
    assert_contains(
        &rejected(one.read(&[range])),
        &["below `ship/` is not text"],
    );
}

#[test]
fn size_is_that_of_the_database_of_a_member() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let before = database.size_bytes().unwrap();
    assert!(before > 0);
    commit(&database, &[], vec![put("large", &"x".repeat(1 << 20))]);
    eventually("the database grows", || {
        database.size_bytes().unwrap() > before + (1 << 20)
    });
}

#[test]
fn transaction_beyond_the_limits_is_rejected() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let writes = |count: usize| (0..count).map(|n| put(&format!("n/{n}"), "x")).collect();
    commit(&database, &[], writes(128));
    let text = rejected(database.commit(&unconditional(writes(129))));
    assert_contains(&text, &["129", "128", "hint: split"]);

    let large = |bytes: usize| vec![put("large", &"x".repeat(bytes))];
    commit(&database, &[], large(1_572_000));
    // The first is only too large with the rest of the request.
    let text = rejected(database.commit(&unconditional(large(1_572_850))));
    assert_contains(&text, &["request is too large"]);
    let text = rejected(database.commit(&unconditional(large(1_572_900))));
    assert_contains(&text, &["1572905 bytes", "1572864"]);
    assert_eq!(value(&database, "large").unwrap().len(), 1_572_000);

    // etcd does not accept two writes of one key.
    let text = rejected(database.commit(&unconditional(vec![put("a", "x"), delete_prefix("a")])));
    assert_contains(&text, &["duplicate key"]);
}

#[test]
fn more_ranges_than_operations_are_read_at_one_moment() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let keys: Vec<String> = (0..300).map(|number| format!("many/{number}")).collect();
    let ends = [keys[0].clone(), keys[299].clone()];
    let both = |text: &str| ends.iter().map(|key| put(key, text)).collect::<Vec<_>>();
    commit(&database, &[], both("0"));
    let ranges: Vec<KeyRange> = keys.into_iter().map(KeyRange::Key).collect();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let database = open(&cluster.url());
            for number in 1..200 {
                commit(&database, &[], both(&number.to_string()));
            }
        });
        while !writer.is_finished() {
            let snapshot = database.read(&ranges).unwrap();
            assert_eq!(snapshot.ranges.len(), 300);
            assert_eq!(snapshot.ranges[0][0].value, snapshot.ranges[299][0].value);
            assert!(snapshot.ranges[1].is_empty());
        }
    });
}

#[test]
fn lease_that_is_not_renewed_expires() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    let kept = commit(&database, &[], vec![put_expiring("kept", "bob")]);
    let since = Instant::now();
    while record(&database, "lease").is_some() {
        let age = record(&database, "lease").map_or(Duration::ZERO, |record| record.age);
        assert!(age < LEASE_EXPIRES_AFTER * 2);
        assert!(
            since.elapsed() < LEASE_EXPIRES_AFTER * 2,
            "it does not expire"
        );
        assert!(renew(&database, "kept", kept));
        thread::sleep(Duration::from_millis(200));
    }
    let elapsed = since.elapsed();
    assert!(
        elapsed + Duration::from_secs(2) > LEASE_EXPIRES_AFTER,
        "{elapsed:?}"
    );
    assert!(!renew(&database, "lease", created));
    refuse(
        &database,
        &[created_by("lease", created)],
        vec![put("work", "x")],
    );
    assert!(record(&database, "kept").is_some());
}

#[test]
fn lease_that_was_revoked_cannot_be_renewed() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    for lease in leases(&cluster) {
        cluster.etcdctl(&["lease", "revoke", &lease]);
    }
    assert_eq!(record(&database, "lease"), None);
    assert!(!renew(&database, "lease", created));
}

#[test]
fn lease_is_renewed_after_the_process_has_forgotten_it() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let created = commit(
        &open(&cluster.url()),
        &[],
        vec![put_expiring("lease", "anna")],
    );
    let database = open(&cluster.url());
    let age = || record(&database, "lease").expect("a lease").age;
    eventually("the lease has an age", || age() >= Duration::from_secs(2));
    assert!(renew(&database, "lease", created));
    assert!(age() < Duration::from_secs(2), "{:?}", age());
}

#[test]
fn lease_of_a_refused_transaction_is_revoked() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    commit(&database, &[], vec![put_expiring("lease", "anna")]);
    refuse(
        &database,
        &[absent("lease")],
        vec![put_expiring("lease", "bob")],
    );
    eventually("only the lease of the record is left", || {
        leases(&cluster).len() == 1
    });
    assert_eq!(value(&database, "lease").as_deref(), Some("anna"));
}

#[test]
fn record_written_without_a_lease_no_longer_expires() {
    let Some(cluster) = EtcdCluster::start(1) else {
        return;
    };
    let database = open(&cluster.url());
    let created = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    let modified = commit(
        &database,
        &[created_by("lease", created)],
        vec![put("lease", "bob")],
    );
    for lease in leases(&cluster) {
        cluster.etcdctl(&["lease", "revoke", &lease]);
    }
    assert!(renew(&database, "lease", created));
    let record = record(&database, "lease").expect("a record");
    assert_eq!((record.created, record.modified), (created, modified));
    assert_eq!(record.age, Duration::ZERO);
}

#[test]
fn full_database_is_unavailable_until_space_is_freed() {
    let options = ClusterOptions {
        quota_bytes: Some(8 << 20),
        ..ClusterOptions::default()
    };
    let Some(cluster) = EtcdCluster::start_with(1, options) else {
        return;
    };
    let database = open(&cluster.url());
    let lease = commit(&database, &[], vec![put_expiring("lease", "anna")]);
    let large = unconditional(vec![put("large", &"x".repeat(1 << 20))]);
    let text = (0..20).find_map(|_| database.commit(&large).err());
    let text = unavailable::<()>(Err(text.expect("an error")));
    assert_contains(
        &text,
        &["database space exceeded", "hint: compact", "alarm disarm"],
    );
    // Reading, renewing and deleting still work.
    assert!(renew(&database, "lease", lease));
    assert_eq!(prefix(&database, "large").len(), 1);
    commit(&database, &[], vec![delete("large")]);
    let expiring = unconditional(vec![put_expiring("other", "x")]);
    assert_contains(
        &unavailable(database.commit(&expiring)),
        &["space exceeded"],
    );

    let revision = record(&database, "lease").expect("a lease").modified + 1;
    let current = commit(&database, &[], Vec::new());
    assert!(current >= revision);
    cluster.etcdctl(&["compact", &current.to_string()]);
    cluster.etcdctl(&["defrag"]);
    cluster.etcdctl(&["alarm", "disarm"]);
    let revision = commit(&database, &[], vec![put("small", "x")]);
    commit(
        &database,
        &[modified_by("small", revision)],
        vec![delete("small")],
    );
}

/// The ids of all leases.
fn leases(cluster: &EtcdCluster) -> Vec<String> {
    let found = cluster.post(0, "/v3/lease/leases", &serde_json::json!({}));
    let found = found.unwrap();
    let ids = found["leases"].as_array().into_iter().flatten();
    let id = |lease: &serde_json::Value| lease["ID"].as_str().unwrap().parse::<i64>().unwrap();
    ids.map(|lease| format!("{:x}", id(lease))).collect()
}
