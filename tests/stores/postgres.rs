//! What is special to `PostgreSQL`: the schema, its versions, and roles.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ship::store::{Database, KeyRange, Postgres, StoreAccess, StoreError, Transaction};

use super::database_contract::{
    absent_has_one_winner, check_all, concurrent_increments_lose_nothing,
};
use super::transactions::{
    absent, commit, created_by, eventually, keys_of, prefix, put, record, renew, value,
};
use ship_testing::postgres_server::PostgresServer;

#[track_caller]
pub(crate) fn open(url: &str, access: StoreAccess) -> Postgres {
    Postgres::open(url, access).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn writer(url: &str) -> Postgres {
    open(url, StoreAccess::Write)
}

/// Tries to read.
pub(crate) fn read_error(database: &dyn Database) -> StoreError {
    let range = KeyRange::Key("key".to_owned());
    database.read(&[range]).expect_err("an error")
}

/// Tries to write.
pub(crate) fn commit_error(database: &dyn Database) -> StoreError {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes: vec![put("key", "value")],
    };
    database.commit(&transaction).expect_err("an error")
}

/// Checks that ship must not use the database, and that the message contains these words.
#[track_caller]
pub(crate) fn assert_rejected(error: &StoreError, words: &[&str]) {
    assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    assert_contains(error, words);
}

/// Checks that the database may work again later, and that the message contains these words.
#[track_caller]
pub(crate) fn assert_unavailable(error: &StoreError, words: &[&str]) {
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_contains(error, words);
}

#[track_caller]
fn assert_contains(error: &StoreError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn contract_is_kept() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    check_all(&|| Box::new(writer(&server.url())));
}

#[test]
fn contract_is_kept_if_commits_are_slow() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    commit(&database, &[], vec![put("a", "1")]);
    let slow = Duration::from_millis(200);
    server.slow_commits(slow);
    let since = Instant::now();
    commit(&database, &[], vec![put("a", "2"), put("b", "1")]);
    assert!(since.elapsed() >= slow, "{:?}", since.elapsed());
    assert!(
        since.elapsed() < slow * 2,
        "only one delay a commit: {:?}",
        since.elapsed()
    );

    // Other keys do not wait for it.
    let since = Instant::now();
    thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let database = writer(&server.url());
                commit(&database, &[], vec![put(&format!("other/{number}"), "1")]);
            });
        }
    });
    assert!(since.elapsed() < slow * 8, "{:?}", since.elapsed());

    server.slow_commits(Duration::from_millis(2));
    concurrent_increments_lose_nothing(&|| Box::new(writer(&server.url())));
    absent_has_one_winner(&|| Box::new(writer(&server.url())));
}

/// A holder of a lease that commits slowly is not overtaken by a process that deletes the lease.
#[test]
fn condition_holds_until_the_transaction_is_committed() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    let created = commit(&database, &[], vec![put("service/lease", "anna")]);
    server.slow_commits(Duration::from_secs(1));
    thread::scope(|scope| {
        scope.spawn(|| {
            let conditions = [created_by("service/lease", created)];
            commit(&writer(&server.url()), &conditions, vec![put("event", "1")]);
        });
        eventually("the transaction is being committed", || {
            let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
            server.sql("postgres", sleeps) == "1"
        });
        // As the function deletes a prefix, but without the delay, which a trigger makes.
        server.sql(
            "state",
            "set session_replication_role = replica; \
             delete from ship.records where key >= 'service/' and key < 'service0'",
        );
        assert_eq!(value(&database, "event").as_deref(), Some("1"));
        assert_eq!(record(&database, "service/lease"), None);
    });
}

#[test]
fn schema_is_created_once_by_processes_that_open_it_together() {
    const PROCESSES: usize = 10;
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let barrier = Barrier::new(PROCESSES);
    thread::scope(|scope| {
        for number in 0..PROCESSES {
            let (barrier, server) = (&barrier, &server);
            scope.spawn(move || {
                let database = writer(&server.url());
                barrier.wait();
                let key = format!("process/{number}");
                commit(&database, &[absent(&key)], vec![put(&key, "x")]);
            });
        }
    });
    assert_eq!(prefix(&writer(&server.url()), "process/").len(), PROCESSES);
    let version = server.sql("state", "select schema_version from ship.version");
    assert_eq!(version, "1");
}

