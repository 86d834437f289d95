//! What every implementation of `Database` must do. Each function uses keys of its own, so all of
//! them can run with one database, also at the same time. None may run twice with the same database
//! unless its keys were deleted, which [`check_all`] does first.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ship::store::{CommitResult, Database, KeyRange, LEASE_EXPIRES_AFTER, Transaction, Write};

use super::transactions::{
    absent, commit, created_by, delete, delete_prefix, eventually, keys_of, modified_by, prefix,
    put, put_expiring, record, refuse, renew, value,
};

/// Connects to the database, as another process would.
pub(crate) type Open<'a> = &'a (dyn Fn() -> Box<dyn Database> + Sync);

/// Checks everything, one function after the other.
pub(crate) fn check_all(open: Open<'_>) {
    let database = open();
    let database = &*database;
    commit(database, &[], vec![delete_prefix("contract/")]);
    put_sets_revisions(database);
    delete_removes_records(database);
    absent_is_met_only_without_a_record(database);
    created_by_is_met_until_the_record_is_deleted(database);
    modified_by_is_met_until_the_record_is_changed(database);
    refused_transaction_writes_nothing(database);
    transaction_without_writes_checks_its_conditions(database);
    prefix_contains_only_keys_that_begin_with_it(database);
    keys_are_in_the_order_of_their_bytes(database);
    values_are_kept_unchanged(database);
    large_value_is_kept(database);
    many_writes_commit_together(database);
    many_ranges_are_read_together(database);
    snapshot_has_the_time_of_the_database(database);
    lease_is_renewed_by_the_one_who_created_it(database);
    renewal_resets_the_age_of_a_lease(database);
    watch_reports_a_change(open);
    ranges_are_read_at_one_moment(open);
    concurrent_increments_lose_nothing(open);
    absent_has_one_winner(open);
    opposite_conditions_do_not_block_each_other(open);
}

pub(crate) fn put_sets_revisions(database: &dyn Database) {
    let key = "contract/put/key";
    let first = commit(database, &[], vec![put(key, "one")]);
    let before = record(database, key).expect("a record");
    assert_eq!(before.key, key);
    assert_eq!(before.value, "one");
    assert_eq!((before.created, before.modified), (first, first));

    let second = commit(database, &[], vec![put(key, "two")]);
    assert!(second > first, "{second} is not after {first}");
    let record = record(database, key).expect("a record");
    assert_eq!(record.value, "two");
    assert_eq!((record.created, record.modified), (first, second));
}

pub(crate) fn delete_removes_records(database: &dyn Database) {
    let keys = ["contract/delete/a/1", "contract/delete/a/2"];
    let others = [
        "contract/delete/a",
        "contract/delete/a0",
        "contract/delete/b",
    ];
    let all = keys.iter().chain(&others);
    commit(database, &[], all.map(|key| put(key, "x")).collect());

    commit(database, &[], vec![delete_prefix("contract/delete/a/")]);
    assert_eq!(keys_of(&prefix(database, "contract/delete/")), others);

    commit(database, &[], vec![delete("contract/delete/a0")]);
    assert_eq!(record(database, "contract/delete/a0"), None);
    // What is not there can be deleted again.
    commit(
        database,
        &[],
        vec![
            delete("contract/delete/a0"),
            delete_prefix("contract/delete/a/"),
        ],
    );
    assert_eq!(
        keys_of(&prefix(database, "contract/delete/")),
        ["contract/delete/a", "contract/delete/b"]
    );
}

pub(crate) fn absent_is_met_only_without_a_record(database: &dyn Database) {
    let key = "contract/absent/key";
    let created = commit(database, &[absent(key)], vec![put(key, "one")]);
    refuse(database, &[absent(key)], vec![put(key, "two")]);
    assert_eq!(value(database, key).as_deref(), Some("one"));

    commit(database, &[], vec![delete(key)]);
    let again = commit(database, &[absent(key)], vec![put(key, "three")]);
    assert!(again > created, "{again} is not after {created}");
    let record = record(database, key).expect("a record");
    assert_eq!((record.created, record.modified), (again, again));
}

