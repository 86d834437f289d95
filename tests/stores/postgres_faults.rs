//! `PostgreSQL` servers that restart, crash, are suspended or replaced, and connections that end.

use std::thread;
use std::time::{Duration, Instant};

use ship::store::{CommitResult, Database, StoreAccess, StoreError, Transaction};

use super::postgres::{
    assert_rejected, assert_unavailable, commit_error, open, read_error, writer,
};
use super::transactions::{absent, commit, eventually, prefix, put, record, renew, value};
use ship_testing::postgres_server::{ENCODED_PASSWORD, PostgresServer, Shutdown};

/// No method waits longer than this for one host.
const LONGEST: Duration = Duration::from_secs(12);

#[test]
fn connection_is_made_again_after_a_restart() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    let created = commit(&database, &[], vec![put("key", "0")]);
    for (number, shutdown) in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Kill]
        .into_iter()
        .enumerate()
    {
        server.stop(shutdown);
        eventually("the server cannot be reached", || {
            matches!(
                database.renew("key", created),
                Err(StoreError::Unavailable { .. })
            )
        });
        assert_unavailable(&read_error(&database), &["hint: "]);
        assert_unavailable(&commit_error(&database), &["hint: "]);
        assert_unavailable(&database.size_bytes().expect_err("an error"), &["hint: "]);
        server.run();
        // What was committed before the crash is there, and the first statement works.
        let text = number.to_string();
        assert_eq!(value(&database, "key"), Some(text));
        commit(&database, &[], vec![put("key", &(number + 1).to_string())]);
        assert!(renew(&database, "key", created));

        server.stop(shutdown);
        server.run();
        // It was not used meanwhile, and it need not read first.
        assert!(renew(&database, "key", created));
    }
}

#[test]
fn connection_is_made_again_after_its_session_was_ended() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    let end = || {
        server.sql(
            "postgres",
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity \
             where application_name = 'ship'",
        )
    };
    commit(&database, &[], vec![put("key", "0")]);
    for number in 0..5 {
        assert_eq!(end(), "t");
        assert_eq!(value(&database, "key"), Some(number.to_string()));
        assert_eq!(end(), "t");
        // A commit whose connection ends at that moment reports so and is not repeated.
        eventually("a commit", || {
            let transaction = Transaction {
                conditions: Vec::new(),
                writes: vec![put("key", &(number + 1).to_string())],
            };
            match database.commit(&transaction) {
                Ok(CommitResult::Committed(_)) => true,
                Err(StoreError::Unavailable { .. }) => false,
                other => panic!("{other:?}"),
            }
        });
    }
}

/// Numbers are appended while the server crashes again and again. As in the record store, an
/// unknown outcome is resolved by writing the same again.
#[test]
fn crashes_lose_and_repeat_nothing() {
    const NUMBERS: usize = 400;
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let url = server.url();
    commit(&writer(&url), &[], vec![put("start", "x")]);
    thread::scope(|scope| {
        let appender = scope.spawn(|| {
            let database = writer(&url);
            let mut unknown = 0;
            for number in 0..NUMBERS {
                let key = format!("events/{number:06}");
                let text = number.to_string();
                let transaction = Transaction {
                    conditions: vec![absent(&key)],
                    writes: vec![put(&key, &text), put("last", &text)],
                };
                let mut uncertain = false;
                eventually("an append", || match database.commit(&transaction) {
                    Ok(CommitResult::Committed(_)) => true,
                    // Only an append whose outcome was unknown may be there.
                    Ok(CommitResult::Refused) => {
                        assert!(uncertain, "{key} is there already");
                        true
                    }
                    Err(StoreError::Unavailable { .. }) => {
                        uncertain = true;
                        unknown += 1;
                        false
                    }
                    Err(error) => panic!("{error}"),
                });
            }
            unknown
        });
        let mut crashes = 0;
        while !appender.is_finished() && crashes < 6 {
            let before = prefix(&writer(&url), "events/").len();
            eventually("progress", || {
                appender.is_finished() || prefix(&writer(&url), "events/").len() > before + 20
            });
            let shutdown = [Shutdown::Immediate, Shutdown::Kill][crashes % 2];
            server.stop(shutdown);
            server.run();
            crashes += 1;
        }
        let unknown = appender.join().unwrap();
        assert!(crashes > 2 && unknown > 0, "{crashes} crashes, {unknown}");
    });
    let records = prefix(&writer(&url), "events/");
    assert_eq!(records.len(), NUMBERS);
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.value, number.to_string());
        assert_eq!(record.created, record.modified);
    }
    assert!(records.is_sorted_by(|a, b| a.created < b.created));
}

