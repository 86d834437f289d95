//! Scripts on this machine, by the same door as those over ssh.

use std::fs;
use std::time::{Duration, Instant};

use ship::config::{SshConfig, Transport};
use ship::remote::{Command, Connection, Connector, Output, RunError, Target, network_address};
use ship::script::Input;

fn target() -> Target {
    Target {
        name: "local1".into(),
        address: "127.0.0.11".to_owned(),
        transport: Transport::Local,
        ssh: SshConfig::default(),
        sudo_password: None,
        kept: None,
    }
}

async fn here() -> Connection {
    Connector::default().connect(&target()).await.unwrap()
}

fn script(script: &str) -> Command<'_> {
    Command {
        script,
        input: Input::default(),
        deadline: Duration::from_secs(20),
    }
}

#[tokio::test]
async fn local_script_has_input_and_exit_status() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "tail\n").unwrap();
    let input = Input {
        head: b"head\n".to_vec(),
        file: Some(file.path().to_owned()),
    };
    let output = here()
        .await
        .run(&Command {
            input,
            ..script("cat; echo $LC_ALL >&2; exit 127")
        })
        .await
        .unwrap();
    let expected = Output {
        stdout: "head\ntail\n".into(),
        stderr: "C\n".into(),
        status: 127,
        truncated: false,
    };
    assert_eq!(output, expected);
}

#[tokio::test]
async fn at_its_deadline_a_script_ends_with_all_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let text = format!(
        "sleep 300 & echo $! > {0}; echo $$ >> {0}; wait",
        pids.display()
    );
    let began = Instant::now();
    let error = here()
        .await
        .run(&Command {
            deadline: Duration::from_millis(500),
            ..script(&text)
        })
        .await
        .unwrap_err();
    assert!(
        matches!(error, RunError::TimedOut { .. }) && began.elapsed() < Duration::from_secs(5),
        "{error}"
    );
    for pid in fs::read_to_string(pids).unwrap().lines() {
        let ended = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        while !ended() {
            assert!(began.elapsed() < Duration::from_secs(5), "{pid} runs on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn service_in_its_own_session_survives_the_script() {
    let text = "setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $!";
    let output = here().await.run(&script(text)).await.unwrap();
    let pid = output.stdout.trim();
    let command = fs::read_to_string(format!("/proc/{pid}/comm"));
    assert!(
        std::process::Command::new("kill")
            .arg(pid)
            .status()
            .unwrap()
            .success()
    );
    assert!(command.is_ok(), "it did not survive");
}

#[tokio::test]
async fn killed_shell_makes_the_result_unknown() {
    let error = here()
        .await
        .run(&script("kill -9 $PPID; sleep 1"))
        .await
        .unwrap_err();
    assert!(error.is_unknown());
    assert!(
        error
            .to_string()
            .starts_with("local1: lost the script (it was killed by signal 9)"),
        "{error}"
    );
}

#[tokio::test]
async fn this_machine_needs_no_detour() {
    assert_eq!(
        here().await.forward("127.0.0.11", 8081).await.unwrap(),
        None
    );
    assert_eq!(network_address(&target()).await, "127.0.0.11");
}

#[tokio::test]
async fn local_host_creates_no_control_directory() {
    let dir = tempfile::tempdir().unwrap();
    let connector = Connector::in_dir(dir.path());
    let connection = connector.connect(&target()).await.unwrap();
    connection.run(&script("true")).await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    connection.close().await;
    connector.close().await;
}