pub(crate) fn created_by_is_met_until_the_record_is_deleted(database: &dyn Database) {
    let key = "contract/created/key";
    let other = "contract/created/other";
    refuse(database, &[created_by(key, 1)], vec![put(other, "none")]);
    let created = commit(database, &[], vec![put(key, "one")]);
    commit(database, &[created_by(key, created)], vec![put(key, "two")]);
    commit(database, &[created_by(key, created)], vec![put(other, "1")]);
    refuse(
        database,
        &[created_by(key, created + 1)],
        vec![put(other, "2")],
    );

    // A record that was deleted and written again is another one.
    commit(database, &[created_by(key, created)], vec![delete(key)]);
    refuse(database, &[created_by(key, created)], vec![put(other, "3")]);
    let again = commit(database, &[], vec![put(key, "two")]);
    refuse(database, &[created_by(key, created)], vec![put(other, "4")]);
    commit(database, &[created_by(key, again)], vec![put(other, "5")]);
    assert_eq!(value(database, other).as_deref(), Some("5"));
}

pub(crate) fn modified_by_is_met_until_the_record_is_changed(database: &dyn Database) {
    let key = "contract/modified/key";
    let other = "contract/modified/other";
    refuse(database, &[modified_by(key, 1)], vec![put(other, "none")]);
    let first = commit(database, &[], vec![put(key, "one")]);
    commit(database, &[modified_by(key, first)], vec![put(other, "1")]);
    let second = commit(database, &[modified_by(key, first)], vec![put(key, "two")]);
    refuse(
        database,
        &[modified_by(key, first)],
        vec![put(key, "three")],
    );
    // The value is the same, but the record was written.
    let third = commit(database, &[modified_by(key, second)], vec![put(key, "two")]);
    refuse(
        database,
        &[modified_by(key, second)],
        vec![put(key, "four")],
    );
    commit(database, &[modified_by(key, third)], vec![delete(key)]);
    refuse(database, &[modified_by(key, third)], vec![put(key, "five")]);
    assert_eq!(record(database, key), None);
}

pub(crate) fn refused_transaction_writes_nothing(database: &dyn Database) {
    let there = "contract/refused/there";
    let revision = commit(database, &[], vec![put(there, "one")]);
    let conditions = [
        created_by(there, revision),
        absent("contract/refused/new"),
        absent(there),
    ];
    let writes = vec![
        put("contract/refused/new", "x"),
        put(there, "two"),
        delete_prefix("contract/refused/th/"),
    ];
    refuse(database, &conditions, writes);
    let records = prefix(database, "contract/refused/");
    assert_eq!(keys_of(&records), [there]);
    assert_eq!(records[0].value, "one");
    assert_eq!(records[0].modified, revision);
}

pub(crate) fn transaction_without_writes_checks_its_conditions(database: &dyn Database) {
    let key = "contract/unwritten/key";
    commit(database, &[absent(key)], Vec::new());
    let revision = commit(database, &[], vec![put(key, "one")]);
    commit(database, &[modified_by(key, revision)], Vec::new());
    refuse(database, &[absent(key)], Vec::new());
    assert_eq!(record(database, key).expect("a record").modified, revision);
}

pub(crate) fn prefix_contains_only_keys_that_begin_with_it(database: &dyn Database) {
    let keys = [
        "contract/prefix/a",
        "contract/prefix/a/",
        "contract/prefix/a/b",
        "contract/prefix/a/\u{e9}",
        "contract/prefix/a/\u{10ffff}",
        "contract/prefix/a0",
        "contract/prefix/a%",
        "contract/prefix/a_b",
        "contract/prefix/b",
        "contract/prefix/\u{d7ff}",
        "contract/prefix/\u{e000}",
        "contract/prefix/\u{10ffff}x",
    ];
    commit(
        database,
        &[],
        keys.iter().map(|key| put(key, "x")).collect(),
    );
    for begin in [
        "contract/prefix/",
        "contract/prefix/a",
        "contract/prefix/a/",
        "contract/prefix/a%",
        "contract/prefix/a_",
        "contract/prefix/a/\u{10ffff}",
        "contract/prefix/\u{d7ff}",
        "contract/prefix/\u{10ffff}",
        "contract/prefix/none",
        "contract/prefix/a/b/c",
    ] {
        let mut expected: Vec<&str> = keys.to_vec();
        expected.retain(|key| key.starts_with(begin));
        expected.sort_unstable();
        assert_eq!(keys_of(&prefix(database, begin)), expected, "{begin}");
    }
}

