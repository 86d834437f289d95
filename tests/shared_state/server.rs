//! The servers that keep the state.

use serde_json::Value;

use ship_testing::etcd_cluster::EtcdCluster;
use ship_testing::postgres_server::{PostgresServer, Shutdown};

/// A running `PostgreSQL`, or an etcd with three members.
pub(crate) enum StateServer {
    Postgres(PostgresServer),
    Etcd(EtcdCluster),
}

impl StateServer {
    /// If it is not installed, prints `SKIPPED` and returns `None`.
    pub(crate) fn postgres() -> Option<Self> {
        PostgresServer::start().map(Self::Postgres)
    }

    /// If it is not installed, prints `SKIPPED` and returns `None`.
    pub(crate) fn etcd() -> Option<Self> {
        EtcdCluster::start(3).map(Self::Etcd)
    }

    /// The URL, with a password if there is one.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::Etcd(cluster) => cluster.url(),
        }
    }

    /// Makes it fail: `PostgreSQL` ends as in a crash, and etcd loses its majority, because two
    /// members no longer answer.
    pub(crate) fn fail(&mut self) {
        match self {
            Self::Postgres(server) => server.stop(Shutdown::Immediate),
            Self::Etcd(cluster) => [0, 1]
                .map(|member| cluster.suspend(member))
                .into_iter()
                .collect(),
        }
    }

    /// Ends the failure.
    pub(crate) fn recover(&mut self) {
        match self {
            Self::Postgres(server) => server.run(),
            Self::Etcd(cluster) => [0, 1]
                .map(|member| cluster.resume(member))
                .into_iter()
                .collect(),
        }
    }

    /// The records whose keys begin with this, in the order of their keys: key and value.
    pub(crate) fn records(&self, prefix: &str) -> Vec<(String, String)> {
        match self {
            Self::Postgres(server) => {
                let rows = server.sql(
                    "state",
                    &format!(
                        "select json_build_array(key, value) from ship.records \
                         where starts_with(key, '{prefix}') order by key"
                    ),
                );
                let row = |line: &str| serde_json::from_str(line).expect("a row");
                rows.lines().map(row).collect()
            }
            Self::Etcd(cluster) => {
                let prefix = format!("ship/{prefix}");
                let found = cluster.etcdctl(&["get", "--prefix", &prefix, "--write-out=fields"]);
                etcd_records(&found)
            }
        }
    }

    /// The number of clients that wait for changes.
    pub(crate) fn watcher_count(&self) -> usize {
        match self {
            Self::Postgres(server) => {
                let listening =
                    "select count(*) from pg_stat_activity where query ilike 'listen %'";
                server.sql("state", listening).parse().expect("a number")
            }
            Self::Etcd(cluster) => (0..3).map(|member| cluster.watcher_count(member)).sum(),
        }
    }

    pub(crate) fn as_postgres(&self) -> &PostgresServer {
        match self {
            Self::Postgres(server) => server,
            Self::Etcd(_) => panic!("not PostgreSQL"),
        }
    }

    pub(crate) fn as_etcd(&mut self) -> &mut EtcdCluster {
        match self {
            Self::Postgres(_) => panic!("not etcd"),
            Self::Etcd(cluster) => cluster,
        }
    }
}

/// Reads what `etcdctl` prints with `--write-out=fields`: keys and values as quoted strings.
fn etcd_records(text: &str) -> Vec<(String, String)> {
    let field = |name: &str| {
        let prefix = format!("\"{name}\" : ");
        let lines = text.lines();
        let values = lines.filter_map(move |line| line.strip_prefix(&prefix).map(unquote));
        values.collect::<Vec<_>>()
    };
    let keys = field("Key").into_iter();
    let name = |key: String| key.trim_start_matches("ship/").to_owned();
    keys.map(name).zip(field("Value")).collect()
}

/// Reads a string as Go quotes it. The records contain printable text and line ends.
fn unquote(text: &str) -> String {
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => text,
        other => panic!("not a string ({other:?}): {text}"),
    }
}