#[test]
fn server_that_does_not_answer_is_unavailable() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    commit(&database, &[], vec![put("key", "value")]);
    server.suspend();
    let timed = |request: &mut dyn FnMut()| {
        let since = Instant::now();
        request();
        assert!(since.elapsed() < LONGEST, "{:?}", since.elapsed());
    };
    let transaction = Transaction {
        conditions: vec![absent("new")],
        writes: vec![put("new", "value")],
    };
    timed(&mut || {
        let error = database.commit(&transaction).expect_err("an error");
        assert_unavailable(&error, &["no answer before the deadline"]);
    });
    timed(&mut || assert_unavailable(&read_error(&database), &["no answer before the deadline"]));
    server.resume();
    // The statement arrived, so it is executed now. The repetition waits for it or precedes it.
    eventually("an answer", || match database.commit(&transaction) {
        Ok(_) => true,
        Err(StoreError::Unavailable { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    let new = record(&database, "new").expect("a record");
    assert_eq!(new.created, new.modified);
    assert_eq!(value(&database, "key").as_deref(), Some("value"));
}

#[test]
fn transaction_that_waits_for_another_too_long_writes_nothing() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    commit(&database, &[], vec![put("key", "old")]);
    server.slow_commits(Duration::from_secs(8));
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let database = writer(&server.url());
            let transaction = Transaction {
                conditions: Vec::new(),
                writes: vec![put("key", "slow")],
            };
            database.commit(&transaction).expect_err("an error")
        });
        eventually("the slow transaction is committed", || {
            let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
            server.sql("postgres", sleeps) == "1"
        });
        let error = commit_error_of(&database, "key", "waits");
        assert_unavailable(&error, &["55P03", "another process writes"]);
        let error = slow.join().unwrap();
        assert_unavailable(&error, &["no answer before the deadline"]);
    });
    // The client of the slow one gave up, but the server commits it.
    eventually("the slow transaction has ended", || {
        value(&database, "key").as_deref() == Some("slow")
    });
}

fn commit_error_of(database: &dyn Database, key: &str, value: &str) -> StoreError {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes: vec![put(key, value)],
    };
    database.commit(&transaction).expect_err("an error")
}

#[test]
fn watch_continues_after_a_restart() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let url = server.url();
    let database = writer(&url);
    let key = "services/fleet/web/request";
    let mut changes = database.watch(key).expect("a watch");
    let mut others = database
        .watch("services/fleet/api/request")
        .expect("a watch");
    let other = writer(&url);
    let arrives = |changes: &mut tokio::sync::watch::Receiver<u64>| {
        eventually("a change", || changes.has_changed().unwrap());
        changes.borrow_and_update();
    };
    // It has begun to listen.
    arrives(&mut changes);
    arrives(&mut others);
    for shutdown in [Shutdown::Fast, Shutdown::Kill] {
        commit(&other, &[], vec![put(key, "pause")]);
        arrives(&mut changes);
        assert!(!others.has_changed().unwrap(), "another key changed");
        server.stop(shutdown);
        server.run();
        // Something may have been missed.
        arrives(&mut changes);
        arrives(&mut others);
    }
}