pub(crate) fn keys_are_in_the_order_of_their_bytes(database: &dyn Database) {
    let mut keys: Vec<String> = [
        "b",
        "a",
        "A",
        "B",
        "a/b",
        "a-b",
        "a b",
        "a.b",
        "a0",
        "ab",
        "\u{e4}",
        "\u{df}",
        "z",
        "Z",
        "~",
        "\u{1f600}",
        "\u{ffff}",
        "\u{10000}",
        "0000000010",
        "0000000009",
        "10",
        "9",
        "_",
        "%",
        "'",
        "\"",
        "\\",
        "$1",
        "{}",
        "a\tb",
        "I",
        "i",
        "\u{131}",
    ]
    .iter()
    .map(|key| format!("contract/order/{key}"))
    .collect();
    commit(
        database,
        &[],
        keys.iter().map(|key| put(key, key)).collect(),
    );
    keys.sort_unstable();
    let records = prefix(database, "contract/order/");
    assert_eq!(keys_of(&records), keys);
    assert!(records.iter().all(|record| record.value == record.key));
}

pub(crate) fn values_are_kept_unchanged(database: &dyn Database) {
    let values = [
        "",
        " ",
        "'; drop table records; --",
        "\"double\" \\backslash\\ $$dollar$$ {brace} %s ?1 $1",
        "line\nline\r\n\ttab\u{1}\u{7f}",
        "NULL",
        "null",
        "{\"escaped\":\"\\u0000\"}",
        "\u{e4}\u{f6}\u{fc} \u{4e16}\u{754c} \u{1f680} e\u{301} \u{202e} \u{feff}",
        "{1,2,\"3\"}",
    ];
    let key = |number: usize| format!("contract/values/{number:02}");
    let writes = values.iter().enumerate();
    let writes = writes.map(|(number, value)| put(&key(number), value));
    commit(database, &[], writes.collect());
    let records = prefix(database, "contract/values/");
    let found: Vec<&str> = records.iter().map(|record| record.value.as_str()).collect();
    assert_eq!(found, values);
}

pub(crate) fn large_value_is_kept(database: &dyn Database) {
    let key = "contract/large/key";
    let mut large: String = (0u32..).map(|n| format!("{n},")).take(150_000).collect();
    let mut end = 1_000_000;
    while !large.is_char_boundary(end) {
        end -= 1;
    }
    large.truncate(end);
    commit(database, &[], vec![put(key, &large)]);
    let found = value(database, key).expect("a record");
    assert!(found == large, "{} bytes were kept", found.len());
}

pub(crate) fn many_writes_commit_together(database: &dyn Database) {
    let lease = "contract/many/lease";
    let created = commit(database, &[absent(lease)], vec![put(lease, "x")]);
    let key = |number: usize| format!("contract/many/events/{number:03}");
    let conditions = [created_by(lease, created), absent(&key(0))];
    let writes: Vec<Write> = (0..100)
        .map(|number| put(&key(number), &number.to_string()))
        .collect();
    let revision = commit(database, &conditions, writes.clone());
    let records = prefix(database, "contract/many/events/");
    assert_eq!(records.len(), 100);
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.key, key(number));
        assert_eq!(record.value, number.to_string());
        assert_eq!((record.created, record.modified), (revision, revision));
    }
    refuse(database, &conditions, writes);
}

pub(crate) fn many_ranges_are_read_together(database: &dyn Database) {
    commit(
        database,
        &[],
        vec![
            put("contract/ranges/a/1", "1"),
            put("contract/ranges/a/2", "2"),
            put("contract/ranges/b", "3"),
        ],
    );
    let snapshot = database
        .read(&[
            KeyRange::Key("contract/ranges/b".to_owned()),
            KeyRange::Prefix("contract/ranges/none/".to_owned()),
            KeyRange::Prefix("contract/ranges/a/".to_owned()),
            KeyRange::Key("contract/ranges/a".to_owned()),
            KeyRange::Key("contract/ranges/b".to_owned()),
            KeyRange::Prefix("contract/ranges/".to_owned()),
        ])
        .expect("a snapshot");
    let found: Vec<Vec<&str>> = snapshot
        .ranges
        .iter()
        .map(|records| records.iter().map(|record| record.value.as_str()).collect())
        .collect();
    let expected: [&[&str]; 6] = [&["3"], &[], &["1", "2"], &[], &["3"], &["1", "2", "3"]];
    assert_eq!(found, expected);
}

