//! A controller that is killed with -9, at any moment of a deploy and of a rollback.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{REPLICAS, SEED, answers, leftovers, places, three_hosts};
use crate::reliability::Seen;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;
use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};
use ship_testing::rng::SeededRng;
use ship_testing::traffic::Traffic;

/// Kills at moments by chance, one in each equal part of the command's length.
const BY_CHANCE: u32 = 10;
/// A command that has ended before its moment was not killed; then there is another round.
const ROUNDS_MAX: u32 = BY_CHANCE + 10;
/// More kills come when the command has said something: the first orders are on their way, the
/// first start is done, the first old instance is being stopped, the next new one is being started,
/// and, last, the last order is on its way.
const BY_WORDS: [Moment; 6] = [
    Moment::Said(" on tests: ", 1),
    Moment::Said(" started ", 1),
    Moment::Said(" ready ", 1),
    Moment::Said(" stopped ", 1),
    Moment::Said(" stopped ", 2),
    Moment::Said(" ready ", REPLICAS),
];

/// When a command is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    After(Duration),
    /// When it has said so many lines with this in them.
    Said(&'static str, usize),
}

/// A command that brings the fleet from one version to another.
struct Move {
    verb: &'static str,
    from: String,
    to: String,
}

/// How far a command had come, by what it had said, when it was killed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Begun,
    Started(usize),
    AllReplaced,
}

/// What the killed commands had reached.
struct Kills {
    /// What the last one took that was not killed.
    whole: Duration,
    /// The version that the fleet is on.
    present: String,
    reached: Vec<Reached>,
    sequels: Vec<Sequel>,
}

/// What has come of a command that was killed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sequel {
    /// All was done when it was killed.
    None,
    Same,
    Resume,
    Abort,
}

#[test]
fn a_deploy_that_is_killed_at_any_moment_is_gone_on_with_or_goes_back() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.deploy("1").exits(0);
        kill_over_and_over(&fleet, &project, "killed-deploying", |round, from| {
            let to = (round + 2).to_string();
            project.release(&to, Behaviour::Good);
            Move {
                verb: "deploy",
                from: from.to_owned(),
                to,
            }
        });
    });
}

#[test]
fn a_rollback_that_is_killed_at_any_moment_is_gone_on_with() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.deploy("1").exits(0);
        project.deploy("2").exits(0);
        // From 2 back to 1, and, as 2 has been proven too, from 1 back to 2.
        kill_over_and_over(&fleet, &project, "killed-rolling-back", |_, from| {
            let to = if from == "2" { "1" } else { "2" };
            Move {
                verb: "rollback",
                from: from.to_owned(),
                to: to.to_owned(),
            }
        });
    });
}

