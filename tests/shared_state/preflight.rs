//! State that cannot be used when a deploy begins: nothing is touched.

use crate::checkout::Checkout;
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::command::Done;
use ship_testing::postgres_server::{ENCODED_PASSWORD, PASSWORD};

/// Asserts that a command ended with this code, one sentence and one hint, and touched nothing.
#[track_caller]
fn assert_refused(team: &Team, checkout: &Checkout, done: Done, code: i32, words: &[&str]) {
    let done = done.exits(code).prints(words);
    let lines: Vec<&str> = done.stderr.lines().collect();
    println!("{}", done.stderr);
    assert!(
        lines.len() <= 2 && lines[0].starts_with("error: "),
        "{}",
        done.stderr
    );
    assert!(
        lines.get(1).is_none_or(|line| line.starts_with("hint: ")),
        "{}",
        done.stderr
    );
    assert_eq!(done.stdout, "");
    assert!(!done.stderr.contains(PASSWORD) && !done.stderr.contains(ENCODED_PASSWORD));
    assert!(
        !checkout.path(".ship").exists(),
        "{:?}",
        checkout.state_files()
    );
    team.assert_hosts_untouched();
}

fn check_store_down(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let mut team = Team::new(server);
    let a = team.checkout("a");
    team.server.fail();
    for (verb, arguments) in [
        ("deploy", &["--version", "0.9"][..]),
        ("rollback", &[]),
        ("resume", &[]),
        ("history", &[]),
        ("status", &[]),
        ("plan", &[]),
        ("freeze", &[]),
    ] {
        let done = a.ship(verb, arguments);
        println!("{verb} took {:?}", done.took);
        assert_refused(
            &team,
            &a,
            done,
            7,
            &["error: cannot use the state in ", "hint: "],
        );
    }
}

#[test]
fn deploy_is_refused_while_postgres_is_down() {
    check_store_down(StateServer::postgres());
}

#[test]
fn deploy_is_refused_while_etcd_has_no_majority() {
    check_store_down(StateServer::etcd());
}

#[test]
fn wrong_urls_are_refused_with_one_sentence() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server);
    let server = team.server.as_postgres();
    let (right, wrong) = (Some(ENCODED_PASSWORD), Some("secret-wrong"));
    server.sql(
        "postgres",
        "create role clerk login password 'secret-clerk'",
    );
    server.sql("postgres", "create database foreign_tables");
    server.sql(
        "foreign_tables",
        "create schema ship; create table ship.orders (id int)",
    );
    server.sql("postgres", "create database newer");
    let newer = server.url_of("postgres", right, "newer");
    let first = team.checkout("first").with_url(&newer);
    first.run("freeze", &[]);
    server.sql("newer", "update ship.version set schema_version = 99");
    server.sql("postgres", "create database newer_format");
    let format = server.url_of("postgres", right, "newer_format");
    team.checkout("format").with_url(&format).run("freeze", &[]);
    let rewrite = "update ship.records set value = \
                   regexp_replace(value, '\"format\":[0-9]+', '\"format\":99') where key = 'meta'";
    server.sql("newer_format", rewrite);

    let port = server.port();
    let cases = [
        (
            server.url_of("postgres", wrong, "state"),
            2,
            "password authentication failed",
        ),
        (
            server.url_of("postgres", None, "state"),
            2,
            "asks for the password",
        ),
        (
            server.url_of("postgres", right, "missing"),
            2,
            "database \"missing\" does not exist",
        ),
        (
            server.url_of("clerk", Some("secret-clerk"), "state"),
            2,
            "permission denied",
        ),
        (
            server.url_of("postgres", right, "foreign_tables"),
            2,
            "tables of another program",
        ),
        (newer, 2, "version 99"),
        (format, 2, "newer version of ship"),
        (
            format!("mysql://anna:secret-url@127.0.0.1:{port}/state"),
            2,
            "unsupported scheme",
        ),
        ("secret-without-scheme".to_owned(), 2, "is not a URL"),
        (String::new(), 2, "SHIP_STATE_URL"),
        (
            "postgres://anna:secret-url@127.0.0.1:1/state".to_owned(),
            7,
            "refused",
        ),
        (
            "postgres://anna:secret-url@no-such-host.invalid/state".to_owned(),
            7,
            "resolve",
        ),
        ("etcd://127.0.0.1:1/ship".to_owned(), 7, "refused"),
        (format!("etcd://127.0.0.1:{port}/ship"), 7, "etcd"),
        (
            "etcd://root:secret-url@127.0.0.1:1/ship?colour=red".to_owned(),
            2,
            "an option other than",
        ),
    ];
    let mut failures = Vec::new();
    for (number, (url, code, words)) in cases.into_iter().enumerate() {
        let name = format!("case{number}");
        let a = team.checkout(&name).with_url(&url);
        let done = a.ship("deploy", &["--version", "0.9"]);
        println!(
            "{url} took {:?}: {:?}\n{}",
            done.took, done.code, done.stderr
        );
        let is_expected = done.code == Some(code)
            && done.stderr.contains(words)
            && done.stderr.lines().count() <= 2
            && !done.stderr.contains("secret-")
            && !a.path(".ship").exists();
        if !is_expected {
            failures.push(format!("{url} ({code}, {words}): {done:?}"));
        }
        team.assert_hosts_untouched();
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