#[test]
fn reader_creates_nothing_and_sees_what_is_written_later() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let reader = open(&server.url(), StoreAccess::Read);
    assert_eq!(record(&reader, "key"), None);
    assert!(prefix(&reader, "k").is_empty());
    assert_eq!(reader.size_bytes().unwrap(), 0);
    let snapshot = reader.read(&[KeyRange::Key("key".to_owned())]).unwrap();
    assert!(snapshot.at.0 > 0);
    let schemas = "select count(*) from pg_namespace where nspname = 'ship'";
    assert_eq!(server.sql("state", schemas), "0");

    commit(&writer(&server.url()), &[], vec![put("key", "value")]);
    assert_eq!(value(&reader, "key").as_deref(), Some("value"));
    assert!(reader.size_bytes().unwrap() > 8192);
}

#[test]
fn schemas_are_separate() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let long = "a".repeat(63);
    for schema in ["one", "user", &long] {
        let database = writer(&format!("{}?schema={schema}", server.url()));
        assert!(prefix(&database, "k").is_empty());
        commit(
            &database,
            &[],
            vec![put("key", schema), put("request", "x")],
        );
        assert_eq!(value(&database, "key").as_deref(), Some(schema));
        assert!(database.location().ends_with(schema));
    }
    let count = "select count(*) from pg_namespace where nspname = 'ship'";
    assert_eq!(server.sql("state", count), "0");
}

#[test]
fn schema_of_a_newer_version_is_rejected() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    commit(&writer(&server.url()), &[], vec![put("key", "value")]);
    server.sql("state", "update ship.version set schema_version = 2");
    for access in [StoreAccess::Read, StoreAccess::Write] {
        let database = open(&server.url(), access);
        let words = ["has version 2", "hint: use the newer version of ship"];
        assert_rejected(&read_error(&database), &words);
        assert_rejected(&commit_error(&database), &words);
    }
}

#[test]
fn tables_of_another_program_are_rejected_and_left_alone() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let tables = "select string_agg(relname, ' ' order by relname) from pg_class c \
                  join pg_namespace n on n.oid = relnamespace where nspname = 'ship'";
    for create in [
        "create schema ship; create table ship.vessels (name text)",
        "drop table ship.vessels; create table ship.version (number text)",
        "drop table ship.version; create view ship.records as select 1 as key",
    ] {
        server.sql("state", create);
        let before = server.sql("state", tables);
        for access in [StoreAccess::Read, StoreAccess::Write] {
            let database = open(&server.url(), access);
            assert_rejected(&read_error(&database), &["\"ship\"", "?schema=NAME"]);
            assert_rejected(&commit_error(&database), &["\"ship\"", "?schema=NAME"]);
        }
        assert_eq!(server.sql("state", tables), before);
    }
}

#[test]
fn database_with_another_encoding_is_rejected() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.sql(
        "postgres",
        "create database latin encoding 'LATIN1' locale 'C' template template0",
    );
    let url = server.socket_url("postgres").replace("/state", "/latin");
    assert_rejected(&commit_error(&writer(&url)), &["LATIN1", "--encoding UTF8"]);
}

