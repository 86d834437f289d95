//! The logs of slots: past lines, and lines that are followed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use ship::core::ids::Port;
use ship::core::time::Time;
use ship::script::{Follow, LogLine, LogQuery, LogRange, follow, logs, read_log_line};

use crate::host::{Host, shells};

const FIRST: Port = 8081;
const SECOND: Port = 8082;

fn log(host: &Host, port: Port, name: &str) -> PathBuf {
    host.root().join(format!("slots/{port}/{name}"))
}

fn write(host: &Host, port: Port, name: &str, text: &str) {
    let path = log(host, port, name);
    fs::create_dir_all(path.parent().expect("a slot")).expect("slot");
    fs::write(path, text).expect("log");
}

fn query(lines_max: u32, since: Option<Time>) -> LogQuery {
    LogQuery {
        history_slots: [FIRST, SECOND].into(),
        lines_max,
        range: since.map_or(LogRange::Instance, LogRange::Since),
    }
}

/// `8081 text` of each line that the script has printed.
fn parsed(stdout: &str) -> Vec<String> {
    let lines = stdout
        .lines()
        .filter_map(|line| match read_log_line(line)? {
            LogLine::Line(line) => Some(format!("{} {}", line.number.expect("a slot"), line.text)),
            LogLine::Started | LogLine::Live => None,
        });
    lines.collect()
}

#[test]
fn logs_print_the_last_lines_of_each_slot_with_its_port() {
    for shell in shells() {
        let host = Host::with(shell);
        write(&host, FIRST, "log", "one\n  two \\n %s\n\nno end");
        write(&host, SECOND, "log", "other\n");
        let reported =
            |lines_max| parsed(&host.run(&logs(&host.site, &query(lines_max, None))).stdout);
        assert_eq!(
            reported(2),
            ["8081 ", "8081 no end", "8082 other"],
            "{shell:?}"
        );
        assert_eq!(
            reported(9)[..2],
            ["8081 one", "8081   two \\n %s"],
            "{shell:?}"
        );
    }
}

#[test]
fn logs_include_the_previous_instance_only_if_it_logged_since() {
    for shell in shells() {
        let host = Host::with(shell);
        write(&host, FIRST, "log.1", "before\n");
        write(&host, FIRST, "log", "now\n");
        let reported = |since| parsed(&host.run(&logs(&host.site, &query(9, since))).stdout);
        assert_eq!(reported(None), ["8081 now"], "{shell:?}");
        assert_eq!(
            reported(Some(Time(1000))),
            ["8081 before", "8081 now"],
            "{shell:?}"
        );
        assert_eq!(
            reported(Some(Time(4_102_444_800_000))),
            Vec::<String>::new(),
            "{shell:?}"
        );
    }
}

#[test]
fn log_lines_fit_an_atomic_pipe_write() {
    for shell in shells() {
        let host = Host::with(shell);
        write(&host, FIRST, "log", &format!("{}\n", "x".repeat(10_000)));
        let reported = parsed(&host.run(&logs(&host.site, &query(9, None))).stdout);
        assert_eq!(
            reported,
            [format!("8081 {}", "x".repeat(4000))],
            "{shell:?}"
        );
    }
}

/// A follower that runs, and both ends of it.
struct Follower {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Follower {
    fn start(host: &Host, lines_max: u32, silence: Duration) -> Self {
        let slots: BTreeSet<_> = [FIRST, SECOND].into();
        let drivers = ["process"].into();
        let script = follow(
            &host.site,
            &query(lines_max, None),
            &Follow {
                slots,
                drivers,
                resume: None,
                silence,
            },
        );
        // As on a host: all that it begins is in a group of its own.
        let mut child = host
            .command(&script)
            .process_group(0)
            .spawn()
            .expect("a shell");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let mut follower = Self {
            child,
            stdin,
            stdout,
        };
        follower.beat();
        follower
    }

    fn beat(&mut self) {
        self.stdin
            .as_mut()
            .expect("stdin")
            .write_all(b".")
            .expect("it listens");
    }

    /// The next line that an instance wrote.
    fn next(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stdout.read_line(&mut line).expect("text"),
                0,
                "it has ended"
            );
            if let Some(line) = parsed(&line).pop() {
                return line;
            }
        }
    }

    /// Waits until it has ended, and all that it began.
    fn await_end(mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().expect("our own child").is_none()
            || test_kill_process_group(self.group()).is_ok()
        {
            assert!(Instant::now() < deadline, "something of it runs on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Nothing is left where the test went well.
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn follow_continues_with_the_next_instance_until_the_reader_is_gone() {
    for shell in shells() {
        let host = Host::with(shell);
        write(&host, FIRST, "log", "old\none\n");
        let mut follower = Follower::start(&host, 1, Duration::from_secs(20));
        assert_eq!(follower.next(), "8081 one", "{shell:?}");
        fs::OpenOptions::new()
            .append(true)
            .open(log(&host, FIRST, "log"))
            .expect("log")
            .write_all(b"two\n")
            .expect("log");
        assert_eq!(follower.next(), "8081 two", "{shell:?}");
        follower.beat();
        fs::rename(log(&host, FIRST, "log"), log(&host, FIRST, "log.1")).expect("log");
        write(&host, FIRST, "log", "the next instance\n");
        assert_eq!(follower.next(), "8081 the next instance", "{shell:?}");
        write(&host, SECOND, "log", "an empty slot is filled\n");
        assert_eq!(follower.next(), "8082 an empty slot is filled", "{shell:?}");
        follower.stdin = None;
        follower.await_end();
    }
}

#[test]
fn follow_ends_without_heartbeats() {
    for shell in shells() {
        let host = Host::with(shell);
        write(&host, FIRST, "log", "one\n");
        let mut follower = Follower::start(&host, 1, Duration::from_secs(1));
        assert_eq!(follower.next(), "8081 one", "{shell:?}");
        // Its input stays open, as on a host that lost its connection.
        follower.await_end();
    }
}