pub(crate) fn snapshot_has_the_time_of_the_database(database: &dyn Database) {
    let here = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let snapshot = database.read(&[]).expect("a snapshot");
    assert!(snapshot.ranges.is_empty());
    let there = Duration::from_millis(snapshot.at.0);
    assert!(here().abs_diff(there) < Duration::from_mins(1));
    let key = KeyRange::Key("contract/time".to_owned());
    let later = database.read(&[key]).expect("a snapshot").at;
    assert!(later >= snapshot.at, "{later:?} < {:?}", snapshot.at);
}

pub(crate) fn lease_is_renewed_by_the_one_who_created_it(database: &dyn Database) {
    let key = "contract/lease/lease";
    let work = "contract/lease/work";
    assert!(!renew(database, key, 1), "the lease does not exist");
    let first = commit(database, &[absent(key)], vec![put_expiring(key, "anna")]);
    refuse(database, &[absent(key)], vec![put_expiring(key, "bob")]);
    assert!(renew(database, key, first));
    assert!(!renew(database, key, first + 1));
    let lease = record(database, key).expect("a lease");
    assert_eq!(lease.value, "anna");
    assert_eq!((lease.created, lease.modified), (first, first));
    assert!(lease.age < LEASE_EXPIRES_AFTER, "{:?}", lease.age);

    // Taken over: the first holder can neither renew nor write.
    commit(database, &[created_by(key, first)], vec![delete(key)]);
    assert!(!renew(database, key, first));
    let second = commit(database, &[absent(key)], vec![put_expiring(key, "bob")]);
    assert!(second > first, "{second} is not after {first}");
    assert!(!renew(database, key, first));
    refuse(database, &[created_by(key, first)], vec![put(work, "anna")]);
    assert!(renew(database, key, second));
    commit(database, &[created_by(key, second)], vec![put(work, "bob")]);
    assert_eq!(value(database, work).as_deref(), Some("bob"));

    // Taken over in one transaction that only changes the holder.
    let third = commit(
        database,
        &[modified_by(key, second)],
        vec![put_expiring(key, "carl")],
    );
    let lease = record(database, key).expect("a lease");
    assert_eq!((lease.created, lease.modified), (second, third));
    assert!(renew(database, key, second));
}

pub(crate) fn renewal_resets_the_age_of_a_lease(database: &dyn Database) {
    let key = "contract/age/lease";
    let old = Duration::from_secs(2);
    let created = commit(database, &[absent(key)], vec![put_expiring(key, "anna")]);
    let age = || record(database, key).expect("a lease").age;
    assert!(age() < old, "{:?}", age());
    eventually("the lease has an age", || age() >= old);
    assert!(renew(database, key, created));
    assert!(age() < old, "{:?}", age());
    eventually("the lease has an age", || age() >= old);
    commit(
        database,
        &[created_by(key, created)],
        vec![put_expiring(key, "anna")],
    );
    assert!(age() < old, "{:?}", age());
}

pub(crate) fn watch_reports_a_change(open: Open<'_>) {
    let key = "contract/watch/requests/0000000001";
    let database = open();
    let Some(mut changes) = database.watch(key) else {
        return;
    };
    let other = open();
    // A write before the watch has begun may be missed.
    for text in ["1", "2", "3"] {
        eventually("a change is reported", || {
            commit(&*other, &[], vec![put(key, text)]);
            let since = Instant::now();
            while since.elapsed() < Duration::from_secs(1) {
                if changes.has_changed().expect("a watch") {
                    changes.borrow_and_update();
                    return true;
                }
                thread::sleep(Duration::from_millis(2));
            }
            false
        });
    }
}

