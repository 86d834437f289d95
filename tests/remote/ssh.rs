//! Scripts over a real sshd on a port of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ship::config::Escalation;
use ship::core::fleet::health::Verdict;
use ship::probe::{self, PortProbe, Route};
use ship::remote::{
    Command, ConnectError, Connection, Connections, Connector, Output, RunError, SavedOutput,
    SharedLinks, SudoPassword, Target, network_address,
};
use ship::script::Input;
use ship::script::Script;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::{PRINT_SSHD, target_of, target_with};
use ship_testing::flaky_proxy::{Fault, FlakyProxy};
use ship_testing::sshd::{Sshd, eventually, is_root, processes_of, ssh_of};

const SOON: Duration = Duration::from_secs(5);

/// Starts an sshd, or ends the test where there is none.
macro_rules! sshd {
    () => {
        sshd!("")
    };
    ($more:expr) => {
        match Sshd::start($more) {
            Some(sshd) => sshd,
            None => return,
        }
    };
}

pub(crate) fn script(script: &str) -> Command<'_> {
    Command {
        script,
        input: Input::default(),
        deadline: Duration::from_secs(20),
    }
}

/// A connector, with a directory below which its own is.
pub(crate) struct Base {
    dir: TempDir,
    connector: Connector,
}

impl Base {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            connector: Connector::in_dir(dir.path()),
            dir,
        }
    }

    /// Asserts that nothing of a connection is left, and then nothing at all.
    pub(crate) async fn assert_gone(self) {
        self.assert_no_ssh();
        let control_dirs: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(control_dirs.len(), 1);
        let left: Vec<_> = fs::read_dir(&control_dirs[0])
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        self.connector.close().await;
        assert!(!control_dirs[0].exists(), "the directory is still there");
        assert_eq!(
            processes_of(self.dir.path()),
            [0; 0],
            "a process is still there"
        );
    }

    fn assert_no_ssh(&self) {
        assert!(
            eventually(SOON, || ssh_of(self.dir.path()).is_empty()),
            "ssh is still there"
        );
    }
}

pub(crate) async fn open(target: &Target) -> (Base, Connection) {
    let base = Base::new();
    let connection = base.connector.connect(target).await.unwrap();
    (base, connection)
}

async fn refused(target: &Target) -> ConnectError {
    let base = Base::new();
    let error = base.connector.connect(target).await.unwrap_err();
    base.assert_no_ssh();
    error
}

fn printed(stdout: &str) -> Output {
    Output {
        stdout: stdout.to_owned(),
        stderr: String::new(),
        status: 0,
        truncated: false,
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Reads a number that a script writes to a file.
fn pid_in(file: &Path) -> String {
    let mut pid = String::new();
    let is_written = || {
        pid = fs::read_to_string(file).unwrap_or_default();
        pid.ends_with('\n')
    };
    assert!(eventually(SOON, is_written), "the script does not run");
    pid.trim().to_owned()
}

#[tokio::test]
async fn script_runs_and_closing_leaves_nothing() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let output = connection
        .run(&script("echo \"it's\" $LC_ALL\necho '$HOME' >&2"))
        .await
        .unwrap();
    assert_eq!(
        output,
        Output {
            stderr: "$HOME\n".to_owned(),
            ..printed("it's C\n")
        }
    );
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn script_returns_exit_status_and_output() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    for status in [0, 1, 2, 124, 126, 127, 255] {
        let output = connection
            .run(&script(&format!("echo printed; exit {status}")))
            .await
            .unwrap();
        assert_eq!(
            output,
            Output {
                status,
                ..printed("printed\n")
            }
        );
    }
    connection.close().await;
}

#[tokio::test]
async fn large_input_arrives_unchanged() {
    let sshd = sshd!();
    let bytes: Vec<u8> = (0..1_u32 << 20)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect();
    fs::write(sshd.file("big"), &bytes).unwrap();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let input = Input {
        head: b"head\n".to_vec(),
        file: Some(sshd.file("big")),
    };
    let copy = sshd.file("copy");
    let text = format!("read -r first; echo $first; cat > {}", copy.display());
    let output = connection
        .run(&Command {
            input,
            ..script(&text)
        })
        .await
        .unwrap();
    assert_eq!(output, printed("head\n"));
    assert!(fs::read(copy).unwrap() == bytes, "other bytes arrived");
    connection.close().await;
}

/// Saves the output of a script that may print 1 MiB.
async fn save(connection: &Connection, text: &str) -> (Result<Output, RunError>, Vec<u8>) {
    let saved = tempfile::NamedTempFile::new().unwrap();
    let mut output = SavedOutput::new(saved.reopen().unwrap(), 1 << 20);
    let result = connection.save(&script(text), &mut output).await;
    assert!(output.write_error().is_none());
    (result, fs::read(saved.path()).unwrap())
}

#[tokio::test]
async fn saved_output_arrives_unchanged_and_has_a_limit() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    let file = sshd.file("bytes");
    fs::write(&file, all_bytes.repeat(4096)).unwrap();
    let text = format!("cat {}; echo done >&2; exit 3", file.display());
    let (result, saved) = save(&connection, &text).await;
    let output = result.unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (3, "done\n"));
    assert!(saved == fs::read(&file).unwrap());

    let (result, saved) = save(&connection, "cat /dev/zero").await;
    let error = result.unwrap_err();
    let expected = "it sent more than 1048576 bytes";
    assert!(error.to_string().contains(expected), "{error}");
    assert!(error.is_unknown());
    assert!(saved.len() <= 1 << 20);
    connection.close().await;
}

