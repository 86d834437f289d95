//! `PgBouncer` between ship and `PostgreSQL`.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use ship::store::{CommitResult, Database, KeyRange, Postgres, Snapshot, StoreError, Transaction};
use tokio::sync::watch;

use super::database_contract::check_all;
use super::postgres::{assert_rejected, read_error, writer};
use super::transactions::{commit, eventually, put, value};
use ship_testing::postgres_server::{PostgresServer, Shutdown, free_port, own};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler that lends a session for one transaction only. It ends with the test.
struct Pooler {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Pooler {
    fn start(server: &PostgresServer) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: {PROGRAM} is missing (Debian: apt-get install pgbouncer)");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pool-").tempdir().unwrap();
        own(dir.path());
        let port = free_port();
        let file = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\nstate = host={} port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n\
             server_reset_query_always = 0\n",
            server.socket_dir().display(),
            server.port(),
        );
        fs::write(&file, text).unwrap();
        let mut command = server.command(PROGRAM);
        command.arg(&file).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        let pooler = Self {
            process,
            port,
            _dir: dir,
        };
        eventually("the pooler starts", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(pooler)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A pooler that lends sessions only for a transaction drops the notifications.
struct Unwatched(Postgres);

impl Database for Unwatched {
    fn read(&self, ranges: &[KeyRange]) -> Result<Snapshot, StoreError> {
        self.0.read(ranges)
    }

    fn commit(&self, transaction: &Transaction) -> Result<CommitResult, StoreError> {
        self.0.commit(transaction)
    }

    fn renew(&self, key: &str, created: u64) -> Result<bool, StoreError> {
        self.0.renew(key, created)
    }

    fn watch(&self, _: &str) -> Option<watch::Receiver<u64>> {
        None
    }

    fn location(&self) -> String {
        self.0.location()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_bytes()
    }
}

#[test]
fn pooler_may_be_in_between() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let Some(pooler) = Pooler::start(&server) else {
        return;
    };
    let url = format!("postgres://anna@127.0.0.1:{}/state", pooler.port);
    let missing = writer(&url.replace("/state", "/missing"));
    assert_rejected(&read_error(&missing), &["08P01"]);
    check_all(&|| Box::new(Unwatched(writer(&url))));

    // The pooler keeps the connection while the server restarts.
    let database = writer(&url);
    commit(&database, &[], vec![put("key", "value")]);
    server.stop(Shutdown::Immediate);
    server.run();
    eventually("the server is used again", || {
        database.read(&[KeyRange::Key("key".to_owned())]).is_ok()
    });
    assert_eq!(value(&database, "key").as_deref(), Some("value"));
    commit(&database, &[], vec![put("key", "other")]);
}
