//! URLs, passwords, certificates and the environment, with a real `PostgreSQL` server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ship::store::{Database, Postgres, StoreAccess, StoreError};

use super::postgres::{
    assert_rejected, assert_unavailable, commit_error, open, read_error, writer,
};
use super::transactions::{commit, put, value};
use ship_testing::postgres_server::{ENCODED_PASSWORD, PASSWORD, PostgresServer, Shutdown};

/// Checks that nothing shows the password.
#[track_caller]
fn assert_secret(database: &Postgres, error: &StoreError) {
    let texts = [
        format!("{error} {error:?}"),
        format!("{database:?} {}", database.location()),
    ];
    for secret in [PASSWORD, ENCODED_PASSWORD, "wrong-secret", "w/rd", "w%2Frd"] {
        for text in &texts {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn failed_logins_are_rejected_without_the_password() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let reject = |url: &str, words: &[&str]| {
        let database = writer(url);
        for error in [read_error(&database), commit_error(&database)] {
            assert_rejected(&error, words);
            assert_secret(&database, &error);
        }
    };
    let url = server.url_of("postgres", Some("wrong-secret"), "state");
    reject(&url, &["28P01", "role `postgres`", "~/.pgpass"]);
    let url = server.url_of("unknown", Some("wrong-secret"), "state");
    reject(&url, &["28P01", "role `unknown`"]);
    let url = server.url_of("postgres", Some(ENCODED_PASSWORD), "missing");
    reject(&url, &["3D000", "createdb --encoding UTF8 'missing'"]);
    let url = server.url_of("postgres", None, "state");
    reject(
        &format!("{url}?passfile=/missing"),
        &["asks for the password", "PGPASSWORD"],
    );
    server.sql("postgres", "create role locked nologin");
    reject(&server.socket_url("locked"), &["28000", "may log in"]);
    server.sql(
        "postgres",
        "revoke connect on database state from public; create role guest login",
    );
    let words = ["42501", "grant connect on database \"state\" to \"guest\""];
    reject(&server.socket_url("guest"), &words);

    let url = format!("{}?sslmode=require", server.url());
    reject(&url, &["does not support TLS", "sslmode=disable"]);

    let database = writer(&server.url());
    commit(&database, &[], vec![put("key", "value")]);
    assert!(!format!("{database:?}").contains(PASSWORD));
    assert!(!server.log_text().contains(PASSWORD));
}

#[test]
fn server_that_cannot_be_reached_is_unavailable() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let database = writer(&server.url());
    server.stop(Shutdown::Fast);
    let error = read_error(&database);
    let address = format!("127.0.0.1:{}", server.port());
    assert_unavailable(&error, &[&address, "refused", "hint: "]);
    assert_secret(&database, &error);
    let database = writer(&server.socket_url("postgres"));
    assert_unavailable(&read_error(&database), &["No such file"]);
    let database = writer("postgres://anna@host.invalid/state?sslmode=prefer");
    assert_unavailable(&read_error(&database), &["host.invalid", "resolve"]);
}

#[test]
fn invalid_urls_are_rejected_without_the_password() {
    for url in [
        "postgres://anna:wrong-secret/db",
        "postgres://anna:x@wrong-secret@db/state",
        "postgres://anna:x@db/state?wrong-secret=1",
        "postgres://anna:x@db/state?sslmode=wrong-secret",
        "postgres://anna:wrong-secret@db/state?schema=1",
    ] {
        let error = Postgres::open(url, StoreAccess::Read).expect_err("an error");
        assert_rejected(&error, &["cannot use the state in PostgreSQL", "hint: "]);
        assert!(!format!("{error}{error:?}").contains("wrong-secret"));
    }
}

#[test]
fn certificate_of_the_server_is_verified() {
    let Some(server) = PostgresServer::start_with_tls() else {
        return;
    };
    let authority = server.authority();
    let authority = authority.display();
    let other = server.other_authority();
    let other = other.display();
    let by_address = server.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    commit(&writer(&server.url()), &[], vec![put("key", "value")]);

    for (url, encrypted) in [
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={authority}"),
            "t",
        ),
        (
            format!(
                "{by_name}?sslmode=verify-full&channel_binding=require&sslrootcert={authority}"
            ),
            "t",
        ),
        (
            format!("{by_address}?sslmode=verify-ca&sslrootcert={authority}"),
            "t",
        ),
        (
            format!("{by_address}?sslmode=require&sslrootcert={authority}"),
            "t",
        ),
        (format!("{by_address}?sslmode=require"), "t"),
        (by_address.clone(), "t"),
        (format!("{by_address}?sslmode=disable"), "f"),
        (
            format!("{}?sslmode=verify-full", server.socket_url("postgres")),
            "f",
        ),
    ] {
        let separator = if url.contains('?') { '&' } else { '?' };
        let database = writer(&format!("{url}{separator}application_name=tls-test"));
        assert_eq!(value(&database, "key").as_deref(), Some("value"), "{url}");
        let used = "select string_agg(distinct ssl::text, ' ') from pg_stat_ssl \
                    join pg_stat_activity using (pid) where application_name = 'tls-test'";
        let expected = if encrypted == "t" { "true" } else { "false" };
        assert_eq!(server.sql("postgres", used), expected, "{url}");
        drop(database);
        super::transactions::eventually("the session ends", || {
            server.sql("postgres", used).is_empty()
        });
    }

    for (url, words) in [
        (
            format!("{by_address}?sslmode=verify-full&sslrootcert={authority}"),
            ["not valid for name", "subjectAltName"],
        ),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={other}"),
            ["UnknownIssuer", "sslrootcert=FILE"],
        ),
        (
            format!("{by_name}?sslmode=verify-ca&sslrootcert={other}"),
            ["UnknownIssuer", "sslrootcert=FILE"],
        ),
        (
            format!("{by_name}?sslmode=require&sslrootcert={other}"),
            ["UnknownIssuer", "sslrootcert=FILE"],
        ),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert=system"),
            ["UnknownIssuer", "sslrootcert=FILE"],
        ),
    ] {
        let database = writer(&url);
        let error = read_error(&database);
        assert_rejected(&error, &words);
        assert_secret(&database, &error);
    }
    let missing = format!("{by_name}?sslmode=verify-full&sslrootcert=/missing.crt");
    let error = Postgres::open(&missing, StoreAccess::Read).expect_err("an error");
    assert_rejected(&error, &["/missing.crt"]);
}