/// The statements are those of the documentation.
#[test]
fn roles_need_the_documented_privileges() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.sql(
        "state",
        "create role deployer login; create role other login; create role reader login; \
         create role stranger login",
    );
    let url = |role: &str| server.socket_url(role);

    // Creating the schema.
    let error = commit_error(&writer(&url("deployer")));
    assert_rejected(
        &error,
        &[
            "permission denied for database state",
            "create schema \"ship\" authorization \"deployer\"",
        ],
    );
    server.sql("state", "create schema ship authorization deployer");
    let deployer = writer(&url("deployer"));
    let created = commit(&deployer, &[], vec![put("key", "value"), put("a", "b")]);

    // Nothing at all.
    for access in [StoreAccess::Read, StoreAccess::Write] {
        let error = read_error(&open(&url("stranger"), access));
        let grant = "grant usage on schema \"ship\" to \"stranger\"";
        assert_rejected(&error, &["permission denied for schema ship", grant]);
    }

    // Reading.
    server.sql(
        "state",
        "grant usage on schema ship to reader, other; \
         grant select on all tables in schema ship to reader",
    );
    for access in [StoreAccess::Read, StoreAccess::Write] {
        let reader = open(&url("reader"), access);
        assert_eq!(value(&reader, "key").as_deref(), Some("value"));
        assert_eq!(keys_of(&prefix(&reader, "k")), ["key"]);
        assert!(reader.size_bytes().unwrap() > 0);
        let grant = "grant select, insert, update, delete on all tables in schema \"ship\" to \
                     \"reader\"";
        assert_rejected(&commit_error(&reader), &["permission denied", grant]);
        let error = reader.renew("key", created).expect_err("an error");
        assert_rejected(&error, &["cannot renew the lease", grant]);
        // It still reads.
        assert_eq!(value(&reader, "key").as_deref(), Some("value"));
    }

    // Writing.
    server.sql(
        "state",
        "grant select, insert, update, delete on all tables in schema ship to other; \
         grant usage on all sequences in schema ship to other",
    );
    let other = writer(&url("other"));
    commit(
        &other,
        &[absent("requests/1")],
        vec![put("requests/1", "x")],
    );
    assert!(renew(&other, "key", created));
}

/// Roles and databases have settings of their own.
#[test]
fn settings_of_a_role_do_not_matter() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.sql(
        "state",
        "create role deployer login; grant create on database state to deployer; \
         create schema evil authorization deployer; \
         create function evil.nextval(text) returns bigint language sql as 'select 7::bigint'; \
         create function evil.hashtextextended(text, int) returns bigint language sql \
         as 'select 7::bigint'; \
         alter role deployer set search_path = evil, pg_catalog; \
         alter role deployer set synchronous_commit = off; \
         alter role deployer set timezone = 'Asia/Kathmandu'; \
         alter role deployer set datestyle = 'German'; \
         alter role deployer set intervalstyle = 'iso_8601'; \
         alter role deployer set standard_conforming_strings = off; \
         alter role deployer set client_encoding = 'LATIN1'; \
         alter role deployer set bytea_output = 'escape'",
    );
    check_all(&|| Box::new(writer(&server.socket_url("deployer"))));
}

/// Under a stricter isolation a transaction may fail, but nothing is lost.
#[test]
fn stricter_isolation_does_no_harm() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    server.sql(
        "state",
        "alter database state set default_transaction_isolation = 'serializable'",
    );
    absent_has_one_winner_or_error(&server);
}

fn absent_has_one_winner_or_error(server: &PostgresServer) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 20;
    let barrier = Barrier::new(THREADS);
    commit(&writer(&server.url()), &[], vec![put("start", "x")]);
    let won: usize = thread::scope(|scope| {
        let racers: Vec<_> = (0..THREADS)
            .map(|_| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let database = writer(&server.url());
                    let mut won = 0;
                    for round in 0..ROUNDS {
                        barrier.wait();
                        let key = format!("race/{round:02}");
                        let transaction = Transaction {
                            conditions: vec![absent(&key)],
                            writes: vec![put(&key, "x")],
                        };
                        match database.commit(&transaction) {
                            Ok(ship::store::CommitResult::Committed(_)) => won += 1,
                            Ok(ship::store::CommitResult::Refused)
                            | Err(StoreError::Unavailable { .. }) => {}
                            // A panic would leave the others at the barrier.
                            Err(error) => eprintln!("round {round}: {error}"),
                        }
                    }
                    won
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    let found = prefix(&writer(&server.url()), "race/").len();
    assert_eq!((won, found), (ROUNDS, ROUNDS));
}
