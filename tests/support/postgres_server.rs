//! A real `PostgreSQL` server for one test.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::unistd::User;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::namespace::until;

/// Contains what must be percent-encoded in URLs.
pub const PASSWORD: &str = "s\u{e9}cret p@ss:w/rd?#%";
/// The same, encoded.
pub const ENCODED_PASSWORD: &str = "s%C3%A9cret%20p%40ss%3Aw%2Frd%3F%23%25";

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running server with the role and superuser `postgres`, and the databases `postgres` and
/// `state`. It accepts passwords over TCP and everybody over its socket, and ends with the test.
pub struct PostgresServer {
    programs: PathBuf,
    process: Option<Child>,
    dir: TempDir,
    port: u16,
    has_tls: bool,
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// It ends the sessions and writes everything to disk.
    Fast,
    /// It ends at once, as in a crash, but tells the clients.
    Immediate,
    /// Neither its processes nor the clients are notified.
    Kill,
}

impl PostgresServer {
    /// Starts a server. If `PostgreSQL` is not installed, prints `SKIPPED` and returns `None`.
    pub fn start() -> Option<Self> {
        Self::start_with(false)
    }

    /// Starts a server with TLS. Its certificate is for `localhost` and is signed by
    /// [`PostgresServer::authority`].
    pub fn start_with_tls() -> Option<Self> {
        Self::start_with(true)
    }

    fn start_with(has_tls: bool) -> Option<Self> {
        let mut server = Self::new()?;
        server.has_tls = has_tls;
        let password = server.dir.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        own(&password);
        let mut initdb = server.command("initdb");
        initdb.arg("-D").arg(server.data()).arg("--pwfile");
        initdb.arg(&password).args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        succeed(&mut initdb);
        fs::write(
            server.data().join("pg_hba.conf"),
            "local all all trust\nlocal replication all trust\n\
             host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n",
        )
        .unwrap();
        if has_tls {
            server.make_certificates();
        }
        server.run();
        server.sql("postgres", "create database state");
        Some(server)
    }

    /// Starts a standby of this server, which follows it.
    pub fn start_standby(&self) -> Self {
        let mut standby = Self::new().expect("the programs are installed");
        let mut backup = standby.command("pg_basebackup");
        backup.arg("-D").arg(standby.data());
        backup.arg("-h").arg(self.dir.path());
        backup.args(["-p", &self.port.to_string(), "-U", "postgres"]);
        backup.args([
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            "--wal-method=stream",
        ]);
        succeed(&mut backup);
        standby.run();
        standby
    }

