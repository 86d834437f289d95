//! Hosts behind a jump host: each is reached through one login there, however many they are.

use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ship::remote::{Command, ConnectError, Connection, Connector, KeptConnections, Target};
use ship::script::Input;
use tempfile::TempDir;

use crate::target_of;
use ship::config::SshConfig;
use ship_testing::sshd::{Sshd, eventually, processes_of, ssh_of};

const SOON: Duration = Duration::from_secs(5);

/// A jump host, a server behind it that is every host, and an `ssh_config` that knows the way.
struct Ground {
    bastion: Sshd,
    inner: Sshd,
    dir: TempDir,
    connector: Connector,
}

/// The way to the hosts `h…` that most tests take.
const BY_JUMP: &str = "Host h*\n  ProxyJump bastion\n";

impl Ground {
    /// `None` with a message if sshd is not installed.
    fn new(of_bastion: &str, way: &str) -> Option<Self> {
        let (bastion, inner) = (Sshd::start(of_bastion)?, Sshd::start("MaxStartups 100")?);
        let dir = tempfile::tempdir().unwrap();
        let ground = Self {
            connector: Connector::in_dir(dir.path()),
            bastion,
            inner,
            dir,
        };
        ground.configure(way);
        Some(ground)
    }

    /// Writes the `ssh_config`: first the way, then where everybody is.
    fn configure(&self, way: &str) {
        let way = way.replace("BASTION_PORT", &self.bastion.port().to_string());
        let way = way.replace("CONFIG", &self.config().display().to_string());
        let servers = [&self.bastion, &self.inner];
        let [bastion, inner] =
            servers.map(|sshd| format!("HostName 127.0.0.1\n  Port {}", sshd.port()));
        let keys = servers
            .map(|sshd| format!("IdentityFile {}", sshd.file("id").display()))
            .join("\n  ");
        let known_hosts = servers
            .map(|sshd| sshd.file("known_hosts").display().to_string())
            .join(" ");
        let config = format!(
            "{way}Host bastion second\n  {bastion}\nHost h*\n  {inner}\n\
             Host *\n  IdentitiesOnly yes\n  {keys}\n  UserKnownHostsFile {known_hosts}\n"
        );
        self.bastion.write("ssh_config", &config);
    }

    fn config(&self) -> std::path::PathBuf {
        self.bastion.file("ssh_config")
    }

    fn host(&self, number: usize) -> Target {
        Target {
            name: format!("web{number}").as_str().into(),
            address: format!("h{number}"),
            ssh: SshConfig {
                config: Some(self.config()),
                // Thirty key exchanges at once, on a busy machine.
                connect_timeout: Duration::from_secs(40),
                ..SshConfig::default()
            },
            sudo_password: None,
            kept: None,
            ..target_of(&self.inner)
        }
    }

    async fn connect(&self, hosts: usize) -> Vec<Result<Connection, ConnectError>> {
        let hosts: Vec<_> = (1..=hosts).map(|number| self.host(number)).collect();
        join_all(hosts.iter().map(|host| self.connector.connect(host))).await
    }

    /// Connects to some hosts, runs a script on each, and closes the connections.
    async fn visit(&self, hosts: usize) {
        for connection in self.connect(hosts).await {
            let connection = connection.unwrap();
            assert_eq!(say_hello(&connection).await, "hello\n");
            connection.close().await;
        }
    }

    async fn refusal(&self) -> ConnectError {
        self.connect(1).await.pop().unwrap().unwrap_err()
    }

    /// Asserts that nothing is left on this machine, nor at the servers.
    async fn assert_gone(self) {
        self.connector.close().await;
        let left: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        for path in [self.dir.path(), &self.config()] {
            assert!(
                eventually(SOON, || processes_of(path).is_empty()),
                "a process is still there"
            );
        }
    }
}

async fn say_hello(connection: &Connection) -> String {
    let command = Command {
        script: "echo hello",
        input: Input::default(),
        deadline: Duration::from_secs(20),
    };
    connection.run(&command).await.unwrap().stdout
}

/// Starts both servers, or skips the test if sshd is not installed.
macro_rules! ground {
    ($of_bastion:expr, $way:expr) => {
        match Ground::new($of_bastion, $way) {
            Some(ground) => ground,
            None => return,
        }
    };
}