/// Runs in a process of its own, with the variables of another test.
#[test]
#[ignore = "needs the environment that another test sets"]
fn key_is_read_with_the_environment() {
    let url = std::env::var("STORE_TEST_URL").unwrap();
    let database = match Postgres::open(&url, StoreAccess::Read) {
        Ok(database) => database,
        Err(error) => return println!("answer: {error}"),
    };
    match database.read(&[ship::store::KeyRange::Key("key".to_owned())]) {
        Ok(snapshot) => println!("answer: {:?}", snapshot.ranges[0][0].value),
        Err(error) => println!("answer: {error}"),
    }
}

#[test]
fn environment_completes_the_url() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    commit(&writer(&server.url()), &[], vec![put("key", "value")]);
    let home = tempfile::tempdir().unwrap();
    let port = server.port().to_string();
    let answer = |url: &str, variables: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "postgres_login::key_is_read_with_the_environment",
            "--ignored",
            "--nocapture",
        ]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("HOME", home.path()).env("STORE_TEST_URL", url);
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let start = text.find("answer: ").unwrap_or_else(|| panic!("{text}"));
        text[start..].to_owned()
    };
    let address = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port.as_str()),
        ("PGUSER", "postgres"),
        ("PGDATABASE", "state"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&address[..], more].concat();
    let found = "answer: \"value\"";
    let all = with(&[("PGPASSWORD", PASSWORD)]);
    assert!(answer("postgres:///", &all).starts_with(found));
    let url = server.url_of("postgres", None, "state");
    assert!(answer(&url, &[("PGPASSWORD", PASSWORD)]).starts_with(found));
    assert!(answer(&server.url(), &[("PGPASSWORD", "wrong")]).starts_with(found));
    assert!(answer(&url, &[("PGPASSWORD", "wrong")]).contains("28P01"));
    assert!(
        answer(&url, &[("PGPASSWORD", PASSWORD), ("PGSSLMODE", "require")])
            .contains("does not support TLS")
    );
    let schema = [("PGPASSWORD", PASSWORD), ("PGOPTIONS", "-c search_path=x")];
    assert!(answer(&url, &schema).starts_with(found));

    let file = home.path().join(".pgpass");
    let line = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(
        &file,
        format!("# comment\n127.0.0.1:{port}:*:postgres:{line}\n"),
    )
    .unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ignored = answer(&url, &[]);
    assert!(ignored.contains("chmod 600"), "{ignored}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(answer(&url, &[]).starts_with(found));
    assert!(answer("postgres:///", &address).starts_with(found));
    let reader = open(&server.socket_url("postgres"), StoreAccess::Read);
    assert_eq!(value(&reader, "key").as_deref(), Some("value"));
}
