//! The rows of `docs/reliability.md`, written by the tests that cause the faults.
//!
//! Each fault has an entry in [`FAULTS`]. Its test ends with one call after all its assertions:
//! `ReportRow::new("…").served(&served, 3, 4).exits(&[0]).took(began.elapsed()).save("its key")`.
//! Columns that were not measured stay empty. The last test makes the page, and fails if a fault
//! has no row.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use ship_testing::namespace::write;
use ship_testing::traffic::Served;

/// A fault, and what is promised under it.
pub(crate) struct Fault {
    /// The name in the tests, and the file name of the row.
    key: &'static str,
    tried: &'static str,
    promised: &'static str,
}

/// A row of the page: what a test observed.
#[must_use]
pub(crate) struct ReportRow(Value);

const HEAD: &str = "\
# Reliability

This page lists the faults that the tests try on real hosts, what ship promises under each, and \
what the last run saw. Every
row is a test: Debian hosts with systemd and sshd, booted for this test, and `ship` as users run \
it. During the test, clients
send requests to every slot, each on a new connection. A test asserts the promise before it \
writes its row. The tests write
this page; do not edit it. To update it, as root:

```sh
tests/run && cp target/tmp/reliability.md docs/reliability.md
```

- **answered**: requests that got a response.
- **lost**: requests that failed although the same instance responded before and after.
- **interrupted**: requests that had reached an instance when it exited, and got no response. \
These tests run without a load
  balancer, so requests can reach an instance that is shutting down.
- **fewest**, **most**: the fewest slots that responded at one time, and the most processes of \
the service that ran at one
  time, each with the limit that `max_unavailable` or `max_surge` sets. A fault that takes an \
instance away lowers the limit
  by one.
- **exit**: the exit codes of the commands that met the fault, in order.
- **seconds**: from the first command to the last check.
";

impl ReportRow {
    /// A row with a description of what the numbers do not show.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(json!({ "words": words.into() }))
    }

    /// What clients observed, and the limits that were asserted.
    pub(crate) fn served(mut self, served: &Served, floor: usize, ceiling: usize) -> Self {
        self.0["answered"] = served.answered.into();
        self.0["lost"] = served.lost.len().into();
        self.0["interrupted"] = served.answers.interrupted().len().into();
        self.0["fewest"] = format!("{} of {floor}", served.fewest).into();
        self.0["most"] = format!("{} of {ceiling}", served.most).into();
        self
    }

    /// The exit codes of the commands that met the fault, in order.
    pub(crate) fn exits(mut self, codes: &[i32]) -> Self {
        let codes: Vec<_> = codes.iter().map(i32::to_string).collect();
        self.0["exits"] = codes.join(", ").into();
        self
    }

    pub(crate) fn took(mut self, took: Duration) -> Self {
        self.0["seconds"] = format!("{:.0}", took.as_secs_f64()).into();
        self
    }

    /// Saves the row for the page.
    pub(crate) fn save(self, key: &str) {
        assert!(
            FAULTS
                .iter()
                .any(|(_, faults)| faults.iter().any(|fault| fault.key == key)),
            "`{key}` is not a fault in the list"
        );
        write(&rows().join(format!("{key}.json")), &self.0.to_string());
    }
}

/// Makes the page of the saved rows, and returns its path.
///
/// # Errors
/// Returns the keys of the faults without a row.
pub(crate) fn page() -> Result<PathBuf, Vec<&'static str>> {
    let mut text = HEAD.to_owned();
    let mut missing = Vec::new();
    for (part, faults) in FAULTS {
        let rows: Vec<_> = faults.iter().map(|fault| (fault, row(fault))).collect();
        missing.extend(
            rows.iter()
                .filter(|(_, row)| row.is_none())
                .map(|(fault, _)| fault.key),
        );
        write!(text, "\n## {part}\n\n").expect("memory");
        text.push_str(
            "| fault | promise | result | answered | lost | interrupted | fewest | most | exit | seconds |\n",
        );
        text.push_str("|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
        for (fault, row) in rows
            .iter()
            .filter_map(|(fault, row)| Some((fault, row.as_ref()?)))
        {
            let keys = [
                "words",
                "answered",
                "lost",
                "interrupted",
                "fewest",
                "most",
                "exits",
                "seconds",
            ];
            let cells = keys.map(|key| cell(&row[key]));
            writeln!(
                text,
                "| {} | {} | {} |",
                fault.tried,
                fault.promised,
                cells.join(" | ")
            )
            .expect("memory");
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let page = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reliability.md");
    write(&page, &text);
    Ok(page)
}

fn rows() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reliability")
}

fn row(fault: &Fault) -> Option<Value> {
    let text = fs::read_to_string(rows().join(format!("{}.json", fault.key))).ok()?;
    Some(serde_json::from_str(&text).expect("a saved row"))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.replace('|', "\\|"),
        other => other.to_string(),
    }
}

