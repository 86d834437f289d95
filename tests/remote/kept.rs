//! Connections that are kept for the next command, and the user's own, over a real sshd.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ship::remote::{
    ClosedConnections, Command, ConnectError, Connection, Connector, KeptConnections, Target,
};
use ship::script::Input;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{PRINT_SSHD, target_of};
use ship_testing::sshd::{Sshd, eventually, processes_of, ssh_of};

const SOON: Duration = Duration::from_secs(5);
const PERSIST: Duration = Duration::from_mins(1);
const CLOSED: ClosedConnections = ClosedConnections {
    hosts: 1,
    jump_hosts: 0,
    stuck: 0,
    in_use: 0,
};
const IN_USE: ClosedConnections = ClosedConnections {
    hosts: 0,
    jump_hosts: 0,
    stuck: 0,
    in_use: 1,
};

/// An sshd, and a directory in which commands keep their connections to it.
struct Ground {
    sshd: Sshd,
    dir: TempDir,
    kept: Arc<KeptConnections>,
}

impl Ground {
    /// `None` with a message if sshd is not installed.
    fn new() -> Option<Self> {
        let sshd = Sshd::start("")?;
        let dir = tempfile::tempdir().unwrap();
        let kept = KeptConnections::in_dir(&dir.path().join("kept"), Path::new("inventory.toml"));
        Some(Self {
            sshd,
            dir,
            kept: Arc::new(kept.unwrap()),
        })
    }

    fn target(&self) -> Target {
        let mut target = target_of(&self.sshd);
        target.ssh.persist = PERSIST;
        target.kept = Some(Arc::clone(&self.kept));
        target
    }

    /// What a command has: connections of its own.
    fn connector(&self) -> Connector {
        Connector::in_dir(self.dir.path())
    }

    /// Runs a script in a command of its own.
    async fn command(&self, target: &Target) {
        let connector = self.connector();
        let connection = connector.connect(target).await.unwrap();
        assert_eq!(say_hello(&connection).await, "hello\n");
        connection.close().await;
        connector.close().await;
    }

    fn masters(&self) -> Vec<u32> {
        ssh_of(&self.dir.path().join("kept"))
    }

    /// Closes the connections, and asserts that nothing is left.
    async fn assert_closed(&self, expected: ClosedConnections) {
        assert_eq!(self.kept.close().await, expected);
        self.assert_gone();
    }

    fn assert_gone(&self) {
        let is_gone = || processes_of(self.dir.path()).is_empty();
        assert!(eventually(SOON, is_gone), "a process is still there");
        assert_eq!(files_in(&self.dir.path().join("kept")), [""; 0]);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for pid in self.masters() {
            kill("KILL", pid);
        }
    }
}

/// Starts an sshd, or ends the test where there is none.
macro_rules! ground {
    () => {
        match Ground::new() {
            Some(ground) => ground,
            None => return,
        }
    };
}

fn script(script: &str, deadline: Duration) -> Command<'_> {
    Command {
        script,
        input: Input::default(),
        deadline,
    }
}

async fn say_hello(connection: &Connection) -> String {
    let output = connection.run(&script("echo hello", SOON)).await;
    output.unwrap().stdout
}

fn kill(signal: &str, pid: u32) {
    let killed = Process::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    drop(killed);
}

/// The files below a directory, which has one directory for each inventory.
fn files_in(dir: &Path) -> Vec<String> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    entries(dir)
        .flat_map(|inventory| entries(&inventory.path()).collect::<Vec<_>>())
        .map(|file| file.file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn interrupted_close_is_completed_by_the_next_one() {
    let ground = ground!();
    ground.command(&ground.target()).await;
    // It has begun to close the connection, and does not wait for the end of ssh.
    let interrupted = timeout(Duration::ZERO, ground.kept.close()).await;
    assert!(interrupted.is_err(), "{interrupted:?}");
    ground.kept.close().await;
    ground.assert_gone();
}

#[tokio::test]
async fn second_command_logs_in_nowhere() {
    let ground = ground!();
    let target = ground.target();
    for _ in 0..3 {
        ground.command(&target).await;
    }
    assert_eq!(ground.sshd.logins(), 1);
    let kept = ground.dir.path().join("kept");
    for entry in fs::read_dir(&kept).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "others can use the connections");
    }
    ground.assert_closed(CLOSED).await;
    assert_eq!(ground.kept.close().await, ClosedConnections::default());
}

