//! A controller that is killed with SIGKILL at any moment of a deploy and of a rollback.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{REPLICAS, SEED, answers, endpoints, leftovers, three_hosts};
use crate::reliability::ReportRow;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;
use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};
use ship_testing::rng::SeededRng;
use ship_testing::traffic::Traffic;

/// Kills at random moments, one in each equal part of the command's duration.
const RANDOM_KILLS: u32 = 10;
/// If a command exits before its moment, there is another round.
const ROUNDS_MAX: u32 = RANDOM_KILLS + 10;
/// More kills after certain output: when the first actions are sent, the first start is done, the
/// first old instance is being stopped, the next new one is being started, and the last action is
/// sent.
const KILLS_AFTER_OUTPUT: [Moment; 6] = [
    Moment::Printed(" on tests: ", 1),
    Moment::Printed(" started ", 1),
    Moment::Printed(" ready ", 1),
    Moment::Printed(" stopped ", 1),
    Moment::Printed(" stopped ", 2),
    Moment::Printed(" ready ", REPLICAS),
];

/// When a command is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    After(Duration),
    /// After it has printed this text this many times.
    Printed(&'static str, usize),
}

/// A command that changes the version of the fleet.
struct VersionChange {
    verb: &'static str,
    from: String,
    to: String,
}

/// The progress of a command when it was killed, according to its output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Nothing,
    Begun,
    Started(usize),
    AllReplaced,
}

/// The state of the rounds so far.
struct Kills {
    /// The duration of the last command that was not killed.
    duration: Duration,
    /// The present version of the fleet.
    present: String,
    progress: Vec<Progress>,
    continuations: Vec<Continuation>,
}

/// How a killed command was continued.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Continuation {
    /// The rollout was complete.
    None,
    Same,
    Resume,
    Abort,
}

#[test]
fn killed_deploy_is_resumed_or_rolled_back() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.deploy("1").exits(0);
        kill_repeatedly(&fleet, &project, "killed-deploying", |round, from| {
            let to = (round + 2).to_string();
            project.release(&to, Behaviour::Good);
            VersionChange {
                verb: "deploy",
                from: from.to_owned(),
                to,
            }
        });
    });
}

#[test]
fn killed_rollback_is_resumed() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.deploy("1").exits(0);
        project.deploy("2").exits(0);
        // Alternates between 2 and 1, which are both proven.
        kill_repeatedly(&fleet, &project, "killed-rolling-back", |_, from| {
            let to = if from == "2" { "1" } else { "2" };
            VersionChange {
                verb: "rollback",
                from: from.to_owned(),
                to: to.to_owned(),
            }
        });
    });
}

fn kill_repeatedly(
    fleet: &Fleet,
    project: &Project,
    key: &str,
    next: impl Fn(u32, &str) -> VersionChange,
) {
    let (began, mut rng) = (Instant::now(), SeededRng::from_env(SEED));
    let present = project.status()["version"]
        .as_str()
        .expect("a version")
        .to_owned();
    let traffic = Traffic::begin(endpoints(fleet));
    let first_change = next(0, &present);
    let duration = first_change.start(project).wait().exits(0).took;
    let mut kills = Kills {
        duration,
        present: first_change.to,
        progress: Vec::new(),
        continuations: Vec::new(),
    };
    let mut round = 1;
    for part in 0..RANDOM_KILLS {
        while kills.count() == part {
            assert!(
                round <= ROUNDS_MAX,
                "only {} of {round} kills happened before the command exited",
                kills.count()
            );
            let moment = kills
                .duration
                .mul_f64((f64::from(part) + rng.fraction()) / f64::from(RANDOM_KILLS));
            kills.round(
                fleet,
                project,
                &next(round, &kills.present),
                round,
                Moment::After(moment),
            );
            round += 1;
        }
    }
    for moment in KILLS_AFTER_OUTPUT {
        kills.round(fleet, project, &next(round, &kills.present), round, moment);
        round += 1;
    }
    let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
    let (count, when) = (
        kills.count(),
        count_by_kind(&kills.progress, Progress::words),
    );
    let continuations = count_by_kind(&kills.continuations, |continuation| {
        continuation.words().to_owned()
    });
    let row = ReportRow::new(format!("{count} kills: {when}. {continuations}"));
    row.served(&served, REPLICAS, REPLICAS + 1)
        .exits(&[0])
        .took(began.elapsed())
        .save(key);
}

impl VersionChange {
    fn start(&self, project: &Project) -> Running {
        match self.verb {
            "deploy" => project.start_deploy(&self.to),
            // A second rollback without a revision is refused.
            "rollback" => {
                let is_target =
                    |row: &Value| row["version"] == *self.to && row["outcome"] == "succeeded";
                let target = project
                    .history()
                    .into_iter()
                    .find(is_target)
                    .expect("a revision of that version");
                let revision = target["revision"].to_string();
                project.start(
                    "rollback",
                    &["--to-revision", &revision, "--progress", "plain"],
                )
            }
            verb => project.start(verb, &["--progress", "plain"]),
        }
    }
}

impl Kills {
    fn count(&self) -> u32 {
        u32::try_from(self.progress.len()).expect("few rounds")
    }