fn kill_over_and_over(
    fleet: &Fleet,
    project: &Project,
    fault: &str,
    next: impl Fn(u32, &str) -> Move,
) {
    let (began, mut rng) = (Instant::now(), SeededRng::from_env(SEED));
    let present = project.status()["version"]
        .as_str()
        .expect("a version")
        .to_owned();
    let traffic = Traffic::begin(places(fleet));
    let undisturbed = next(0, &present);
    let whole = undisturbed.start(project).wait().exits(0).took;
    let mut kills = Kills {
        whole,
        present: undisturbed.to,
        reached: Vec::new(),
        sequels: Vec::new(),
    };
    let mut round = 1;
    for part in 0..BY_CHANCE {
        while kills.landed() == part {
            assert!(
                round <= ROUNDS_MAX,
                "only {} of {round} kills came before the end",
                kills.landed()
            );
            let moment = kills
                .whole
                .mul_f64((f64::from(part) + rng.fraction()) / f64::from(BY_CHANCE));
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
    for moment in BY_WORDS {
        kills.round(fleet, project, &next(round, &kills.present), round, moment);
        round += 1;
    }
    let served = traffic.end(REPLICAS).kept(REPLICAS, REPLICAS + 1);
    let (landed, when) = (kills.landed(), account(&kills.reached, Reached::words));
    let what_then = account(&kills.sequels, |sequel| sequel.words().to_owned());
    let seen = Seen::new(format!("{landed} kills: {when}. {what_then}"));
    seen.served(&served, REPLICAS, REPLICAS + 1)
        .exits(&[0])
        .took(began.elapsed())
        .leave(fault);
}

impl Move {
    fn start(&self, project: &Project) -> Running {
        match self.verb {
            "deploy" => project.start_deploy(&self.to),
            // A bare one right after another is refused.
            "rollback" => {
                let is_meant =
                    |row: &Value| row["version"] == *self.to && row["outcome"] == "succeeded";
                let target = project
                    .history()
                    .into_iter()
                    .find(is_meant)
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
    fn landed(&self) -> u32 {
        u32::try_from(self.reached.len()).expect("few rounds")
    }

    fn round(
        &mut self,
        fleet: &Fleet,
        project: &Project,
        wanted: &Move,
        round: u32,
        moment: Moment,
    ) {
        let began = Instant::now();
        let mut victim = wanted.start(project);
        while !moment.has_come(began, &mut victim) && !victim.has_ended() {
            thread::sleep(Duration::from_millis(1));
        }
        let was_killed = !victim.has_ended();
        if was_killed {
            victim.signal("KILL");
        } else {
            self.whole = began.elapsed();
        }
        let said = victim.wait().stderr;
        let reached = Reached::by(&said);
        println!(
            "round {round}: {} {} → {}, {moment:?}: {}",
            wanted.verb,
            wanted.from,
            wanted.to,
            reached.words()
        );
        if round.is_multiple_of(3) {
            leftovers::await_quiet();
            assert_status_is_the_truth(fleet, project, wanted, &said, was_killed);
        }
        let sequel = Sequel::of(round, wanted.verb).follow(project, wanted);
        self.present.clone_from(if sequel == Sequel::Abort {
            &wanted.from
        } else {
            &wanted.to
        });
        let versions: Vec<_> = answers(fleet)
            .into_iter()
            .map(|(_, version)| version)
            .collect();
        assert_eq!(versions, vec![self.present.clone(); REPLICAS]);
        assert_eq!(running(PAGE), REPLICAS);
        leftovers::assert_none(fleet);
        if was_killed {
            self.reached.push(reached);
            self.sequels.push(sequel);
        }
    }
}

impl Sequel {
    /// What comes after the kill of a round. A rollback has nothing to go back to.
    fn of(round: u32, verb: &str) -> Self {
        match round % 4 {
            0 => Self::Same,
            1 if verb == "deploy" => Self::Abort,
            _ => Self::Resume,
        }
    }

    /// Does it, and says what it came to: where there is nothing to go on with, what was wanted is
    /// asked for again.
    fn follow(self, project: &Project, wanted: &Move) -> Self {
        let (verb, refusal) = match self {
            Self::Resume => ("resume", "is not paused"),
            Self::Abort => ("abort", "nothing to abort"),
            Self::Same | Self::None => return Self::repeat(project, wanted),
        };
        let done = project.ship(verb, &["--progress", "plain"]);
        if done.code == Some(0) {
            return self;
        }
        done.exits(2).says(&[refusal]);
        Self::repeat(project, wanted)
    }

    fn repeat(project: &Project, wanted: &Move) -> Self {
        // Who reads that a rollback is done does not roll back once more: that would lead to yet
        // another version.
        if wanted.verb == "rollback"
            && state_and_version(&project.status()) == ("idle".to_owned(), wanted.to.clone())
        {
            return Self::None;
        }
        let done = wanted.start(project).wait().exits(0);
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

/// How many there are of each, in words.
fn account<T: Copy + Ord>(all: &[T], words: impl Fn(T) -> String) -> String {
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
            Self::Said(words, times) => victim.stderr_so_far().matches(words).count() >= times,
        }
    }
}

impl Reached {
    /// Reads what a command has said. What is said is durable already.
    fn by(said: &str) -> Self {
        let count = |word: &str| {
            said.lines()
                .filter(|line| line.split_whitespace().nth(2) == Some(word))
                .count()
        };
        match (
            said.contains(" on tests: "),
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

/// Holds what `ship status` tells of a rollout that was cut off against what the instances answer.
fn assert_status_is_the_truth(
    fleet: &Fleet,
    project: &Project,
    wanted: &Move,
    said: &str,
    was_killed: bool,
) {
    let status = project.status();
    let text = project.ship("status", &[]).exits(0).stdout;
    let truth = answers(fleet);
    let told: BTreeSet<_> = status["instances"]
        .as_array()
        .expect("an array")
        .iter()
        .map(told_instance)
        .collect();
    assert_eq!(told, truth, "{status:#}");
    let updated = truth
        .iter()
        .filter(|(_, version)| *version == wanted.to)
        .count();
    let has_begun = said.contains(" on tests: ");
    let (state, version) = state_and_version(&status);
    if state != "paused" {
        // Killed before its beginning was durable, when what is told is how the one before it
        // ended; or after its end.
        assert!(
            !has_begun || updated == REPLICAS,
            "nothing is told of what was under way:\n{text}\n{said}"
        );
        return;
    }
    assert!(was_killed, "it has ended:\n{text}");
    assert_eq!(version, wanted.to, "{status:#}");
    assert_eq!(status["replicas"]["updated"], updated, "{status:#}");
    assert!(
        text.contains(&format!("{} of {} (revision", wanted.verb, wanted.to)),
        "{text}"
    );
    assert!(text.contains("was interrupted"), "{text}");
    assert!(
        text.contains(&format!("{updated} of {REPLICAS} replicas updated")),
        "{text}"
    );
}

fn told_instance(instance: &Value) -> (String, String) {
    let text = |key: &str| instance[key].as_str().expect("text").to_owned();
    (
        format!("{}:{}", text("address"), instance["port"]),
        text("version"),
    )
}