#[tokio::test]
async fn script_may_ignore_its_input() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let input = Input::from(vec![0; 1 << 20]);
    let output = connection
        .run(&Command {
            input,
            ..script("echo enough")
        })
        .await
        .unwrap();
    assert_eq!(output, printed("enough\n"));
    connection.close().await;
}

#[tokio::test]
async fn unreadable_input_file_is_reported_before_the_script_runs() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let input = Input {
        head: Vec::new(),
        file: Some(sshd.file("missing")),
    };
    let text = format!("touch {}", sshd.file("ran").display());
    let error = connection
        .run(&Command {
            input,
            ..script(&text)
        })
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::NotStarted { .. }) && !error.is_unknown());
    assert!(
        error.to_string().contains("/missing: No such file"),
        "{error}"
    );
    assert!(!sshd.file("ran").exists());
    connection.close().await;
}

#[tokio::test]
async fn at_its_deadline_a_script_is_ended_on_the_host_too() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let text = format!(
        "echo waiting for the database; echo $$ > {}; sleep 300; :",
        sshd.file("pid").display()
    );
    let began = Instant::now();
    let command = Command {
        deadline: Duration::from_millis(700),
        ..script(&text)
    };
    let error = connection.run(&command).await.unwrap_err();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(error.is_unknown());
    assert_eq!(
        error.to_string(),
        "web1: the script did not finish within 700ms (last output: waiting for the database); its \
         result is unknown until ship observes the host again"
    );
    let pid = pid_in(&sshd.file("pid"));
    assert!(eventually(SOON, || !is_alive(&pid)), "it runs on");
    assert_eq!(
        connection.run(&script("echo next")).await.unwrap(),
        printed("next\n")
    );
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn closing_does_not_wait_for_a_script_that_was_given_up() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let text = format!(
        "echo $$ > {}; trap '' TERM; sleep 20",
        sshd.file("pid").display()
    );
    let given_up = timeout(Duration::from_secs(1), connection.run(&script(&text))).await;
    assert!(given_up.is_err());
    let pid = pid_in(&sshd.file("pid"));
    assert!(is_alive(&pid), "it is still within its deadline");
    connection.close().await;
    base.assert_gone().await;
    assert!(
        Process::new("kill")
            .arg("-9")
            .arg(&pid)
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn endless_output_neither_fills_the_memory_nor_hides_the_status() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let output = connection
        .run(&script("head -c 9000000 /dev/zero | tr '\\0' x; exit 3"))
        .await
        .unwrap();
    assert_eq!(
        (output.status, output.truncated, output.stdout.len()),
        (3, true, 4 << 20)
    );
    connection.close().await;
}

#[tokio::test]
async fn twenty_concurrent_scripts_all_run() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let scripts: Vec<_> = (0..20).map(|n| format!("echo {n}")).collect();
    let runs = scripts
        .iter()
        .map(|text| async { connection.run(&script(text)).await.unwrap().stdout });
    let answers: Vec<_> = futures::future::join_all(runs).await;
    assert_eq!(
        answers,
        (0..20).map(|n| format!("{n}\n")).collect::<Vec<_>>()
    );
    connection.close().await;
}

#[tokio::test]
async fn one_session_at_a_time_is_sufficient() {
    let sshd = sshd!("MaxSessions 1");
    let (_base, connection) = open(&target_of(&sshd)).await;
    let command = script("echo here");
    let outputs = futures::future::join_all((0..6).map(|_| connection.run(&command))).await;
    assert!(
        outputs
            .into_iter()
            .all(|output| output.unwrap() == printed("here\n"))
    );
    connection.close().await;
}

#[tokio::test]
async fn unknown_host_key_is_rejected_with_a_hint() {
    let sshd = sshd!();
    sshd.write("known_hosts", "");
    let error = refused(&target_of(&sshd)).await;
    assert!(matches!(error, ConnectError::HostKeyUnknown(_)) && error.is_final());
    let text = error.to_string();
    assert!(
        text.starts_with("web1: the host key of 127.0.0.1:"),
        "{text}"
    );
    assert!(
        text.contains("Host key verification failed") && text.contains("accept the key once"),
        "{text}"
    );
    assert!(text.contains(&format!("-p {} -o", sshd.port())), "{text}");
    assert_eq!(
        fs::read_to_string(sshd.file("known_hosts")).unwrap(),
        "",
        "it must not be accepted silently"
    );
}