    fn new() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: initdb is missing (Debian: apt-get install postgresql)");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("pg-").tempdir().unwrap();
        own(dir.path());
        Some(Self {
            programs,
            process: None,
            dir,
            port: free_port(),
            has_tls: false,
        })
    }

    /// Starts the process, also after [`PostgresServer::stop`], at the same port.
    pub fn run(&mut self) {
        until("the server starts", START_DEADLINE, || {
            if let Some(process) = &mut self.process
                && process.try_wait().unwrap().is_some()
            {
                // Processes of a killed server may still end.
                self.process = None;
            }
            if self.process.is_none() {
                self.process = Some(self.spawn());
            }
            let is_ready = self.try_sql("postgres", "select 1").status.success();
            is_ready.then_some(())
        });
    }

    pub fn stop(&mut self, shutdown: Shutdown) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        signal(
            process.id(),
            match shutdown {
                Shutdown::Fast => Signal::INT,
                Shutdown::Immediate => Signal::QUIT,
                Shutdown::Kill => Signal::KILL,
            },
        );
        process.wait().unwrap();
    }

    /// Suspends all processes: connections stay open, and nothing is answered.
    pub fn suspend(&self) {
        self.signal_all(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, what: Signal) {
        let Some(process) = &self.process else {
            return;
        };
        let id = process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        signal(id, what);
        for child in children.split_whitespace() {
            signal(child.parse().unwrap(), what);
        }
    }

    /// The URL of the database `state` for the superuser, with the password.
    pub fn url(&self) -> String {
        self.url_of("postgres", Some(ENCODED_PASSWORD), "state")
    }

    /// The URL of a database, over TCP.
    pub fn url_of(&self, role: &str, password: Option<&str>, database: &str) -> String {
        let password = password.map(|password| format!(":{password}"));
        let password = password.unwrap_or_default();
        let port = self.port;
        format!("postgres://{role}{password}@127.0.0.1:{port}/{database}")
    }

    /// The URL of the database `state` over the socket, which needs no password.
    pub fn socket_url(&self, role: &str) -> String {
        let dir = self.dir.path().to_string_lossy().replace('/', "%2F");
        format!("postgres://{role}@{dir}:{}/state", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The certificate of the authority that signed the server's.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("authority.crt")
    }

    /// The certificate of an authority that signed nothing.
    pub fn other_authority(&self) -> PathBuf {
        self.dir.path().join("other.crt")
    }

    /// Runs statements as the superuser; returns the values, one row a line.
    #[track_caller]
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let output = self.try_sql(database, statements);
        assert!(output.status.success(), "{statements}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes every transaction that changes records take this much longer to commit, as with a slow
    /// disk or a synchronous standby: it holds its locks meanwhile. The schema `ship` must exist.
    pub fn slow_commits(&self, by: Duration) {
        let seconds = by.as_secs_f64();
        self.sql(
            "state",
            &format!(
                "create or replace function public.slow_commit() returns trigger language plpgsql \
                 as $$ begin \
                 if current_setting('slow.transaction', true) is distinct from \
                 txid_current()::text then \
                 perform set_config('slow.transaction', txid_current()::text, true); \
                 perform pg_sleep({seconds}); \
                 end if; return null; end $$; \
                 drop trigger if exists slow_commit on ship.records; \
                 create constraint trigger slow_commit after insert or update or delete \
                 on ship.records deferrable initially deferred \
                 for each row execute function public.slow_commit()"
            ),
        );
    }

    fn try_sql(&self, database: &str, statements: &str) -> Output {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.arg("-h").arg(self.dir.path());
        psql.args(["-p", &self.port.to_string()]);
        psql.args(["-U", "postgres", "-d", database]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-qXAtc", statements]);
        psql.stdin(Stdio::null()).output().unwrap()
    }

    fn spawn(&self) -> Child {
        let mut log = OpenOptions::new();
        let log = log.create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.dir.path().display()),
            format!("ssl={}", if self.has_tls { "on" } else { "off" }),
            "max_connections=60".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::from(log)).spawn().unwrap()
    }

    /// A program of the package, run as the user `postgres` if the test is root, because it refuses
    /// to run as root.
    pub fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.dir.path());
        command
    }

    /// Makes two authorities and a certificate for `localhost`.
    fn make_certificates(&self) {
        let dir = self.dir.path();
        let data = self.data();
        fs::write(data.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
        for name in ["authority", "other"] {
            openssl(
                dir,
                &format!(
                    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.crt"
                ),
            );
        }
        let data = data.display();
        openssl(
            dir,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout {data}/server.key -out request"
            ),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in request -CA authority.crt -CAkey authority.key -CAcreateserial -days 30 -extfile {data}/extensions -out {data}/server.crt"
            ),
        );
        let key = self.data().join("server.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        own(&key);
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What the server has logged.
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.resume();
        self.stop(Shutdown::Immediate);
        if std::thread::panicking() {
            eprintln!("{}", self.log_text());
        }
    }
}

/// The directory of the programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|dir| dir.join("initdb").exists())
        .max();
    debian.or_else(|| {
        std::env::split_paths(&std::env::var_os("PATH")?).find(|dir| dir.join("initdb").exists())
    })
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Gives a file to the user who runs the server.
pub fn own(path: &Path) {
    if geteuid().is_root() {
        let user = User::from_name("postgres").unwrap().expect("a user");
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

fn signal(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).unwrap()).expect("a process");
    // It may have ended.
    let _ = kill_process(id, signal);
}

fn openssl(dir: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    succeed(command.current_dir(dir).args(arguments.split(' ')));
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let program = command.get_program().to_owned();
    match output {
        Ok(output) if output.status.success() => {}
        other => panic!("{}: {other:?}", program.display()),
    }
}