#[test]
fn other_hosts_are_tried_and_the_primary_is_found() {
    let Some(mut primary) = PostgresServer::start() else {
        return;
    };
    commit(&writer(&primary.url()), &[], vec![put("key", "1")]);
    let mut standby = primary.start_standby();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    // Its connections are never accepted.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "postgres://postgres:{ENCODED_PASSWORD}@127.0.0.1:{port},127.0.0.1:{},127.0.0.1:{},\
         127.0.0.1:{}/state?connect_timeout=1",
        silent.local_addr().unwrap().port(),
        standby.port(),
        primary.port()
    );
    let database = writer(&url);
    commit(&database, &[], vec![put("key", "2")]);
    let reader = open(&url, StoreAccess::Read);
    eventually("the standby follows", || {
        value(&reader, "key").as_deref() == Some("2")
    });

    // A standby alone can be read, also for writing, but not written.
    let only = writer(&standby.url());
    assert_eq!(value(&only, "key").as_deref(), Some("2"));
    assert_unavailable(&commit_error(&only), &["25006", "primary"]);

    // Failover.
    primary.stop(Shutdown::Kill);
    assert_unavailable(&commit_error(&database), &["hint: "]);
    assert_unavailable(&commit_error(&database), &["does not allow writes"]);
    assert_eq!(value(&reader, "key").as_deref(), Some("2"));
    standby.sql("postgres", "select pg_promote()");
    eventually("the new primary is found", || {
        let transaction = Transaction {
            conditions: Vec::new(),
            writes: vec![put("key", "3")],
        };
        database.commit(&transaction).is_ok()
    });
    assert_eq!(value(&reader, "key").as_deref(), Some("3"));
    assert_eq!(value(&only, "key").as_deref(), Some("3"));
    commit(&only, &[], vec![put("key", "4")]);
    standby.stop(Shutdown::Fast);
}

/// A trigger answers with each code, as the server does in such a situation.
#[test]
fn answers_of_the_server_are_interpreted() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    commit(&database, &[], vec![put("first", "value")]);
    server.sql(
        "state",
        "create table public.answer (code text); insert into public.answer values ('00000'); \
         create function public.answer() returns trigger language plpgsql as $$ declare c text; \
         begin select code into c from public.answer; \
         if c <> '00000' then raise exception 'no' using errcode = c; end if; \
         return new; end $$; \
         create trigger answer before insert on ship.records \
         for each row execute function public.answer()",
    );
    let answer = |code: &str| {
        server.sql(
            "state",
            &format!("update public.answer set code = '{code}'"),
        );
        commit_error(&database)
    };
    for (code, hint) in [
        ("53100", "free space on the disk of the server"),
        ("53200", "try again"),
        ("53300", "max_connections"),
        ("57P01", "running again"),
        ("57P03", "started and recovered"),
        ("25006", "primary"),
        ("40001", "try again"),
        ("40P01", "try again"),
        ("55P03", "try again"),
        ("57014", "try again"),
        ("58030", "try again"),
        ("08006", "try again"),
        ("XX000", "try again"),
    ] {
        assert_unavailable(&answer(code), &[code, "cannot write records", hint]);
    }
    for (code, hint) in [
        ("42501", "grant select, insert, update, delete"),
        ("54000", "shorten"),
        ("42703", "?schema=NAME"),
        ("23514", "?schema=NAME"),
    ] {
        assert_rejected(&answer(code), &[code, "cannot write records", hint]);
    }
    server.sql("state", "update public.answer set code = '23505'");
    let transaction = Transaction {
        conditions: vec![absent("second")],
        writes: vec![put("second", "value")],
    };
    let result = database.commit(&transaction);
    assert_eq!(result.unwrap(), CommitResult::Refused);
    server.sql("state", "update public.answer set code = '00000'");
    commit(&database, &[absent("second")], vec![put("second", "value")]);
    let long: String = (0..5000).map(|number: u32| number.to_string()).collect();
    let error = commit_error_of(&database, &long, "value");
    assert_rejected(&error, &["54000", "shorten"]);
    assert_rejected(&commit_error_of(&database, "a\0b", "value"), &["zero byte"]);
    assert_eq!(record(&database, "a\0b"), None);

    server.sql(
        "postgres",
        "create role crowd login connection limit 0; grant all on database state to crowd",
    );
    let crowd = writer(&server.socket_url("crowd"));
    assert_unavailable(&read_error(&crowd), &["53300", "connection limit"]);
}