#[tokio::test]
async fn command_without_persist_neither_keeps_nor_uses_a_connection() {
    let ground = ground!();
    let mut target = ground.target();
    target.ssh.persist = Duration::ZERO;
    ground.command(&target).await;
    ground.assert_gone();
    ground.command(&ground.target()).await;
    ground.command(&target).await;
    assert_eq!(ground.sshd.logins(), 3);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn connection_is_used_only_if_everything_that_decides_the_login_is_the_same() {
    let ground = ground!();
    let (sshd, target) = (&ground.sshd, ground.target());
    ground.command(&target).await;
    let known_hosts = fs::read_to_string(sshd.file("known_hosts")).unwrap();
    let (lead, key) = known_hosts.split_once(' ').unwrap();
    let rewrite_key = || {
        let key = fs::read(sshd.file("id")).unwrap();
        fs::remove_file(sshd.file("id")).unwrap();
        fs::write(sshd.file("id"), key).unwrap();
        fs::set_permissions(sshd.file("id"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let changes: [(&str, &dyn Fn(), usize); 7] = [
        ("nothing", &|| (), 0),
        ("the key file", &rewrite_key, 1),
        (
            "the settings",
            &|| sshd.write("ssh_config", "Compression yes\n"),
            1,
        ),
        (
            "a comment in the settings",
            &|| sshd.write("ssh_config", "# none\nCompression yes\n"),
            1,
        ),
        (
            "the host key of another host",
            &|| sshd.write("known_hosts", &format!("{known_hosts}other {key}")),
            0,
        ),
        (
            "the known host keys",
            &|| sshd.write("known_hosts", &format!("{lead},again {key}")),
            1,
        ),
        (
            "a revoked host key",
            &|| {
                let again = fs::read_to_string(sshd.file("known_hosts")).unwrap();
                sshd.write("known_hosts", &format!("{again}@revoked other {key}"));
            },
            1,
        ),
    ];
    let flag = sshd.file("flag").display().to_string();
    let matching = format!("Match exec \"test -e {flag}\"\nCompression yes\n");
    let dynamic: [(&str, &dyn Fn(), usize); 3] = [
        ("the settings", &|| sshd.write("ssh_config", &matching), 1),
        ("nothing", &|| (), 0),
        ("what a `Match exec` finds", &|| sshd.write("flag", ""), 1),
    ];
    for (what, change, logins) in changes.into_iter().chain(dynamic) {
        let before = sshd.logins();
        change();
        ground.command(&target).await;
        assert_eq!(sshd.logins() - before, logins, "{what} changed");
    }
    let mut other = ground.target();
    other.ssh.persist += SOON;
    let before = sshd.logins();
    ground.command(&other).await;
    assert_eq!(sshd.logins() - before, 1, "the time changed");
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn removed_host_key_ends_the_connection() {
    let ground = ground!();
    ground.command(&ground.target()).await;
    ground.sshd.write("known_hosts", "");
    let connector = ground.connector();
    let error = connector.connect(&ground.target()).await.unwrap_err();
    assert!(matches!(error, ConnectError::HostKeyUnknown(_)), "{error}");
    connector.close().await;
    ground.assert_gone();
}

#[tokio::test]
async fn killed_master_is_replaced_silently() {
    let ground = ground!();
    ground.command(&ground.target()).await;
    for pid in ground.masters() {
        kill("KILL", pid);
    }
    assert!(eventually(SOON, || ground.masters().is_empty()));
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 2);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn connection_to_a_host_that_does_not_answer_is_replaced_in_seconds() {
    let ground = ground!();
    let target = ground.target();
    let connector = ground.connector();
    let connection = connector.connect(&target).await.unwrap();
    let session = connection.run(&script(PRINT_SSHD, SOON)).await;
    let session = session.unwrap().stdout;
    connection.close().await;
    connector.close().await;
    let session = session.trim().parse().unwrap();
    kill("STOP", session);
    let began = Instant::now();
    ground.command(&target).await;
    let took = began.elapsed();
    kill("KILL", session);
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(ground.sshd.logins(), 2);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn connection_ends_in_time_without_another_command() {
    let ground = ground!();
    let mut target = ground.target();
    target.ssh.persist = Duration::from_secs(1);
    ground.command(&target).await;
    assert!(
        eventually(SOON, || ground.masters().is_empty()),
        "the connection is still open"
    );
    // The files that it leaves are removed by the next command.
    let reopened =
        KeptConnections::in_dir(&ground.dir.path().join("kept"), Path::new("inventory.toml"));
    assert_eq!(
        reopened.unwrap().close().await,
        ClosedConnections::default()
    );
    ground.assert_gone();
}

#[tokio::test]
async fn connection_with_a_script_that_was_given_up_is_not_kept() {
    let ground = ground!();
    let connector = ground.connector();
    let connection = connector.connect(&ground.target()).await.unwrap();
    let given_up = script("sleep 8", Duration::from_millis(500));
    assert!(connection.run(&given_up).await.is_err());
    connection.close().await;
    connector.close().await;
    ground.assert_gone();
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 2);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn connection_of_a_killed_command_ends() {
    let ground = ground!();
    ground.command(&ground.target()).await;
    let connector = ground.connector();
    let connection = connector.connect(&ground.target()).await.unwrap();
    assert_eq!(ground.sshd.logins(), 1);
    // As when ship is killed: the connection is not closed, and the pipe of the reaper is.
    std::mem::forget(connection);
    drop(connector);
    ground.assert_gone();
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 2);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn concurrent_commands_have_connections_of_their_own_and_leave_one() {
    let ground = ground!();
    let target = ground.target();
    let commands = (0..4).map(|_| ground.command(&target));
    futures::future::join_all(commands).await;
    assert!(eventually(SOON, || ground.masters().len() == 1));
    let logins = ground.sshd.logins();
    ground.command(&target).await;
    assert_eq!(ground.sshd.logins(), logins);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn forwarded_ports_end_with_the_command() {
    let ground = ground!();
    let connector = ground.connector();
    let connection = connector.connect(&ground.target()).await.unwrap();
    let port = ground.sshd.port();
    let socket = connection.forward("127.0.0.1", port).await.unwrap();
    assert!(is_listening(&socket.unwrap()));
    connection.close().await;
    connector.close().await;
    assert_eq!(ground.masters().len(), 1);
    assert!(!listens_below(ground.dir.path(), "kept"));
    ground.assert_closed(CLOSED).await;
}

fn is_listening(socket: &Path) -> bool {
    unix_sockets().contains(socket.to_str().unwrap())
}

/// Whether a unix socket below a directory exists in any process, apart from those in `except`.
fn listens_below(dir: &Path, except: &str) -> bool {
    let except = dir.join(except).display().to_string();
    unix_sockets()
        .lines()
        .any(|line| line.contains(dir.to_str().unwrap()) && !line.contains(&except))
}

/// Also those whose file was removed.
fn unix_sockets() -> String {
    fs::read_to_string("/proc/net/unix").unwrap()
}

#[test]
fn directory_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |name: &str| {
        let base = dir.path().join(name);
        let opened = KeptConnections::in_dir(&base, Path::new("inventory.toml"));
        opened.unwrap_err().to_string()
    };
    let ends_with = |name: &str, expected: &str| {
        let refusal = refusal(name);
        assert!(refusal.ends_with(expected), "{refusal}");
    };
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    ends_with("link", "/link is a symbolic link");
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    ends_with("open", "/open is accessible to other users (mode 0755)");
    fs::write(dir.path().join("file"), "").unwrap();
    ends_with("file", "/file is not a directory");
    let long = "x".repeat(80);
    ends_with(&long, "has a path that is too long for a socket");
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o700)).unwrap();
    if chown(&foreign, Some(4711), None).is_err() {
        eprintln!("SKIPPED: only root can give a directory away");
        return;
    }
    ends_with("foreign", "/foreign belongs to uid 4711");
}

/// The user's own master, which is not ship's to end.
struct UserMaster {
    child: Child,
    socket: PathBuf,
}

impl UserMaster {
    fn start(ground: &Ground) -> Self {
        let sshd = &ground.sshd;
        let socket = sshd.file("control");
        let config = format!("ControlPath {}\n", socket.display());
        sshd.write("ssh_config", &config);
        let child = Process::new("ssh")
            .arg("-F")
            .arg(sshd.file("ssh_config"))
            .args(["-M", "-N", "-p", &sshd.port().to_string(), "-i"])
            .arg(sshd.file("id"))
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                sshd.file("known_hosts").display()
            ))
            .arg("127.0.0.1")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(eventually(SOON, || socket.exists()), "{}", sshd.log());
        Self { child, socket }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for UserMaster {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn control_connection_of_the_user_is_used_and_survives() {
    let ground = ground!();
    let mut user = UserMaster::start(&ground);
    for persist in [Duration::ZERO, PERSIST] {
        let mut target = ground.target();
        target.ssh.persist = persist;
        let connector = ground.connector();
        let connection = connector.connect(&target).await.unwrap();
        assert_eq!(say_hello(&connection).await, "hello\n");
        let port = ground.sshd.port();
        let socket = connection.forward("127.0.0.1", port).await.unwrap();
        assert!(is_listening(&socket.unwrap()));
        let given_up = script("sleep 8", Duration::from_millis(500));
        assert!(connection.run(&given_up).await.is_err());
        connection.close().await;
        connector.close().await;
        assert!(
            !listens_below(ground.dir.path(), "kept"),
            "a forward is left"
        );
    }
    assert_eq!(ground.sshd.logins(), 1);
    assert!(user.is_running());
    ground.assert_closed(ClosedConnections::default()).await;
    assert!(user.is_running());
}

#[tokio::test]
async fn killed_command_leaves_no_forward_on_the_connection_of_the_user() {
    let ground = ground!();
    let mut user = UserMaster::start(&ground);
    let connector = ground.connector();
    let connection = connector.connect(&ground.target()).await.unwrap();
    let port = ground.sshd.port();
    let socket = connection.forward("127.0.0.1", port).await.unwrap();
    assert!(is_listening(&socket.unwrap()));
    std::mem::forget(connection);
    drop(connector);
    let is_gone = || !listens_below(ground.dir.path(), "kept");
    assert!(eventually(SOON, is_gone), "a forward is left");
    assert_eq!(ground.sshd.logins(), 1);
    assert!(user.is_running());
}

#[tokio::test]
async fn dead_control_connection_of_the_user_is_passed_over() {
    let ground = ground!();
    let mut user = UserMaster::start(&ground);
    user.child.kill().unwrap();
    user.child.wait().unwrap();
    assert!(user.socket.exists());
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 2);
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn control_connection_that_others_could_replace_is_not_used() {
    let ground = ground!();
    let mut user = UserMaster::start(&ground);
    let dir = user.socket.parent().unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 2);
    assert!(user.is_running());
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn name_that_leads_to_another_machine_needs_a_login() {
    let ground = ground!();
    ground.command(&ground.target()).await;
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 1);
    // As if the name had led to another address at the login.
    for record in records(&ground.dir.path().join("kept")) {
        let text = fs::read_to_string(&record).unwrap();
        let changed = text.replace("\"127.0.0.1\"]", "\"127.0.0.2\"]");
        assert_ne!(changed, text);
        fs::write(&record, changed).unwrap();
    }
    ground.command(&ground.target()).await;
    assert_eq!(ground.sshd.logins(), 2);
}

/// The descriptions of the kept connections.
fn records(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries(dir).flat_map(|inventory| entries(&inventory.path()).collect::<Vec<_>>());
    let records = files.filter(|file| file.file_name().to_string_lossy().starts_with("record-"));
    records.map(|file| file.path()).collect()
}

#[tokio::test]
async fn connection_that_does_not_end_is_reported_and_closed_later() {
    let ground = ground!();
    ground.command(&ground.target()).await;
    let masters = ground.masters();
    for pid in &masters {
        kill("STOP", *pid);
    }
    let stuck = ClosedConnections {
        hosts: 0,
        jump_hosts: 0,
        stuck: 1,
        in_use: 0,
    };
    assert_eq!(ground.kept.close().await, stuck);
    for pid in &masters {
        kill("CONT", *pid);
    }
    ground.assert_closed(CLOSED).await;
}

#[tokio::test]
async fn connection_that_a_command_uses_is_reported_and_stays_open() {
    let ground = ground!();
    let connector = ground.connector();
    let connection = connector.connect(&ground.target()).await.unwrap();
    assert_eq!(ground.kept.close().await, IN_USE);
    assert_eq!(say_hello(&connection).await, "hello\n");
    assert_eq!(ground.kept.close().await, IN_USE);
    connection.close().await;
    connector.close().await;
    ground.assert_closed(CLOSED).await;
}
