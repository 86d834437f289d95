//! What faults do to a service: the rows of `docs/RELIABILITY.md`, left by the tests that try them.
//!
//! A fault is known by its entry in [`FAULTS`]. The test that tries it ends with one call, when all
//! that it asserts has held: `Seen::new("…").served(&served, 3,
//! 4).exits(&[0]).took(began.elapsed()).leave("its key")`. What was not measured is left out.
//! The last test makes the page, and fails where a fault has no row.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use ship_testing::namespace::write;
use ship_testing::traffic::Served;

/// A fault, and what is promised under it.
pub(crate) struct Fault {
    /// By which a test names it; its row's file name.
    key: &'static str,
    tried: &'static str,
    promised: &'static str,
}

/// What a test saw: one row.
#[must_use]
pub(crate) struct Seen(Value);

const HEAD: &str = "\
# Reliability: what was tried, and what was seen

Every row is a test on real hosts: Debian with systemd and sshd, booted for it alone, `ship` as \
its users run it, the
service asked at every place over and over, a new connection for each question. A test asserts \
what is promised before it
leaves its row, so a row is also a proof. The page is made by the tests; nobody edits it. To make \
it again, as root:

```sh
tests/run && cp target/tmp/RELIABILITY.md docs/RELIABILITY.md
```

- **answers**: questions answered meanwhile. **lost**: questions that failed although the same \
instance answered before and
  after. **at an end**: questions that had reached an instance when it ended, and got no answer. \
  To ask nobody who is about
  to end is a balancer's work; there is none here.
- **fewest**: places that answered at one time, the fewest; **most**: processes of the service \
that ran at one time, the
  most. Behind each the bound that `max_unavailable` or `max_surge` sets. A fault that itself \
  takes an instance away lowers
  the bound by that one.
- **exit**: the exit codes of the commands that met the fault, in order. **s**: seconds from the \
first command to the last
  check.
";

impl Seen {
    /// A row, and in words what was seen: what the numbers do not tell.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(json!({ "words": words.into() }))
    }

    /// The service meanwhile, and the bounds that it was held to.
    pub(crate) fn served(mut self, served: &Served, floor: usize, ceiling: usize) -> Self {
        self.0["answered"] = served.answered.into();
        self.0["lost"] = served.lost.len().into();
        self.0["at an end"] = served.answers.broken().len().into();
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

    /// How long it took.
    pub(crate) fn took(mut self, took: Duration) -> Self {
        self.0["seconds"] = format!("{:.0}", took.as_secs_f64()).into();
        self
    }

    /// Leaves the row for the page.
    pub(crate) fn leave(self, key: &str) {
        assert!(
            FAULTS
                .iter()
                .any(|(_, faults)| faults.iter().any(|fault| fault.key == key)),
            "no fault {key:?}"
        );
        write(&rows().join(format!("{key}.json")), &self.0.to_string());
    }
}

/// Makes the page of the rows that tests have left, and gives its path.
///
/// # Errors
/// The keys of the faults that have no row.
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
            "| tried | promised | seen | answers | lost | at an end | fewest | most | exit | s |\n",
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
                "at an end",
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
    let page = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("RELIABILITY.md");
    write(&page, &text);
    Ok(page)
}

fn rows() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reliability")
}

