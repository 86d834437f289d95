use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::*;

fn parse(
    url: &str,
    access: StoreAccess,
    environment: &[(&str, &str)],
) -> Result<PostgresSettings, PostgresError> {
    let environment: BTreeMap<String, String> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    PostgresSettings::parse(url, access, &|name| environment.get(name).cloned())
}

fn settings(url: &str, environment: &[(&str, &str)]) -> PostgresSettings {
    match parse(url, StoreAccess::Read, environment) {
        Ok(settings) => settings,
        Err(error) => panic!("{url}: {error:?}"),
    }
}

fn error(url: &str, environment: &[(&str, &str)]) -> String {
    match parse(url, StoreAccess::Write, environment) {
        Ok(_) => panic!("{url} is valid"),
        Err(error) => {
            assert_eq!(error.kind, super::super::error::PostgresErrorKind::Rejected);
            format!("{}; {}", error.why, error.hint)
        }
    }
}

fn hosts(settings: &PostgresSettings) -> Vec<(&str, u16)> {
    let hosts = settings.hosts.iter();
    hosts.map(|host| (host.host.as_str(), host.port)).collect()
}

#[test]
fn url_wins_over_the_environment() {
    let environment = [
        ("PGHOST", "env1,/env2"),
        ("PGPORT", "6000,6001"),
        ("PGUSER", "bob"),
        ("PGDATABASE", "other"),
        ("PGPASSWORD", "from-environment"),
        ("PGSSLMODE", "require"),
        ("PGCONNECT_TIMEOUT", "2"),
        ("PGOPTIONS", "-c work_mem=1MB"),
    ];
    let all = settings("postgres:///", &environment);
    assert_eq!(hosts(&all), [("env1", 6000), ("/env2", 6001)]);
    assert_eq!(all.location, "postgres://bob@env1:6000,%2Fenv2:6001/other");
    assert_eq!(all.connect_timeout, Duration::from_secs(2));
    let config = &all.hosts[0].config;
    assert_eq!(config.get_user(), Some("bob"));
    assert_eq!(config.get_dbname(), Some("other"));
    assert_eq!(config.get_password(), Some("from-environment".as_bytes()));
    assert_eq!(config.get_options(), Some("-c work_mem=1MB"));
    assert_eq!(config.get_ssl_mode(), SslMode::Require);
    assert_eq!(all.hosts[1].config.get_ssl_mode(), SslMode::Disable);

    let url =
        "postgres://anna:pw@127.0.0.1:5433/state?schema=deploys&sslmode=disable&connect_timeout=1";
    let all = settings(url, &environment[2..]);
    assert_eq!(hosts(&all), [("127.0.0.1", 5433)]);
    assert_eq!(
        all.location,
        "postgres://anna@127.0.0.1:5433/state?schema=deploys"
    );
    assert_eq!(all.connect_timeout, Duration::from_secs(1));
    let config = &all.hosts[0].config;
    assert_eq!(config.get_password(), Some("pw".as_bytes()));
    assert_eq!(config.get_ssl_mode(), SslMode::Disable);
    assert_eq!(config.get_application_name(), Some("ship"));
}

#[test]
fn location_is_a_url_again() {
    let url = "postgres://a%40b:secret@[::1]:5433,%2Frun%2Fx:5434/st%2Fate?schema=deploys";
    let first = settings(url, &[]);
    assert!(!first.location.contains("secret"));
    let second = settings(&first.location, &[]);
    assert_eq!(first.location, second.location);
    assert_eq!(hosts(&first), hosts(&second));
}

