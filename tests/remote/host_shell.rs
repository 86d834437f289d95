//! Scripts that share a shell on the host.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ship::remote::{Command, Connection, Output};
use ship::script::Input;
use ship_testing::sshd::{Sshd, eventually};

use crate::ssh::{open, script};
use crate::{PRINT_SSHD, target_of};

const SOON: Duration = Duration::from_secs(5);
/// Prints the process id of the shell that runs scripts without input.
const PRINT_SHELL: &str = r#"read -r _ _ _ shell _ <"/proc/$PPID/stat"; echo "$shell""#;

fn with_input<'a>(text: &'a str, input: &[u8]) -> Command<'a> {
    Command {
        input: Input::from(input.to_vec()),
        ..script(text)
    }
}

async fn run(connection: &Connection, text: &str) -> Output {
    connection.run(&script(text)).await.unwrap()
}

fn printed(stdout: &str, stderr: &str, status: i32) -> Output {
    Output {
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        status,
        truncated: false,
    }
}

fn sessions(sshd: &Sshd) -> usize {
    sshd.log().matches("Starting session").count()
}

#[tokio::test]
async fn scripts_share_a_session_and_nothing_else() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    let first = "cd /; umask 077; PATH=; word=left; echo out; echo err >&2; exit 3";
    assert_eq!(run(&connection, first).await, printed("out\n", "err\n", 3));
    let second = "pwd; umask; echo ${word-none}; [ -n \"$PATH\" ] && echo path";
    let output = run(&connection, second).await;
    assert_eq!(output.status, 0);
    assert!(
        !output.stdout.starts_with("/\n") && output.stdout.ends_with("\nnone\npath\n"),
        "{output:?}"
    );
    let third = with_input("cat; exit 4", b"by stdin\n");
    let output = connection.run(&third).await.unwrap();
    assert_eq!(output, printed("by stdin\n", "", 4));
    assert_eq!(run(&connection, "").await, printed("", "", 0));
    assert_eq!(sessions(&sshd), 1, "{}", sshd.log());
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn script_gets_its_input_and_no_other() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    let large = vec![b'x'; 300_000];
    let lines = b"one\ntwo\nthree\n";
    for (script, input, expected) in [
        ("echo ignores it", &large[..], "ignores it\n"),
        ("head -c 2", lines, "on"),
        ("read -r line; echo \"$line\"", lines, "one\n"),
        ("wc -c", &large, "300000\n"),
        ("cat", b"no newline", "no newline"),
        (
            "cat | od -An -c | tr -d ' '",
            b"\0\x01\n\xff",
            "\\0001\\n377\n",
        ),
    ] {
        let output = connection.run(&with_input(script, input)).await.unwrap();
        assert_eq!(output, printed(expected, "", 0), "{script}");
        assert_eq!(run(&connection, "cat; echo next").await.stdout, "next\n");
    }
    assert_eq!(sessions(&sshd), 1, "{}", sshd.log());
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn small_file_is_sent_in_the_same_session() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    for (size, sessions_after) in [(0, 1), (1, 1), (200_000, 1), (2_000_000, 2), (100, 2)] {
        let file = sshd.file("input");
        std::fs::write(&file, vec![b'x'; size]).unwrap();
        let command = Command {
            input: Input {
                head: b"head\n".to_vec(),
                file: Some(file),
            },
            ..script("read -r head; echo \"$head\"; wc -c")
        };
        let output = connection.run(&command).await.unwrap();
        assert_eq!(output, printed(&format!("head\n{size}\n"), "", 0));
        assert_eq!(sessions(&sshd), sessions_after, "{size}: {}", sshd.log());
    }
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn output_is_returned_unchanged() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    for output in [
        "",
        "\n",
        "no newline",
        "\n\n\n",
        "one\n\n",
        "\nship-end-",
        "\nship-end-0 0\n",
        "ship-shell\nship-script\n",
    ] {
        let script = format!("printf '{output}'; printf '{output}' >&2");
        let expected = printed(output, output, 0);
        assert_eq!(run(&connection, &script).await, expected);
    }
    let long = run(&connection, "head -c 9000000 /dev/zero | tr '\\0' x").await;
    assert_eq!((long.stdout.len(), long.truncated), (4 << 20, true));
    assert_eq!(run(&connection, "echo next").await.stdout, "next\n");
    assert_eq!(sessions(&sshd), 1, "{}", sshd.log());
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn input_is_never_taken_for_a_script() {
    let dir = tempfile::TempDir::new().unwrap();
    // It reads a part of the script, as a dd that is killed.
    let dd = dir.path().join("dd");
    std::fs::write(&dd, "#!/bin/sh\nexec /usr/bin/dd bs=1 count=10\n").unwrap();
    std::fs::set_permissions(&dd, Permissions::from_mode(0o755)).unwrap();
    let dir = dir.path().display();
    let Some(sshd) = Sshd::start(&format!("SetEnv PATH={dir}:/usr/bin:/bin HOME={dir}")) else {
        return;
    };
    let (base, connection) = open(&target_of(&sshd)).await;
    let made = sshd.file("made");
    let lines = format!("word 0 0 9\ntouch {}\n", made.display());
    // It takes so long to send them that the shell could read some.
    let lines = lines.repeat(100_000);
    let command = with_input("cat", lines.as_bytes());
    let error = connection.run(&command).await.unwrap_err().to_string();
    assert!(error.contains("did not read the whole script"), "{error}");
    let closed = || sshd.log().contains("Close session");
    assert!(eventually(SOON, closed), "{}", sshd.log());
    assert!(!made.exists(), "input was run");
    assert_eq!(run(&connection, "echo next").await.stdout, "next\n");
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn script_that_finds_the_shell_busy_has_a_session_of_its_own() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    let (began, may_end) = (sshd.file("began"), sshd.file("may_end"));
    let first = format!(
        "touch {}; while [ ! -e {} ]; do sleep 0.05; done",
        began.display(),
        may_end.display()
    );
    let second = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; touch {}; echo second",
        began.display(),
        may_end.display()
    );
    let (first, second) = tokio::join!(run(&connection, &first), run(&connection, &second));
    assert_eq!(first, printed("", "", 0));
    assert_eq!(second, printed("second\n", "", 0));
    assert_eq!(sessions(&sshd), 2, "{}", sshd.log());
    assert_eq!(run(&connection, "echo third").await.stdout, "third\n");
    assert_eq!(sessions(&sshd), 2, "{}", sshd.log());
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn shell_that_ended_meanwhile_is_replaced() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    let shell = run(&connection, PRINT_SHELL).await.stdout;
    assert_eq!(run(&connection, PRINT_SHELL).await.stdout, shell);
    let killed = std::process::Command::new("kill")
        .args(["-9", shell.trim()])
        .status();
    assert!(killed.unwrap().success());
    // sshd has closed the session.
    let closed = || sshd.log().contains("Close session");
    assert!(eventually(SOON, closed), "{}", sshd.log());
    let other = run(&connection, PRINT_SHELL).await.stdout;
    assert!(other.trim().parse::<u32>().is_ok() && other != shell);
    assert_eq!(sessions(&sshd), 2, "{}", sshd.log());
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn connection_that_breaks_meanwhile_is_not_taken_for_an_ended_shell() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    assert_eq!(run(&connection, "echo first").await.stdout, "first\n");
    let break_it = format!("{{ {PRINT_SSHD}; }} >/dev/null; kill -9 \"$pid\"; sleep 2");
    let error = connection.run(&script(&break_it)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("web1: lost the script (connection lost"),
        "{error}"
    );
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn next_script_runs_after_one_that_missed_its_deadline() {
    let Some(sshd) = Sshd::start("") else { return };
    let (base, connection) = open(&target_of(&sshd)).await;
    run(&connection, "echo first").await;
    let late = Command {
        deadline: Duration::from_millis(300),
        ..script("echo begun; sleep 300")
    };
    let error = connection.run(&late).await.unwrap_err();
    assert!(error.is_unknown());
    assert!(error.to_string().contains("last output: begun"), "{error}");
    assert_eq!(run(&connection, "echo next").await.stdout, "next\n");
    connection.close().await;
    base.assert_gone().await;
}

#[tokio::test]
async fn waiting_shell_gives_up_its_session_where_the_server_allows_only_one() {
    let Some(sshd) = Sshd::start("MaxSessions 1") else {
        return;
    };
    let (base, connection) = open(&target_of(&sshd)).await;
    sshd.write("artifact", "bytes");
    for _ in 0..2 {
        assert_eq!(run(&connection, "echo here").await.stdout, "here\n");
        let mut upload = with_input("cat", b"head and ");
        upload.input.file = Some(sshd.file("artifact"));
        let output = connection.run(&upload).await.unwrap();
        assert_eq!(output, printed("head and bytes", "", 0));
    }
    connection.close().await;
    base.assert_gone().await;
}