pub(crate) fn ranges_are_read_at_one_moment(open: Open<'_>) {
    let keys = ["contract/moment/a", "contract/moment/z"];
    let both = |text: &str| keys.iter().map(|key| put(key, text)).collect::<Vec<_>>();
    let finished = AtomicBool::new(false);
    commit(&*open(), &[], both("start"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let database = open();
            let mut number = 0_u64;
            while !finished.load(Ordering::Relaxed) {
                commit(&*database, &[], both(&number.to_string()));
                number += 1;
            }
        });
        // Ends the writer also if an assertion fails.
        let _finish = Finish(&finished);
        let database = open();
        let ranges = [
            KeyRange::Key(keys[0].to_owned()),
            KeyRange::Prefix("contract/moment/".to_owned()),
            KeyRange::Key(keys[1].to_owned()),
        ];
        let mut seen = BTreeSet::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        for read in 0_u32.. {
            if read >= 200 && (seen.len() > 1 || Instant::now() > deadline) {
                break;
            }
            let snapshot = database.read(&ranges).expect("a snapshot");
            let values: BTreeSet<String> = snapshot
                .ranges
                .into_iter()
                .flatten()
                .map(|record| format!("{} by {}", record.value, record.modified))
                .collect();
            assert_eq!(values.len(), 1, "{values:?}");
            seen.extend(values);
        }
        assert!(seen.len() > 1, "the writer never wrote between two reads");
    });
}

pub(crate) fn concurrent_increments_lose_nothing(open: Open<'_>) {
    const THREADS: u64 = 8;
    const TIMES: u64 = 50;
    let key = "contract/increments/number";
    commit(&*open(), &[], vec![put(key, "0")]);
    let increment = |database: &dyn Database| {
        let before = record(database, key).expect("a record");
        let number: u64 = before.value.parse().expect("a number");
        let transaction = Transaction {
            conditions: vec![modified_by(key, before.modified)],
            writes: vec![put(key, &(number + 1).to_string())],
        };
        match database.commit(&transaction).expect("an answer") {
            CommitResult::Committed(revision) => {
                assert!(revision > before.modified);
                true
            }
            CommitResult::Refused => false,
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let database = open();
                for _ in 0..TIMES {
                    eventually("an increment commits", || increment(&*database));
                }
            });
        }
    });
    let found = value(&*open(), key);
    assert_eq!(found, Some((THREADS * TIMES).to_string()));
}

pub(crate) fn absent_has_one_winner(open: Open<'_>) {
    const THREADS: usize = 8;
    const ROUNDS: usize = 20;
    let barrier = Barrier::new(THREADS);
    let key = |round: usize| format!("contract/race/{round:02}");
    let won: Vec<Vec<(usize, u64)>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..THREADS)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let database = open();
                    // Connects before the race.
                    assert_eq!(record(&*database, "contract/race/none"), None);
                    let mut won = Vec::new();
                    for round in 0..ROUNDS {
                        barrier.wait();
                        let transaction = Transaction {
                            conditions: vec![absent(&key(round))],
                            writes: vec![put(&key(round), &number.to_string())],
                        };
                        match database.commit(&transaction) {
                            Ok(CommitResult::Committed(revision)) => won.push((round, revision)),
                            Ok(CommitResult::Refused) => {}
                            // A panic would leave the others at the barrier.
                            Err(error) => eprintln!("round {round}: {error}"),
                        }
                    }
                    won
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("a racer"))
            .collect()
    });
    let database = open();
    for round in 0..ROUNDS {
        let record = record(&*database, &key(round)).expect("a winner");
        let winners: Vec<(String, u64)> = won
            .iter()
            .enumerate()
            .flat_map(|(number, won)| won.iter().map(move |won| (number, won)))
            .filter(|(_, (won, _))| *won == round)
            .map(|(number, (_, revision))| (number.to_string(), *revision))
            .collect();
        assert_eq!(winners, [(record.value, record.created)], "round {round}");
    }
}

/// Two writers whose conditions and writes are on the same records in opposite order.
pub(crate) fn opposite_conditions_do_not_block_each_other(open: Open<'_>) {
    let keys = ["contract/opposite/a", "contract/opposite/b"];
    let revision = commit(
        &*open(),
        &[],
        keys.iter().map(|key| put(key, "x")).collect(),
    );
    thread::scope(|scope| {
        for number in 0..2 {
            let (own, other) = (keys[number], keys[1 - number]);
            scope.spawn(move || {
                let database = open();
                for time in 0..50 {
                    let writes = vec![
                        put(own, &time.to_string()),
                        put(&format!("{own}/{time}"), "x"),
                        delete_prefix(&format!("{other}/")),
                    ];
                    let conditions = [created_by(other, revision), created_by(own, revision)];
                    commit(&*database, &conditions, writes);
                }
            });
        }
    });
}

/// Sets the flag when it is dropped.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