#[test]
fn connection_to_another_machine_is_verified() {
    for (url, mode) in [
        ("postgres://anna@localhost/state", SslMode::Prefer),
        ("postgres://anna@127.0.0.2/state", SslMode::Prefer),
        ("postgres://anna@[::1]/state", SslMode::Prefer),
        ("postgres://anna@%2Ftmp/state", SslMode::Disable),
        ("postgres://anna@db1/state?sslmode=prefer", SslMode::Prefer),
        (
            "postgres://anna@db1/state?sslmode=require",
            SslMode::Require,
        ),
    ] {
        let found = settings(url, &[]).hosts[0].config.get_ssl_mode();
        assert_eq!(found, mode, "{url}");
    }
    let environment = [("PGSSLROOTCERT", "/missing.crt")];
    for url in [
        "postgres://anna@db1/state",
        "postgres://anna@10.0.0.1/state",
    ] {
        // Only if it verifies does it need the file.
        assert!(error(url, &environment).contains("/missing.crt"), "{url}");
    }
    let error = error("postgres://anna@db1/state?sslmode=verify-ca", &[]);
    assert!(error.contains("sslrootcert"), "{error}");
}

#[test]
fn one_of_several_hosts_must_be_writable() {
    let attributes = |url: &str, access| {
        let settings = parse(url, access, &[]).unwrap_or_else(|error| panic!("{error:?}"));
        settings.hosts[0].config.get_target_session_attrs()
    };
    let several = "postgres://anna@127.0.0.1,127.0.0.2/state";
    let one = "postgres://anna@127.0.0.1/state";
    assert_eq!(
        attributes(several, StoreAccess::Write),
        TargetSessionAttrs::ReadWrite
    );
    assert_eq!(
        attributes(several, StoreAccess::Read),
        TargetSessionAttrs::Any
    );
    assert_eq!(attributes(one, StoreAccess::Write), TargetSessionAttrs::Any);
}

#[test]
fn password_file_is_read_for_each_host() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".pgpass");
    fs::write(
        &path,
        "127.0.0.1:5432:state:anna:one\nlocalhost:5432:*:anna:two\n",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let home = dir.path().to_str().unwrap();
    let url = "postgres://anna@127.0.0.1,%2Ftmp,127.0.0.3/state";
    let all = settings(url, &[("HOME", home)]);
    let passwords: Vec<Option<&[u8]>> = all
        .hosts
        .iter()
        .map(|host| host.config.get_password())
        .collect();
    assert_eq!(
        passwords,
        [Some("one".as_bytes()), Some("two".as_bytes()), None]
    );
    let other = dir.path().join("other").to_str().unwrap().to_owned();
    fs::copy(&path, &other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    let all = settings(url, &[("HOME", home), ("PGPASSFILE", &other)]);
    assert_eq!(all.hosts[0].config.get_password(), None);
    assert!(all.names.password_note.is_some());
}

#[test]
fn mistakes_are_rejected() {
    for (url, expected) in [
        ("postgres://anna@db1/state?sslmode=yes", "sslmode"),
        ("postgres://anna@db1/state?schema=Ship", "schema"),
        ("postgres://anna@db1/state?schema=pg_ship", "schema"),
        ("postgres://anna@db1/state?schema=a%22b", "schema"),
        ("postgres://anna@db1/state?schema=", "schema"),
        (
            "postgres://anna@db1/state?connect_timeout=x",
            "connect_timeout",
        ),
        (
            "postgres://anna@db1/state?target_session_attrs=standby",
            "target_session_attrs",
        ),
        (
            "postgres://anna@db1/state?channel_binding=x",
            "channel_binding",
        ),
        (
            "postgres://anna@db1,db2/state?port=1,2,3",
            "2 hosts and 3 ports",
        ),
        ("postgres://anna@db1/state?port=x", "port"),
        ("https://db1/state", "postgres://"),
    ] {
        let error = error(url, &[]);
        assert!(error.contains(expected), "{url}: {error}");
    }
    let error = error("postgres:///", &[("PGPORT", "x")]);
    assert!(error.contains("port"), "{error}");
    let long = "a".repeat(64);
    assert!(parse_schema(&long).is_err());
    assert!(parse_schema(&long[1..]).is_ok());
}