#[tokio::test]
async fn accept_new_in_the_ssh_config_applies() {
    let sshd = sshd!();
    sshd.write("known_hosts", "");
    sshd.write("ssh_config", "StrictHostKeyChecking accept-new\n");
    let (_base, connection) = open(&target_of(&sshd)).await;
    assert_eq!(
        connection.run(&script("echo in")).await.unwrap(),
        printed("in\n")
    );
    connection.close().await;
}

#[tokio::test]
async fn changed_host_key_is_rejected_with_a_warning() {
    let sshd = sshd!();
    sshd.trust(&sshd.file("stranger.pub"));
    let error = refused(&target_of(&sshd)).await;
    assert!(matches!(error, ConnectError::HostKeyChanged(_)) && error.is_final());
    let text = error.to_string();
    assert!(
        text.contains("has changed: this could be a man-in-the-middle attack")
            && text.contains("Offending ED25519 key in"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_key_is_rejected_without_retry() {
    let sshd = sshd!();
    let error = refused(&target_with(&sshd, |ssh| {
        ssh.identity_file = Some(sshd.file("stranger"));
    }))
    .await;
    let ConnectError::Authentication(attempt) = &error else {
        panic!("{error}")
    };
    assert_eq!(attempt.tries, 1);
    assert!(
        error.to_string().contains("Permission denied (publickey"),
        "{error}"
    );
}

#[tokio::test]
async fn closed_port_is_tried_twice_and_reported() {
    let sshd = sshd!();
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = refused(&target_with(&sshd, |ssh| ssh.port = Some(port))).await;
    let ConnectError::Unreachable(attempt) = &error else {
        panic!("{error}")
    };
    assert_eq!((attempt.tries, error.is_final()), (2, false));
    assert_eq!(
        attempt.ssh_output,
        format!("ssh: connect to host 127.0.0.1 port {port}: Connection refused")
    );
}

#[tokio::test]
async fn proxy_command_that_fails_is_tried_twice_and_shown_with_its_words() {
    let sshd = sshd!();
    let proxy = "ProxyCommand sh -c \"echo 'ExpiredTokenException: The security token has \
                 expired' >&2; exit 255\"\n";
    sshd.write("ssh_config", proxy);
    let error = refused(&target_of(&sshd)).await;
    let ConnectError::Proxy(attempt) = &error else {
        panic!("{error}")
    };
    assert_eq!((attempt.tries, error.is_final()), (2, false));
    let text = error.to_string();
    assert!(text.contains(
        "exited before the login (ExpiredTokenException: The security token has expired; 2 attempts"
    ));
    assert!(
        text.contains("check that command and its credentials") && !text.contains("MaxStartups"),
        "{text}"
    );
}

#[tokio::test]
async fn proxy_command_that_prints_nothing_is_not_taken_for_a_busy_server() {
    let sshd = sshd!();
    sshd.write("ssh_config", "ProxyCommand true\n");
    let error = refused(&target_of(&sshd)).await;
    let ConnectError::Busy(attempt) = &error else {
        panic!("{error}")
    };
    assert!(attempt.tries <= 5, "{error}");
    assert!(
        error
            .to_string()
            .contains("its ProxyCommand exited without output"),
        "{error}"
    );
}

#[tokio::test]
async fn proxy_command_that_waits_is_shown_with_its_words() {
    let sshd = sshd!();
    sshd.write(
        "ssh_config",
        "ProxyCommand sh -c \"echo 'open https://login.example in a browser' >&2; sleep 20\"\n",
    );
    // ssh counts whole seconds, and gives up on its own after the second one: ship is first.
    let error = refused(&target_with(&sshd, |ssh| {
        ssh.connect_timeout = Duration::from_millis(1100);
    }))
    .await;
    let expected =
        "the login did not finish within 1.1s; output: open https://login.example in a browser";
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn too_many_keys_are_named_with_the_key_that_helps() {
    let sshd = sshd!("MaxAuthTries 2");
    let mut keys = vec!["IdentitiesOnly yes\n".to_owned()];
    for number in 0..3 {
        let key = sshd.file(&format!("other{number}"));
        let made = Process::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        keys.push(format!("IdentityFile {}\n", key.display()));
    }
    sshd.write("ssh_config", &keys.concat());
    let error = refused(&target_with(&sshd, |ssh| ssh.identity_file = None)).await;
    assert!(
        matches!(error, ConnectError::Authentication(_)) && error.is_final(),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("Too many authentication failures") && text.contains("`identity_file`"),
        "{text}"
    );
}

#[tokio::test]
async fn key_that_ssh_does_not_use_is_named_with_the_reason() {
    use std::os::unix::fs::PermissionsExt;
    let sshd = sshd!();
    fs::set_permissions(sshd.file("id"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = refused(&target_of(&sshd)).await.to_string();
    assert!(
        text.contains("bad permissions; ") && text.contains("Permission denied (publickey"),
        "{text}"
    );
}

#[tokio::test]
async fn unknown_host_name_is_not_retried() {
    let sshd = sshd!();
    let error = refused(&Target {
        address: "no-such-host.invalid".to_owned(),
        ..target_of(&sshd)
    })
    .await;
    assert!(
        error.is_final() || error.to_string().contains("Temporary failure"),
        "{error}"
    );
    assert!(
        error.to_string().contains("no-such-host.invalid"),
        "{error}"
    );
}

/// A listener that sends something, or nothing, and then leaves its clients waiting.
async fn stalled(banner: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(banner).await;
            held.push(stream);
        }
    });
    port
}

#[tokio::test]
async fn stalled_server_times_out_and_leaves_no_process() {
    let sshd = sshd!();
    for banner in [&b""[..], b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let port = stalled(banner).await;
        let target = target_with(&sshd, |ssh| {
            ssh.port = Some(port);
            ssh.connect_timeout = Duration::from_secs(1);
        });
        let began = Instant::now();
        let error = refused(&target).await;
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
    }
}

/// Connects through a network with these fates.
async fn open_through(fates: &[Fault], sshd: &Sshd) -> (FlakyProxy, Result<(), ConnectError>) {
    let relay = FlakyProxy::start(sshd.port(), fates.iter().copied());
    sshd.write(
        "ssh_config",
        &format!("HostKeyAlias [127.0.0.1]:{}\n", sshd.port()),
    );
    let target = target_with(sshd, |ssh| {
        ssh.port = Some(relay.port());
        ssh.connect_timeout = Duration::from_secs(2);
    });
    let base = Base::new();
    let connected = base.connector.connect(&target).await;
    let ended = match connected {
        Ok(connection) => {
            connection.close().await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    base.assert_gone().await;
    (relay, ended)
}

#[tokio::test]
async fn interrupted_key_exchange_is_retried() {
    let sshd = sshd!();
    for fates in [
        &[Fault::Reset; 3][..],
        &[Fault::Closed; 3],
        &[Fault::Stalled],
        &[Fault::Reset, Fault::Stalled, Fault::Closed],
    ] {
        let (relay, ended) = open_through(fates, &sshd).await;
        assert!(ended.is_ok(), "{fates:?}: {}", ended.unwrap_err());
        assert!(relay.has_applied_all(), "{fates:?}");
    }
}

#[tokio::test]
async fn repeatedly_interrupted_login_fails_in_time() {
    let sshd = sshd!();
    for (fate, printed) in [
        (
            Fault::Reset,
            "closed the connection before the login (ssh: Connection reset by 127.0.0.1 port ",
        ),
        (
            Fault::Closed,
            "closed the connection before the login (ssh: Connection ",
        ),
        (
            Fault::Stalled,
            "the login did not finish within 2s; 2 attempts of at most 2s, 4.",
        ),
    ] {
        let began = Instant::now();
        let (_relay, ended) = open_through(&[fate; 30], &sshd).await;
        let error = ended.unwrap_err();
        assert!(
            !error.is_final() && error.to_string().contains(printed),
            "{error}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn stalled_jump_host_leaves_no_process() {
    let sshd = sshd!();
    let port = stalled(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    sshd.write(
        "ssh_config",
        &format!("Host web1\n  ProxyJump 127.0.0.1:{port}\n"),
    );
    let target = Target {
        address: "web1".to_owned(),
        ..target_with(&sshd, |ssh| ssh.connect_timeout = Duration::from_secs(1))
    };
    let error = refused(&target).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    assert!(
        eventually(SOON, || processes_of(&sshd.file("ssh_config")).is_empty()),
        "the jump's ssh is still there"
    );
}

#[tokio::test]
async fn giving_up_while_connecting_leaves_no_process() {
    let sshd = sshd!();
    let base = Base::new();
    let port = stalled(b"").await;
    let target = target_with(&sshd, |ssh| ssh.port = Some(port));
    assert!(
        timeout(Duration::from_millis(300), base.connector.connect(&target))
            .await
            .is_err()
    );
    base.assert_gone().await;
}

#[tokio::test]
async fn logins_rejected_by_a_busy_server_are_retried() {
    let sshd = sshd!("MaxStartups 2:100:3");
    let base = Base::new();
    let target = target_of(&sshd);
    let connections =
        futures::future::join_all((0..12).map(|_| base.connector.connect(&target))).await;
    for connection in connections {
        connection.unwrap().close().await;
    }
    base.assert_gone().await;
}

#[tokio::test]
async fn aliases_of_the_ssh_config_are_honoured() {
    let sshd = sshd!();
    let (key, known_hosts, port) = (sshd.file("id"), sshd.file("known_hosts"), sshd.port());
    let settings = format!(
        "Host web\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {}\n  UserKnownHostsFile \
         {}\n",
        key.display(),
        known_hosts.display()
    );
    sshd.write("ssh_config", &settings);
    let target = Target {
        address: "web".to_owned(),
        ..target_with(&sshd, |ssh| {
            ssh.port = None;
            ssh.identity_file = None;
            ssh.known_hosts = None;
        })
    };
    let (base, connection) = open(&target).await;
    let output = connection
        .run(&script("set -- $SSH_CONNECTION; echo $1 $4"))
        .await
        .unwrap();
    assert_eq!(output, printed(&format!("127.0.0.1 {port}\n")));
    assert_eq!(network_address(&target).await, "127.0.0.1");
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn resolvable_address_is_unchanged() {
    let sshd = sshd!();
    for address in ["127.0.0.12", "localhost", "no-such-host.invalid"] {
        assert_eq!(
            network_address(&Target {
                address: address.to_owned(),
                ..target_of(&sshd)
            })
            .await,
            address
        );
    }
}

#[tokio::test]
async fn keys_of_the_agent_are_used() {
    let sshd = sshd!();
    let socket = sshd.file("agent");
    let mut agent = Process::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(eventually(SOON, || socket.exists()));
    let added = Process::new("ssh-add")
        .arg("-q")
        .arg(sshd.file("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status()
        .unwrap();
    assert!(added.success());
    sshd.write(
        "ssh_config",
        &format!("IdentityAgent {}\nIdentityFile none\n", socket.display()),
    );
    let (_base, connection) = open(&target_with(&sshd, |ssh| ssh.identity_file = None)).await;
    assert_eq!(
        connection.run(&script("echo in")).await.unwrap(),
        printed("in\n")
    );
    connection.close().await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test]
async fn sudo_is_used_where_it_is_wanted() {
    let sshd = sshd!();
    if !is_root() || Process::new("sudo").args(["-n", "true"]).status().is_err() {
        eprintln!(
            "SKIPPED: passwordless sudo is only available to root, and if sudo is \
             installed"
        );
        return;
    }
    let (_base, connection) =
        open(&target_with(&sshd, |ssh| ssh.escalation = Escalation::Sudo)).await;
    let input = Input::from(b"by stdin\n".to_vec());
    let output = connection
        .run(&Command {
            input,
            ..script("cat; echo $SUDO_USER $LC_ALL; exit 5")
        })
        .await
        .unwrap();
    assert_eq!(
        output,
        Output {
            status: 5,
            ..printed("by stdin\nroot C\n")
        }
    );
    connection.close().await;
}

#[tokio::test]
async fn script_behind_a_sudo_that_asks_for_no_password_never_reads_it() {
    let sshd = sshd!();
    if !is_root() || Process::new("sudo").args(["-n", "true"]).status().is_err() {
        eprintln!("SKIPPED: passwordless sudo is only available to root");
        return;
    }
    let mut target = target_with(&sshd, |ssh| ssh.escalation = Escalation::SudoPassword);
    target.sudo_password = Some(Arc::new(SudoPassword::new("geheim".to_owned())));
    let (_base, connection) = open(&target).await;
    let input = Input::from(b"by stdin\n".to_vec());
    let output = connection
        .run(&Command {
            input,
            ..script("cat; echo $SUDO_USER; echo ship-sudo-password >&2; exit 5")
        })
        .await
        .unwrap();
    assert_eq!(
        (output.stdout.as_str(), output.status),
        ("by stdin\nroot\n", 5)
    );
    let output = connection.run(&script("cat; echo ran")).await.unwrap();
    assert_eq!(output, printed("ran\n"));
    assert_eq!(target.sudo_password.unwrap().rejection(), None);
    connection.close().await;
}

#[tokio::test]
async fn sudo_refusal_is_reported_with_a_hint() {
    use std::os::unix::fs::PermissionsExt;
    let bin = tempfile::tempdir().unwrap();
    let sshd = sshd!(&format!(
        "SetEnv PATH={}:/usr/bin:/bin",
        bin.path().display()
    ));
    let says = "#!/bin/sh\necho 'We trust you have received the usual lecture.' >&2\n\
                echo 'sudo: a password is required' >&2\nexit 1\n";
    fs::write(bin.path().join("sudo"), says).unwrap();
    fs::set_permissions(bin.path().join("sudo"), fs::Permissions::from_mode(0o755)).unwrap();
    let (_base, connection) =
        open(&target_with(&sshd, |ssh| ssh.escalation = Escalation::Sudo)).await;
    let error = connection.run(&script("echo ran")).await.unwrap_err();
    assert!(
        matches!(error, RunError::EscalationRefused(_)) && !error.is_unknown(),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("sudo: a password is required; exit status 1)"),
        "{error}"
    );
    assert!(error.to_string().contains("NOPASSWD"), "{error}");
    connection.close().await;
}

#[tokio::test]
async fn lost_connection_makes_the_result_unknown() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let text = format!(
        "{{ {PRINT_SSHD}; }} > {}; sleep 60",
        sshd.file("session").display()
    );
    // The host ends what is left of it.
    let command = Command {
        deadline: SOON,
        ..script(&text)
    };
    let cut = async {
        let file = sshd.file("session");
        let session = tokio::task::spawn_blocking(move || pid_in(&file))
            .await
            .unwrap();
        assert!(
            Process::new("kill")
                .args(["-9", &session])
                .status()
                .unwrap()
                .success()
        );
    };
    let (error, ()) = tokio::join!(connection.run(&command), cut);
    let error = error.unwrap_err();
    assert!(
        matches!(error, RunError::Lost { .. }) && error.is_unknown(),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("web1: lost the script (connection lost"),
        "{error}"
    );
    let error = connection.run(&script("echo again")).await.unwrap_err();
    assert!(matches!(error, RunError::Lost { .. }), "{error}");
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn isolated_host_completes_actions_and_ends_transfers_at_their_deadline() {
    let sshd = sshd!();
    let relay = FlakyProxy::start(sshd.port(), []);
    sshd.write(
        "ssh_config",
        &format!("HostKeyAlias [127.0.0.1]:{}\n", sshd.port()),
    );
    let (base, connection) = open(&target_with(&sshd, |ssh| ssh.port = Some(relay.port()))).await;
    let file = |name| sshd.file(name).display().to_string();
    let act = format!(
        "echo $$ > {}; while [ ! -e {} ]; do sleep 0.1; done; echo > {}",
        file("act"),
        file("go"),
        file("acted")
    );
    let transfer = format!(
        "echo $$ > {}; cat > {}; echo > {}",
        file("transfer"),
        file("copy"),
        file("received")
    );
    // More than all the buffers on the way hold.
    let bytes = Input::from(vec![0; 64 << 20]);
    let deadline = Duration::from_secs(4);
    let act = Command {
        deadline,
        ..script(&act)
    };
    let transfer = Command {
        deadline,
        input: bytes,
        ..script(&transfer)
    };
    let cut = async {
        let files = [sshd.file("act"), sshd.file("transfer")];
        let pids = tokio::task::spawn_blocking(move || files.map(|file| pid_in(&file)))
            .await
            .unwrap();
        relay.stall();
        sshd.write("go", "");
        pids
    };
    let (acted, transferred, pids) =
        tokio::join!(connection.run(&act), connection.run(&transfer), cut);
    assert!(acted.unwrap_err().is_unknown() && transferred.unwrap_err().is_unknown());
    assert!(
        eventually(SOON, || pids.iter().all(|pid| !is_alive(pid))),
        "a script is still there"
    );
    assert!(
        sshd.file("acted").exists(),
        "an action completes without a connection"
    );
    assert!(
        !sshd.file("received").exists(),
        "half a transfer came to something"
    );
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn killed_shell_is_distinguished_from_a_lost_connection() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let error = connection
        .run(&script("kill -9 $PPID; sleep 1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("killed by a signal"), "{error}");
    assert_eq!(
        connection.run(&script("echo alive")).await.unwrap(),
        printed("alive\n")
    );
    connection.close().await;
}

#[tokio::test]
async fn connection_survives_a_pause_but_not_its_owner() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let masters = ssh_of(base.dir.path());
    // Longer than ssh keeps an unused connection: the pause is what the test is about.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(
        connection.run(&script("echo still here")).await.unwrap(),
        printed("still here\n")
    );
    assert_eq!(ssh_of(base.dir.path()), masters);
    // As when ship is killed: the connection is not closed.
    drop(connection);
    base.assert_gone().await;
}

/// Connections below a directory, with one open.
async fn connections(target: &Target, dir: &Path) -> Connections {
    let connections = SharedLinks::with_connector(Connector::in_dir(dir)).to([target.clone()]);
    greet(&connections, target).await;
    assert_eq!(ssh_of(dir).len(), 1);
    connections
}

/// Runs a script on the host.
async fn greet(connections: &Connections, target: &Target) {
    let script = Script {
        text: "echo hello".to_owned(),
        input: ship::script::Input::default(),
        deadline: SOON,
    };
    let link = &connections.links()[&target.name];
    assert_eq!(link.run(&script).await.as_deref(), Ok("hello\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_share_a_connection_if_the_login_is_the_same() {
    let sshd = sshd!();
    let dir = tempfile::tempdir().unwrap();
    let target = target_of(&sshd);
    let shared = SharedLinks::with_connector(Connector::in_dir(dir.path()));
    let (api, worker) = (shared.to([target.clone()]), shared.to([target.clone()]));
    greet(&api, &target).await;
    drop(api);
    greet(&worker, &target).await;
    assert_eq!(
        sshd.logins(),
        1,
        "the second run uses the connection of the first"
    );

    let mut other = target.clone();
    other.ssh.connect_timeout += SOON;
    let third = shared.to([other.clone()]);
    greet(&third, &other).await;
    assert_eq!(
        sshd.logins(),
        2,
        "another login needs a connection of its own"
    );
    drop((worker, third, shared));
    assert_eq!(processes_of(dir.path()), [0; 0], "a process is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_before_their_drop_returns() {
    let sshd = sshd!();
    let dir = tempfile::tempdir().unwrap();
    drop(connections(&target_of(&sshd), dir.path()).await);
    assert_eq!(processes_of(dir.path()), [0; 0], "a process is still there");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn connections_end_a_moment_after_a_drop_that_cannot_wait() {
    let sshd = sshd!();
    let dir = tempfile::tempdir().unwrap();
    drop(connections(&target_of(&sshd), dir.path()).await);
    let is_gone = || {
        processes_of(dir.path()).is_empty() && fs::read_dir(dir.path()).unwrap().next().is_none()
    };
    assert!(eventually(SOON, is_gone), "something is still there");
}

#[tokio::test]
async fn streaming_script_is_read_live_and_notices_its_reader_leaving() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let text = format!(
        "echo one; [ \"$(dd bs=1 count=1 2>/dev/null)\" = . ] && echo alive; cat >/dev/null; echo \
         > {}",
        sshd.file("alone").display()
    );
    let (sender, mut lines) = tokio::sync::mpsc::channel(4);
    let received = async {
        assert_eq!(lines.recv().await.as_deref(), Some("one"));
        assert_eq!(lines.recv().await.as_deref(), Some("alive"));
    };
    tokio::select! {
        ended = connection.stream(&text, Duration::from_secs(20), &sender) => panic!("{ended:?}"),
        () = received => {}
    }
    assert!(
        eventually(SOON, || sshd.file("alone").exists()),
        "it does not know"
    );
    let (sender, _lines) = tokio::sync::mpsc::channel(4);
    let output = connection
        .stream("echo out; echo err >&2; exit 3", SOON, &sender)
        .await
        .unwrap();
    assert_eq!(
        output,
        Output {
            stderr: "err\n".to_owned(),
            status: 3,
            ..printed("")
        }
    );
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_does_not_reach_ssh() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    // A terminal signals the process group in its foreground, which is ours.
    let process_group = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .to_owned()
    };
    let masters = ssh_of(base.dir.path());
    assert_eq!(masters.len(), 1);
    assert_ne!(process_group(masters[0]), process_group(std::process::id()));
    connection.close().await;
}

/// Runs every command line with this program instead of the login shell of the current user.
fn use_login_shell(sshd: &Sshd, shell: &str) {
    let key = fs::read_to_string(sshd.file("id.pub")).unwrap();
    let (_, key) = key.split_once("ssh-ed25519 ").unwrap();
    sshd.write(
        "login",
        &format!("exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"\n"),
    );
    let login = sshd.file("login").display().to_string();
    sshd.write(
        "id.pub",
        &format!("command=\"exec sh {login}\" ssh-ed25519 {key}"),
    );
}

#[tokio::test]
async fn script_reaches_the_host_unharmed_through_every_login_shell() {
    let sshd = sshd!();
    for shell in [
        "dash",
        "bash",
        "zsh",
        "ksh",
        "busybox sh",
        "fish",
        "tcsh",
        "csh",
    ] {
        let program = shell.split(' ').next().unwrap();
        if Process::new("which")
            .arg(program)
            .stdout(Stdio::null())
            .status()
            .map_or(true, |s| !s.success())
        {
            eprintln!("SKIPPED: {program} is not installed");
            continue;
        }
        use_login_shell(&sshd, shell);
        let (_base, connection) = open(&target_of(&sshd)).await;
        let text = "printf '%s\\n' \"it's\" '!x' 'a\\b' 'c\\\\d\\' \"$LC_ALL\" 'caf\u{e9} ~ `x` \
                    {a,b} %self'\n\
                    for i in 1 2; do echo $i; done; cat; exit 7";
        let expected = "it's\n!x\na\\b\nc\\\\d\\\nC\ncaf\u{e9} ~ `x` {a,b} %self\n1\n2\n";
        let output = connection.run(&script(text)).await.unwrap();
        assert_eq!(
            output,
            Output {
                status: 7,
                ..printed(expected)
            },
            "{shell}"
        );
        let input = Input::from(b"payload\n".to_vec());
        let output = connection
            .run(&Command {
                input,
                ..script(text)
            })
            .await
            .unwrap();
        assert_eq!(
            output,
            Output {
                status: 7,
                ..printed(&format!("{expected}payload\n"))
            },
            "{shell}"
        );
        connection.close().await;
    }
}

#[tokio::test]
async fn greetings_of_a_login_shell_are_no_part_of_the_output() {
    let sshd = sshd!();
    use_login_shell(
        &sshd,
        "sh -c 'echo Welcome; printf \"to web1\"; exec sh \"$@\"' sh",
    );
    let (_base, connection) = open(&target_of(&sshd)).await;
    assert_eq!(
        connection.run(&script("echo own")).await.unwrap(),
        printed("own\n")
    );
    let (sender, mut lines) = tokio::sync::mpsc::channel(4);
    connection.stream("echo live", SOON, &sender).await.unwrap();
    assert_eq!(lines.recv().await.as_deref(), Some("live"));
    connection.close().await;
}

#[tokio::test]
async fn login_shell_that_refuses_is_named_with_what_it_printed() {
    let sshd = sshd!();
    for (shell, words) in [
        (
            "/usr/sbin/nologin",
            "(This account is currently not available.; exit status 1)",
        ),
        (
            "/bin/false",
            "(it printed nothing and exited with status 1)",
        ),
        ("/bin/true", "(it printed nothing and exited with status 0)"),
        (
            "/no/such/shell",
            "exec: /no/such/shell: not found; exit status 127)",
        ),
    ] {
        use_login_shell(&sshd, shell);
        let (_base, connection) =
            open(&target_with(&sshd, |ssh| ssh.escalation = Escalation::Sudo)).await;
        let error = connection.run(&script("echo ran")).await.unwrap_err();
        assert!(
            matches!(error, RunError::LoginShell { .. }) && !error.is_unknown(),
            "{shell}: {error}"
        );
        let error = error.to_string();
        assert!(
            error.contains(words) && error.contains("check the shell with `getent passwd"),
            "{shell}: {error}"
        );
        connection.close().await;
    }
}

#[tokio::test]
async fn login_shell_that_hangs_is_named_at_the_deadline() {
    let sshd = sshd!();
    // It ends with this file, also where that goes with the whole directory.
    sshd.write("waiting", "");
    let waiting = sshd.file("waiting").display().to_string();
    let waits =
        format!("echo waiting for the home directory; while [ -e {waiting} ]; do sleep 0.1; done");
    use_login_shell(&sshd, &format!("sh -c '{waits}'"));
    let (_base, connection) = open(&target_of(&sshd)).await;
    let command = Command {
        deadline: Duration::from_secs(1),
        ..script("echo ran")
    };
    let error = connection.run(&command).await.unwrap_err().to_string();
    assert!(
        error.contains("the start of the login shell did not finish within 1s"),
        "{error}"
    );
    assert!(error.contains("waiting for the home directory"), "{error}");
    std::fs::remove_file(waiting).expect("our own file");
    connection.close().await;
}

#[tokio::test]
async fn script_is_in_no_command_line_and_longer_than_a_command_line_may_be() {
    let sshd = sshd!();
    let (_base, connection) = open(&target_of(&sshd)).await;
    let secret = "a-word-that-nobody-else-has";
    let text = format!(
        "a='{}'\necho ${{#a}}; grep -alsF {secret} /proc/[0-9]*/cmdline | wc -l",
        "x".repeat(200_000)
    );
    // The program that looks has the word in its own command line.
    assert_eq!(
        connection.run(&script(&text)).await.unwrap(),
        printed("200000\n1\n")
    );
    let input = Input::from(b"input".to_vec());
    assert_eq!(
        connection
            .run(&Command {
                input,
                ..script(&text)
            })
            .await
            .unwrap(),
        printed("200000\n1\n")
    );
    connection.close().await;
}

#[tokio::test]
async fn ports_of_the_host_are_probed_through_the_connection() {
    let sshd = sshd!();
    let (base, connection) = open(&target_of(&sshd)).await;
    let server = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(200).set_body_string("I am: web1\n");
    wiremock::Mock::given(wiremock::matchers::path("/healthz"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let open_port = server.address().port();
    let closed_port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    let mut routes = Vec::new();
    for port in [open_port, closed_port, open_port] {
        routes.push(
            connection
                .forward("127.0.0.1", port)
                .await
                .unwrap()
                .unwrap(),
        );
    }
    assert_eq!(routes[0], routes[2], "asked for once");
    assert_eq!(routes.iter().collect::<BTreeSet<_>>().len(), 2);

    let client = probe::Client::new();
    let get = PortProbe::Http {
        path: "/healthz".to_owned(),
        status: Some(200),
        body: Some("web1".to_owned()),
        host_header: None,
        header: None,
    };
    let deadline = Duration::from_secs(2);
    let ask = |question, route: usize| {
        let (client, route) = (&client, Route::Socket(routes[route].clone()));
        async move { probe::probe(client, question, &route, 0, deadline).await }
    };
    assert_eq!(ask(&get, 0).await, Verdict::Pass("I am: web1".to_owned()));
    assert_eq!(
        ask(&get, 1).await,
        Verdict::Fail("connection refused or closed without a response".to_owned())
    );
    assert_eq!(
        ask(&PortProbe::Tcp, 0).await,
        Verdict::Pass("connected".to_owned())
    );
    assert_eq!(
        ask(&PortProbe::Tcp, 1).await,
        Verdict::Fail("connection refused".to_owned())
    );
    connection.close().await;
    base.assert_gone().await;
}