fn who_am_i() -> String {
    let output = Process::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn thirty_hosts_are_reached_by_one_login_at_a_bastion_that_takes_two() {
    let ground = ground!("MaxStartups 2:100:2\nMaxSessions 0", BY_JUMP);
    ground.visit(30).await;
    assert_eq!((ground.bastion.logins(), ground.inner.logins()), (1, 30));
    assert_eq!(
        ground.bastion.log().matches("drop connection").count(),
        0,
        "the bastion rejected a login"
    );
    ground.visit(1).await;
    assert_eq!(
        ground.bastion.logins(),
        1,
        "it is kept for later connections"
    );
    ground.assert_gone().await;
}

#[tokio::test]
async fn data_passes_a_jump_host_unchanged() {
    let ground = ground!("", BY_JUMP);
    let bytes: Vec<u8> = (0..1_u32 << 20)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect();
    let connection = ground.connector.connect(&ground.host(1)).await.unwrap();
    let copy = ground.inner.file("copy");
    let script = format!("cat > {}", copy.display());
    let command = Command {
        script: &script,
        input: Input::from(bytes.clone()),
        deadline: Duration::from_secs(20),
    };
    assert_eq!(connection.run(&command).await.unwrap().status, 0);
    assert!(fs::read(copy).unwrap() == bytes, "other bytes arrived");
    connection.close().await;
    ground.assert_gone().await;
}

#[tokio::test]
async fn every_jump_host_syntax_shares_one_login() {
    let me = who_am_i();
    for way in [
        format!("Host h*\n  ProxyJump {me}@127.0.0.1:BASTION_PORT\n"),
        "Host h*\n  ProxyCommand ssh -q -F CONFIG -W %h:%p bastion 2>/dev/null\n".to_owned(),
        "Match final host 127.0.0.1 !originalhost bastion\n  ProxyJump bastion\n".to_owned(),
        // Two hops, in the list and in the jump host's own settings.
        "Host h*\n  ProxyJump second,bastion\n".to_owned(),
        "Host h*\n  ProxyJump bastion\nHost bastion\n  ProxyJump second\n".to_owned(),
    ] {
        let ground = ground!("MaxStartups 2:100:2", &way);
        ground.visit(4).await;
        let hops = if way.contains("second") { 2 } else { 1 };
        assert_eq!(
            (ground.bastion.logins(), ground.inner.logins()),
            (hops, 4),
            "{way}"
        );
        ground.assert_gone().await;
    }
}

#[tokio::test]
async fn host_specific_proxy_command_is_left_to_ssh() {
    // `%p` may be another one for every host.
    let ground = ground!(
        "",
        "Host h*\n  ProxyCommand ssh -F CONFIG -W %h:%p -o ServerAliveInterval=%p bastion\n"
    );
    ground.visit(2).await;
    assert_eq!(ground.bastion.logins(), 2);
    ground.assert_gone().await;
}

#[tokio::test]
async fn host_without_jump_host_connects_directly() {
    let ground = ground!(
        "",
        "Host h1\n  ProxyJump none\nHost h*\n  ProxyJump bastion\n"
    );
    ground.visit(1).await;
    assert_eq!((ground.bastion.logins(), ground.inner.logins()), (0, 1));
    ground.assert_gone().await;
}

#[tokio::test]
async fn open_control_connection_of_the_user_is_used() {
    let ground = ground!(
        "",
        "Host bastion\n  ControlPath CONFIG.socket\nHost h*\n  ProxyJump bastion\n"
    );
    let open = |words: &[&str]| {
        let mut ssh = Process::new("ssh");
        ssh.arg("-F")
            .arg(ground.config())
            .args(words)
            .args(["--", "bastion"])
            .stderr(Stdio::null());
        assert!(
            ssh.stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
    };
    open(&["-M", "-f", "-N", "-o", "BatchMode=yes"]);
    ground.visit(3).await;
    let logins = ground.bastion.logins();
    open(&["-O", "exit"]);
    assert_eq!(logins, 1, "only the user's own");
    ground.assert_gone().await;
}

#[tokio::test]
async fn unknown_key_error_names_jump_host_and_host() {
    let ground = ground!("", BY_JUMP);
    ground.bastion.write("known_hosts", "");
    let error = ground.refusal().await;
    assert!(matches!(error, ConnectError::HostKeyUnknown(_)) && error.is_final());
    let text = error.to_string();
    assert!(
        text.starts_with("web1: the host key of the jump host bastion is not in known_hosts"),
        "{text}"
    );
    assert!(
        text.ends_with(&format!(
            "accept the key once: `ssh -F {} bastion`",
            ground.config().display()
        )),
        "{text}"
    );
    ground.assert_gone().await;
}

#[tokio::test]
async fn rejected_login_at_a_jump_host_is_tried_once_for_all_hosts() {
    let ground = ground!("MaxAuthTries 10", BY_JUMP);
    ground.bastion.write(
        "id.pub",
        &fs::read_to_string(ground.bastion.file("stranger.pub")).unwrap(),
    );
    let errors = ground.connect(10).await;
    for (number, error) in (1..).zip(errors) {
        let error = error.unwrap_err();
        assert!(matches!(error, ConnectError::Authentication(_)) && error.is_final());
        let text = error.to_string();
        assert!(
            text.starts_with(&format!(
                "web{number}: the jump host bastion rejected the login (ssh: "
            )),
            "{text}"
        );
        assert!(
            text.contains("Permission denied (publickey")
                && text.contains("the jump host's settings"),
            "{text}"
        );
    }
    assert_eq!(ground.bastion.connections(), 1, "{}", ground.bastion.log());
    assert_eq!(ground.inner.connections(), 0);
    ground.assert_gone().await;
}

#[tokio::test]
async fn unreachable_jump_host_error_names_the_host() {
    let ground = ground!("", "Host h*\n  ProxyJump nobody@127.0.0.1:1\n");
    let text = ground.refusal().await.to_string();
    let expected = "web1: cannot reach the jump host nobody@[127.0.0.1]:1 (ssh: connect to \
                    host 127.0.0.1 port 1: \
                    Connection refused; 2 attempts";
    assert!(text.starts_with(expected), "{text}");
    ground.assert_gone().await;
}

#[tokio::test]
async fn unreachable_host_behind_a_jump_host_is_distinguished() {
    let ground = ground!("", "Host h*\n  ProxyJump bastion\n  Port 1\n");
    let error = ground.refusal().await;
    let ConnectError::Unreachable(attempt) = &error else {
        panic!("{error}")
    };
    assert_eq!(attempt.tries, 2);
    let expected = "web1: cannot reach h1 (through the jump host bastion) (ssh: open failed: \
                    connect failed: \
                    Connection refused; 2 attempts";
    assert!(error.to_string().starts_with(expected), "{error}");
    ground.assert_gone().await;
}

#[tokio::test]
async fn jump_host_without_forwarding_is_not_retried() {
    let ground = ground!("AllowTcpForwarding no", BY_JUMP);
    let error = ground.refusal().await;
    assert!(
        matches!(error, ConnectError::Misconfigured(_)) && error.is_final(),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains(
            "h1 (through the jump host bastion) (ssh: open failed: administratively prohibited"
        ),
        "{text}"
    );
    ground.assert_gone().await;
}

#[tokio::test]
async fn host_key_behind_a_jump_host_is_checked() {
    let ground = ground!("", BY_JUMP);
    ground.inner.write("known_hosts", "");
    let error = ground.refusal().await;
    assert!(matches!(error, ConnectError::HostKeyUnknown(_)), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("web1: the host key of h1 (through the jump host bastion) is not"),
        "{error}"
    );
    ground.assert_gone().await;
}

#[tokio::test]
async fn jump_hosts_in_a_circle_are_refused() {
    let ground = ground!(
        "",
        "Host h*\n  ProxyJump bastion\nHost bastion\n  ProxyJump second\nHost second\n  ProxyJump \
         bastion\n"
    );
    let error = ground.refusal().await;
    assert!(matches!(error, ConnectError::Misconfigured(_)), "{error}");
    assert!(
        error.to_string().contains("its `ProxyJump` is circular"),
        "{error}"
    );
    ground.assert_gone().await;
}

#[tokio::test]
async fn when_the_bastion_drops_the_connection_the_next_host_opens_another() {
    let ground = ground!("", BY_JUMP);
    let connection = ground.connector.connect(&ground.host(1)).await.unwrap();
    let shared = shared_login(ground.dir.path());
    assert!(
        Process::new("kill")
            .args(["-9", &shared.to_string()])
            .status()
            .unwrap()
            .success()
    );
    let command = Command {
        script: "echo",
        input: Input::default(),
        deadline: SOON,
    };
    assert!(connection.run(&command).await.unwrap_err().is_unknown());
    connection.close().await;
    ground.visit(3).await;
    assert_eq!(ground.bastion.logins(), 2);
    ground.assert_gone().await;
}

/// The master for the jump host: of all, the one that has no proxy.
fn shared_login(dir: &Path) -> u32 {
    let line = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_direct = |pid: &u32| !String::from_utf8_lossy(&line(pid)).contains("ProxyCommand");
    let direct: Vec<_> = ssh_of(dir).into_iter().filter(is_direct).collect();
    assert_eq!(direct.len(), 1);
    direct[0]
}

#[tokio::test]
async fn kept_connections_need_no_login_at_the_jump_host_either() {
    let ground = ground!("", BY_JUMP);
    let kept = KeptConnections::in_dir(&ground.dir.path().join("kept"), Path::new("inventory"));
    let kept = Arc::new(kept.unwrap());
    let command = async |hosts: &[usize]| {
        let connector = Connector::in_dir(ground.dir.path());
        for number in hosts {
            let mut target = ground.host(*number);
            target.ssh.persist = Duration::from_mins(1);
            target.kept = Some(Arc::clone(&kept));
            let connection = connector.connect(&target).await.unwrap();
            assert_eq!(say_hello(&connection).await, "hello\n");
            connection.close().await;
        }
        connector.close().await;
    };
    let logins = || (ground.bastion.logins(), ground.inner.logins());
    command(&[1, 2, 3]).await;
    assert_eq!(logins(), (1, 3));
    command(&[1, 2, 3]).await;
    assert_eq!(logins(), (1, 3));
    command(&[3, 4]).await;
    assert_eq!(logins(), (1, 4), "a new host uses the kept jump host");
    let closed = kept.close().await;
    assert_eq!((closed.hosts, closed.jump_hosts), (4, 1));
    fs::remove_dir_all(ground.dir.path().join("kept")).unwrap();
    ground.assert_gone().await;
}