    fn round(
        &mut self,
        fleet: &Fleet,
        project: &Project,
        change: &VersionChange,
        round: u32,
        moment: Moment,
    ) {
        let began = Instant::now();
        let mut victim = change.start(project);
        while !moment.has_come(began, &mut victim) && !victim.has_ended() {
            thread::sleep(Duration::from_millis(1));
        }
        let was_killed = !victim.has_ended();
        if was_killed {
            victim.signal("KILL");
        } else {
            self.duration = began.elapsed();
        }
        let output = victim.wait().stderr;
        let progress = Progress::from_output(&output);
        println!(
            "round {round}: {} {} → {}, {moment:?}: {}",
            change.verb,
            change.from,
            change.to,
            progress.words()
        );
        if round.is_multiple_of(3) {
            leftovers::await_idle();
            assert_status_matches_answers(fleet, project, change, &output, was_killed);
        }
        let continuation = Continuation::of(round, change.verb).run(project, change);
        self.present
            .clone_from(if continuation == Continuation::Abort {
                &change.from
            } else {
                &change.to
            });
        let versions: Vec<_> = answers(fleet)
            .into_iter()
            .map(|(_, version)| version)
            .collect();
        assert_eq!(versions, vec![self.present.clone(); REPLICAS]);
        assert_eq!(running(PAGE), REPLICAS);
        leftovers::assert_none(fleet);
        if was_killed {
            self.progress.push(progress);
            self.continuations.push(continuation);
        }
    }
}

impl Continuation {
    /// The continuation of a round. A rollback cannot be aborted.
    fn of(round: u32, verb: &str) -> Self {
        match round % 4 {
            0 => Self::Same,
            1 if verb == "deploy" => Self::Abort,
            _ => Self::Resume,
        }
    }

    /// Continues the rollout. If there is nothing to continue, runs the command again. Returns what
    /// was done.
    fn run(self, project: &Project, change: &VersionChange) -> Self {
        let (verb, refusal) = match self {
            Self::Resume => ("resume", "is not paused"),
            Self::Abort => ("abort", "nothing to abort"),
            Self::Same | Self::None => return Self::repeat(project, change),
        };
        let done = project.ship(verb, &["--progress", "plain"]);
        if done.code == Some(0) {
            return self;
        }
        done.exits(2).prints(&[refusal]);
        Self::repeat(project, change)
    }

    fn repeat(project: &Project, change: &VersionChange) -> Self {
        // A user does not repeat a complete rollback: it would lead to yet another version.
        if change.verb == "rollback"
            && state_and_version(&project.status()) == ("idle".to_owned(), change.to.clone())
        {
            return Self::None;
        }
        let done = change.start(project).wait().exits(0);
        if done.stderr.contains("nothing to do") {
            Self::None
        } else {
            Self::Same
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::None => "had been completed already",
            Self::Same => "were continued by the same command",
            Self::Resume => "by `ship resume`",
            Self::Abort => "were rolled back by `ship abort`",
        }
    }
}

/// Counts each kind, in words.
fn count_by_kind<T: Copy + Ord>(all: &[T], words: impl Fn(T) -> String) -> String {
    let kinds: BTreeSet<_> = all.iter().copied().collect();
    let count = |kind: T| all.iter().filter(|one| **one == kind).count();
    kinds
        .into_iter()
        .map(|kind| format!("{} {}", count(kind), words(kind)))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Moment {
    fn has_come(self, began: Instant, victim: &mut Running) -> bool {
        match self {
            Self::After(moment) => began.elapsed() >= moment,
            Self::Printed(words, times) => victim.stderr_so_far().matches(words).count() >= times,
        }
    }
}

impl Progress {
    /// Reads the output of a command. What is printed is durable.
    fn from_output(output: &str) -> Self {
        let count = |word: &str| {
            output
                .lines()
                .filter(|line| line.split_whitespace().nth(2) == Some(word))
                .count()
        };
        match (
            output.contains(" on tests: "),
            count("started"),
            count("stopped"),
        ) {
            (_, _, REPLICAS..) => Self::AllReplaced,
            (false, ..) => Self::Nothing,
            (true, 0, _) => Self::Begun,
            (true, started, _) => Self::Started(started),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Nothing => "before the first action".to_owned(),
            Self::Begun => "before the first start".to_owned(),
            Self::Started(count) => format!("with {count} started"),
            Self::AllReplaced => "after the last stop".to_owned(),
        }
    }
}

fn state_and_version(status: &Value) -> (String, String) {
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("version"))
}

/// Asserts that `ship status` of an interrupted rollout matches what the instances answer.
fn assert_status_matches_answers(
    fleet: &Fleet,
    project: &Project,
    change: &VersionChange,
    output: &str,
    was_killed: bool,
) {
    let status = project.status();
    let text = project.ship("status", &[]).exits(0).stdout;
    let actual = answers(fleet);
    let reported: BTreeSet<_> = status["instances"]
        .as_array()
        .expect("an array")
        .iter()
        .map(reported_instance)
        .collect();
    assert_eq!(reported, actual, "{status:#}");
    let updated = actual
        .iter()
        .filter(|(_, version)| *version == change.to)
        .count();
    let has_begun = output.contains(" on tests: ");
    let (state, version) = state_and_version(&status);
    if state != "paused" {
        // It was killed before its first event was durable, so the status shows the rollout before,
        // or after its end.
        assert!(
            !has_begun || updated == REPLICAS,
            "the status does not show the rollout:\n{text}\n{output}"
        );
        return;
    }
    assert!(was_killed, "the rollout has ended:\n{text}");
    assert_eq!(version, change.to, "{status:#}");
    assert_eq!(status["replicas"]["updated"], updated, "{status:#}");
    assert!(
        text.contains(&format!("{} of {} (revision", change.verb, change.to)),
        "{text}"
    );
    assert!(text.contains("was interrupted"), "{text}");
    assert!(
        text.contains(&format!("{updated} of {REPLICAS} replicas updated")),
        "{text}"
    );
}

fn reported_instance(instance: &Value) -> (String, String) {
    let text = |key: &str| instance[key].as_str().expect("text").to_owned();
    (
        format!("{}:{}", text("address"), instance["port"]),
        text("version"),
    )
}
