//! A controller that is killed with -9, at any moment of a deploy and of a rollback.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dice::Dice;
use crate::support::asker::running;
use crate::support::command::Running;
use crate::support::fleet::Fleet;
use crate::support::project::{Behaviour, PAGE, Project};
use crate::support::reliability::Seen;
use crate::support::traffic::Traffic;
use crate::support::world;
use crate::{REPLICAS, answers, litter, places, three_hosts};

/// Kills at moments by chance, one in each equal part of the command's length. Two more come when it has said something.
const BY_CHANCE: u32 = 14;
/// A command that has ended before its moment was not killed; then there is another round.
const ROUNDS_MAX: u32 = BY_CHANCE + 10;

/// When a command is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    After(Duration),
    /// When it has said so many lines with this in them.
    Said(&'static str, usize),
}

/// It has just begun: its first orders are on their way.
const FIRST_ORDERS: Moment = Moment::Said(" on tests: ", 1);
/// The last new instance is ready: the last old one is being stopped.
const LAST_ORDER: Moment = Moment::Said(" ready ", REPLICAS);

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
    reached: Vec<Reached>,
}

#[test]
fn a_deploy_that_is_killed_at_any_moment_is_finished_by_the_same_command() {
    world::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.deploy("1").exits(0);
        kill_over_and_over(&fleet, &project, "killed-deploying", |round| {
            let (from, to) = ((round + 1).to_string(), (round + 2).to_string());
            project.release(&to, Behaviour::Good);
            Move { verb: "deploy", from, to }
        });
    });
}

#[test]
fn a_rollback_that_is_killed_at_any_moment_is_finished_by_the_same_command() {
    world::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.deploy("1").exits(0);
        project.deploy("2").exits(0);
        // From 2 back to 1, and, as 2 has been proven too, from 1 back to 2.
        kill_over_and_over(&fleet, &project, "killed-rolling-back", |round| {
            let (from, to) = if round % 2 == 0 { ("2", "1") } else { ("1", "2") };
            Move { verb: "rollback", from: from.to_owned(), to: to.to_owned() }
        });
    });
}

fn kill_over_and_over(fleet: &Fleet, project: &Project, fault: &str, next: impl Fn(u32) -> Move) {
    let (began, mut dice) = (Instant::now(), Dice::new());
    let traffic = Traffic::begin(places(fleet));
    let undisturbed = next(0).start(project).wait().exits(0);
    let mut kills = Kills { whole: undisturbed.took, reached: Vec::new() };
    let mut round = 1;
    for part in 0..BY_CHANCE {
        while kills.landed() == part {
            assert!(round <= ROUNDS_MAX, "only {} of {round} kills came before the end", kills.landed());
            let moment = kills.whole.mul_f64((f64::from(part) + dice.throw()) / f64::from(BY_CHANCE));
            kills.round(fleet, project, &next(round), round, Moment::After(moment));
            round += 1;
        }
    }
    for moment in [FIRST_ORDERS, LAST_ORDER] {
        kills.round(fleet, project, &next(round), round, moment);
        round += 1;
    }
    let served = traffic.end(REPLICAS).kept(REPLICAS, REPLICAS + 1);
    let seen = Seen::new(format!("{} kills: {}", kills.landed(), kills.account()));
    seen.served(&served, REPLICAS, REPLICAS + 1).exits(&[0]).took(began.elapsed()).leave(fault);
}

impl Move {
    fn start(&self, project: &Project) -> Running {
        match self.verb {
            "deploy" => project.start_deploy(&self.to),
            verb => project.start(verb, &["--output", "plain"]),
        }
    }
}

impl Kills {
    fn landed(&self) -> u32 {
        u32::try_from(self.reached.len()).expect("few rounds")
    }