fn row(fault: &Fault) -> Option<Value> {
    let text = fs::read_to_string(rows().join(format!("{}.json", fault.key))).ok()?;
    Some(serde_json::from_str(&text).expect("a row that a test has left"))
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
        "A controller that is killed",
        &[
            Fault {
                key: "killed-deploying",
                tried: "`kill -9` of `ship deploy` at random moments, each in a new deploy",
                promised: "The service is not affected; `ship status` shows the rollout and its \
                           progress; the same \
                           command or `ship resume` continues it, `ship abort` rolls it back; no \
                           processes or files \
                           are left behind",
            },
            Fault {
                key: "killed-rolling-back",
                tried: "`kill -9` of `ship rollback` at random moments, each in a new rollback",
                promised: "As above; the same command continues to the same revision",
            },
        ],
    ),
    (
        "Two controllers, and one that sleeps",
        &[
            Fault {
                key: "rivals-one-history",
                tried: "Two deploys of different versions at once, from one control directory",
                promised: "One is refused and names the holder of the lock (exit 6); the fleet \
                           ends on one version",
            },
            Fault {
                key: "rivals-two-histories",
                tried: "Two deploys of different versions at once, from two copies of a control \
                        directory that share \
                        no state",
                promised: "The hosts accept commands from only one; the other stops (exit 6); the \
                           fleet ends on one \
                           version",
            },
            Fault {
                key: "stopped-and-taken-over",
                tried: "The controller is stopped in the middle (SIGSTOP) for over half a minute, \
                        another deploys from the \
                        same directory, then the first goes on",
                promised: "The second takes over; the first does nothing more and says why (exit \
                           6)",
            },
            Fault {
                key: "stopped-and-overtaken",
                tried: "The controller is stopped in the middle, another deploys from another \
                        control directory, then the \
                        first goes on",
                promised: "Every host refuses the first (exit 6); the fleet stays as the second \
                           left it",
            },
            Fault {
                key: "stopped-and-unlocked",
                tried: "The controller is stopped during a deploy, `ship unlock --yes` breaks its \
                        lock, another \
                        deploys, then the first resumes",
                promised: "Before the unlock, the other command names the holder of the lock \
                           (exit 6); afterwards the \
                           hosts reject the first (exit 6)",
            },
            Fault {
                key: "unlocked-at-work",
                tried: "The lock of a controller that is at work is taken away by `ship unlock \
                        --yes`",
                promised: "It stops where it is and says why (exit 6); `ship resume` goes on",
            },
            Fault {
                key: "controller-sleeps",
                tried: "The controller and its ssh processes sleep for 40 s in the middle of a \
                        deploy, without a rival",
                promised: "It goes on where it was",
            },
        ],
    ),
    (
        "The network of a host",
        &[
            Fault {
                key: "cut-before-the-deploy",
                tried: "Cut before the deploy",
                promised: "Refused before anything is touched (exit 7)",
            },
            Fault {
                key: "cut-before-staging",
                tried: "Cut before the release is sent there, for good",
                promised: "Nothing is begun that counts on the host; the old version stays; \
                           mended, the same command \
                           goes on",
            },
            Fault {
                key: "cut-before-staging-mended",
                tried: "The same, mended after a few seconds",
                promised: "The deploy goes on by itself",
            },
            Fault {
                key: "cut-while-staging",
                tried: "Cut while the release is being sent there, for good",
                promised: "A half of a release is never run; mended, the same command goes on and \
                           removes it",
            },
            Fault {
                key: "cut-while-staging-mended",
                tried: "The same, mended after a few seconds",
                promised: "The deploy goes on by itself",
            },
            Fault {
                key: "cut-while-starting",
                tried: "Cut while an instance is being started there, for good",
                promised: "Nothing is stopped for it: what is out of reach runs and does not serve",
            },
            Fault {
                key: "cut-while-starting-mended",
                tried: "The same, mended after a few seconds",
                promised: "The deploy goes on by itself",
            },
            Fault {
                key: "cut-while-not-ready",
                tried: "Cut while the new instance there is not ready yet, for good",
                promised: "Nothing is stopped for it",
            },
            Fault {
                key: "cut-while-not-ready-mended",
                tried: "The same, mended after a few seconds",
                promised: "The deploy goes on by itself",
            },
            Fault {
                key: "cut-while-stopping",
                tried: "Cut while the old instance there is being stopped, for good",
                promised: "The stop is not taken for done, and nothing more is stopped than the \
                           rest can bear",
            },
            Fault {
                key: "cut-while-stopping-mended",
                tried: "The same, mended after a few seconds",
                promised: "The deploy goes on by itself",
            },
            Fault {
                key: "cut-and-found",
                tried: "Cut until ssh has given the connection up, mended before the progress \
                        deadline",
                promised: "The host is found again, and the deploy goes on by itself",
            },
        ],
    ),
    (
        "Transfers and disks",
        &[
            Fault {
                key: "sshd-killed",
                tried: "A host's sshd is killed with all its sessions while a release is being \
                        sent, and started again",
                promised: "ship connects again and sends it again",
            },
            Fault {
                key: "disk-full-while-staging",
                tried: "A host's disk runs full while a release is being sent",
                promised: "Nothing was stopped or started; the message says why; no litter stays \
                           (exit 3)",
            },
            Fault {
                key: "state-disk-full",
                tried: "The disk of the control machine's state runs full in the middle of a \
                        deploy",
                promised: "ship stops without harm and says what to do (exit 1); with room again \
                           the same command \
                           goes on",
            },
        ],
    ),
    (
        "Hosts, instances and other people's hands",
        &[
            Fault {
                key: "host-reboots",
                tried: "A host is restarted in the middle of a deploy",
                promised: "Its instances come back with it; the deploy waits for it and goes on",
            },
            Fault {
                key: "instance-killed",
                tried: "`kill -9` of an old instance in the middle of a deploy",
                promised: "systemd starts it again; nothing is stopped meanwhile that the rest \
                           needs",
            },
            Fault {
                key: "instance-stopped-by-hand",
                tried: "`systemctl stop` of an old instance in the middle of a deploy",
                promised: "It counts as unavailable; the deploy goes on and brings the service \
                           back to its replicas",
            },
            Fault {
                key: "instance-started-by-hand",
                tried: "Another program is started on the port of a slot that the deploy is about \
                        to use",
                promised: "The program is named and left alone; the old version keeps serving",
            },
        ],
    ),
    (
        "Bad nights, with nobody there (`ship deploy --version nightly --unattended`)",
        &[
            Fault {
                key: "night-no-channel",
                tried: "The channel's file is gone; it is empty; it is an HTML error page",
                promised: "Exit 2 and one line each time; nothing is touched",
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
                tried: "The artifact is not the one that SHA256SUMS names",
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
                promised: "The next run continues the rollout; with `interrupted = \"abort\"` it \
                           rolls back (exit 3)",
            },
            Fault {
                key: "night-twice",
                tried: "Two crons fire at once",
                promised: "The second waits for the lock and finds nothing to do",
            },
            Fault {
                key: "night-nobody-listens",
                tried: "The endpoint of `[notify]` takes connections and never answers",
                promised: "One note, within the timeout; exit code and deploy are as if it had",
            },
        ],
    ),
];

#[test]
#[ignore = "the last step of `tests/run`: it needs the rows of all other tests"]
fn every_fault_has_a_row_and_the_page_is_made_of_them() {
    match page() {
        Ok(page) => println!("{}", page.display()),
        Err(missing) => panic!("no test has left a row for: {}", missing.join(", ")),
    }
}