/// Every fault that is tried, by the part of the page, in the page's order.
const FAULTS: [(&str, &[Fault]); 6] = [
    (
        "A killed controller",
        &[
            Fault {
                key: "killed-deploying",
                tried: "`kill -9` of `ship deploy` at random moments, each in a new deploy",
                promised: "The service is not affected; `ship status` shows the rollout and its \
                          progress; the same command or `ship resume` continues it, `ship abort` \
                          rolls it back; no processes or files are left over",
            },
            Fault {
                key: "killed-rolling-back",
                tried: "`kill -9` of `ship rollback` at random moments, each in a new rollback",
                promised: "As above; the same command continues to the same revision",
            },
        ],
    ),
    (
        "Concurrent and suspended controllers",
        &[
            Fault {
                key: "rivals-one-history",
                tried: "Two deploys of different versions at once, from one state directory",
                promised: "One is refused and names the holder of the lock (exit 6); the fleet \
                          ends on one version",
            },
            Fault {
                key: "rivals-two-histories",
                tried: "Two deploys of different versions at once, from two copies of a state \
                       directory",
                promised: "The hosts accept commands from only one; the other stops (exit 6); the \
                          fleet ends on one version",
            },
            Fault {
                key: "stopped-and-taken-over",
                tried: "The controller is stopped during a deploy (SIGSTOP) for more than 30 s, \
                       another deploys from the same directory, then the first resumes",
                promised: "The second takes over; the first does nothing more and says why (exit \
                          6)",
            },
            Fault {
                key: "stopped-and-overtaken",
                tried: "The controller is stopped during a deploy, another deploys from another \
                       state directory, then the first resumes",
                promised: "Every host rejects the first (exit 6); the fleet stays as the second \
                          left it",
            },
            Fault {
                key: "stopped-and-unlocked",
                tried: "The controller is stopped during a deploy, `ship unlock --yes` breaks its \
                       lock, another deploys, then the first resumes",
                promised: "Before the unlock, the other command names the holder of the lock \
                          (exit 6); afterwards the hosts reject the first (exit 6)",
            },
            Fault {
                key: "unlocked-at-work",
                tried: "`ship unlock --yes` breaks the lock of a controller during its deploy",
                promised: "The controller stops where it is and says why (exit 6); `ship resume` \
                          continues the rollout",
            },
            Fault {
                key: "controller-sleeps",
                tried: "The controller and its ssh processes are suspended for 40 s during a \
                       deploy, and no other controller runs",
                promised: "It continues where it was",
            },
        ],
    ),
    (
        "A host that loses its network",
        &[
            Fault {
                key: "cut-before-the-deploy",
                tried: "Before the deploy",
                promised: "Refused, no changes are made (exit 7)",
            },
            Fault {
                key: "cut-before-staging",
                tried: "Before the release is transferred, permanently",
                promised: "Nothing starts that depends on the host, and the old version keeps \
                          serving; after the repair the same command continues",
            },
            Fault {
                key: "cut-before-staging-repaired",
                tried: "The same, repaired after a few seconds",
                promised: "The deploy continues by itself",
            },
            Fault {
                key: "cut-while-staging",
                tried: "While the release is transferred, permanently",
                promised: "An incomplete release never runs; after the repair the same command \
                          continues and removes it",
            },
            Fault {
                key: "cut-while-staging-repaired",
                tried: "The same, repaired after a few seconds",
                promised: "The deploy continues by itself",
            },
            Fault {
                key: "cut-while-starting",
                tried: "While an instance starts on the host, permanently",
                promised: "Nothing is stopped in its favour: an instance on an unreachable host \
                          counts as running and as unavailable",
            },
            Fault {
                key: "cut-while-starting-repaired",
                tried: "The same, repaired after a few seconds",
                promised: "The deploy continues by itself",
            },
            Fault {
                key: "cut-while-not-ready",
                tried: "While the new instance on the host is not ready, permanently",
                promised: "Nothing is stopped in its favour",
            },
            Fault {
                key: "cut-while-not-ready-repaired",
                tried: "The same, repaired after a few seconds",
                promised: "The deploy continues by itself",
            },
            Fault {
                key: "cut-while-stopping",
                tried: "While the old instance on the host is stopped, permanently",
                promised: "The stop does not count as done, and nothing more is stopped than \
                          capacity permits",
            },
            Fault {
                key: "cut-while-stopping-repaired",
                tried: "The same, repaired after a few seconds",
                promised: "The deploy continues by itself",
            },
            Fault {
                key: "cut-and-found",
                tried: "Until ssh has closed the connection, repaired before the progress deadline",
                promised: "ship reconnects, and the deploy continues by itself",
            },
        ],
    ),
    (
        "Transfers and disks",
        &[
            Fault {
                key: "sshd-killed",
                tried: "A host's sshd is killed with all its sessions while a release is \
                       transferred, and started again",
                promised: "ship reconnects and repeats the transfer",
            },
            Fault {
                key: "disk-full-while-staging",
                tried: "A host's disk fills up while a release is transferred",
                promised: "Nothing is stopped or started; the message says why; no temporary \
                          files are left over (exit 3)",
            },
            Fault {
                key: "state-disk-full",
                tried: "The disk of the state directory fills up during a deploy",
                promised: "ship stops without harm and says what to do (exit 1); with free space \
                          the same command continues",
            },
        ],
    ),
    (
        "Hosts, instances and manual changes",
        &[
            Fault {
                key: "host-reboots",
                tried: "A host reboots during a deploy",
                promised: "Its instances start at boot; the deploy waits for the host and \
                          continues",
            },
            Fault {
                key: "instance-killed",
                tried: "`kill -9` of an old instance during a deploy",
                promised: "systemd restarts it; meanwhile nothing is stopped that the service \
                          needs",
            },
            Fault {
                key: "instance-stopped-by-hand",
                tried: "`systemctl stop` of an old instance during a deploy",
                promised: "It counts as unavailable; the deploy continues and restores the number \
                          of replicas",
            },
            Fault {
                key: "instance-started-by-hand",
                tried: "Another program is started on the port of a slot that the deploy is about \
                       to use",
                promised: "The message names the program, ship does not touch it, and the old \
                          version keeps serving",
            },
        ],
    ),
    (
        "Unattended deploys (`ship deploy --version nightly --unattended`)",
        &[
            Fault {
                key: "night-no-channel",
                tried: "The channel's file is missing; is empty; is an HTML error page",
                promised: "Exit 2 and one line each time; no changes are made",
            },
            Fault {
                key: "night-download-breaks",
                tried: "The download breaks at 90 % on every attempt; the next night it breaks \
                       once",
                promised: "Exit 2, no changes are made; the next night the download resumes where \
                          it broke off",
            },
            Fault {
                key: "night-wrong-sum",
                tried: "The artifact does not match SHA256SUMS",
                promised: "Exit 2; nothing of it reaches a host",
            },
            Fault {
                key: "night-disk-full",
                tried: "The disk of a host is full",
                promised: "Exit 3 before anything is started or stopped; the release is not \
                          quarantined for it",
            },
            Fault {
                key: "night-killed",
                tried: "The machine crashes during the deploy (`kill -9`), two nights in a row",
                promised: "The next run continues the rollout; with `on_interrupted = \"abort\"` \
                          it rolls back (exit 3)",
            },
            Fault {
                key: "night-twice",
                tried: "Two cron jobs start at once",
                promised: "The second waits for the lock and finds nothing to do",
            },
            Fault {
                key: "night-silent-endpoint",
                tried: "The endpoint of `[notify]` accepts connections and never responds",
                promised: "One warning, within the timeout; the exit code and the deploy are not \
                          affected",
            },
        ],
    ),
];

#[test]
#[ignore = "the last step of `tests/run`: it needs the rows of all other tests"]
fn page_has_a_row_for_every_fault() {
    match page() {
        Ok(page) => println!("{}", page.display()),
        Err(missing) => panic!("no test has saved a row for: {}", missing.join(", ")),
    }
}