    fn round(&mut self, fleet: &Fleet, project: &Project, wanted: &Move, round: u32, moment: Moment) {
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
        println!("round {round}: {} {} → {}, {moment:?}: {}", wanted.verb, wanted.from, wanted.to, reached.words());
        // One time what was under way is let end, so that what status tells can be held against the truth; one time
        // it is asked at once, and one time nobody asks.
        let is_there = match round % 3 {
            0 => {
                litter::await_quiet();
                assert_status_is_the_truth(fleet, project, wanted, &said, was_killed)
            }
            1 => state_and_version(&project.status()) == ("idle".to_owned(), wanted.to.clone()),
            _ => false,
        };
        // Who reads that it is done does not roll back once more: that would lead to yet another version.
        let leads_away = wanted.verb == "rollback" && (is_there || !was_killed || is_done(project, wanted));
        if !leads_away {
            let done = wanted.start(project).wait().exits(0);
            if done.stderr.contains(" on tests: ") && reached == Reached::Nothing {
                self.whole = done.took;
            }
        }
        let versions: Vec<_> = answers(fleet).into_iter().map(|(_, version)| version).collect();
        assert_eq!(versions, vec![wanted.to.clone(); REPLICAS]);
        assert_eq!(running(PAGE), REPLICAS);
        litter::assert_none(fleet);
        if was_killed {
            self.reached.push(reached);
        }
    }

    /// How many kills came when.
    fn account(&self) -> String {
        let stages: BTreeSet<_> = self.reached.iter().copied().collect();
        let count = |stage: &Reached| self.reached.iter().filter(|reached| *reached == stage).count();
        stages.iter().map(|stage| format!("{} {}", count(stage), stage.words())).collect::<Vec<_>>().join(", ")
    }
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
        let count = |word: &str| said.lines().filter(|line| line.split_whitespace().nth(2) == Some(word)).count();
        match (said.contains(" on tests: "), count("started"), count("stopped")) {
            (_, _, REPLICAS..) => Self::AllReplaced,
            (false, ..) => Self::Nothing,
            (true, 0, _) => Self::Begun,
            (true, started, _) => Self::Started(started),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Nothing => "before anything was ordered".to_owned(),
            Self::Begun => "before the first start".to_owned(),
            Self::Started(count) => format!("with {count} started"),
            Self::AllReplaced => "after the last stop".to_owned(),
        }
    }
}

fn is_done(project: &Project, wanted: &Move) -> bool {
    state_and_version(&project.status()) == ("idle".to_owned(), wanted.to.clone())
}

fn state_and_version(status: &Value) -> (String, String) {
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("version"))
}

/// Holds what `ship status` tells of a rollout that was cut off against what the instances answer; says whether all is
/// done.
fn assert_status_is_the_truth(fleet: &Fleet, project: &Project, wanted: &Move, said: &str, was_killed: bool) -> bool {
    let status = project.status();
    let text = project.ship("status", &[]).exits(0).stdout;
    let truth = answers(fleet);
    let told: BTreeSet<_> = status["instances"].as_array().expect("an array").iter().map(told_instance).collect();
    assert_eq!(told, truth, "{status:#}");
    let updated = truth.iter().filter(|(_, version)| *version == wanted.to).count();
    let has_begun = said.contains(" on tests: ");
    let (state, version) = state_and_version(&status);
    if state == "idle" {
        // Killed before its beginning or after its end was durable.
        assert!(!has_begun || updated == REPLICAS, "nothing is told of what was under way:\n{text}\n{said}");
        return updated == REPLICAS && truth.len() == REPLICAS;
    }
    assert!(was_killed, "it has ended:\n{text}");
    assert_eq!((state.as_str(), version.as_str()), ("paused", wanted.to.as_str()), "{status:#}");
    assert_eq!(status["replicas"]["updated"], updated, "{status:#}");
    assert!(text.contains(&format!("{} of {} (revision", wanted.verb, wanted.to)), "{text}");
    assert!(text.contains("was cut off"), "{text}");
    let how_far = if updated < REPLICAS { format!("{updated} out of {REPLICAS} new replicas") } else { String::new() };
    assert!(text.contains(&how_far), "{text}");
    false
}

fn told_instance(instance: &Value) -> (String, String) {
    let text = |key: &str| instance[key].as_str().expect("text").to_owned();
    (format!("{}:{}", text("address"), instance["port"]), text("version"))
}
