//! Deployments of a stack whose `ship` is killed at random moments.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::command::{Done, Running};
use super::rng::SeededRng;
use super::stack::StackDir;

/// How a killed deployment continues.
const CONTINUATIONS: [&str; 2] = ["resume", "abort"];
/// How many of the killed deployments are those of `ship rollback`, where one is possible, in
/// thousandths.
const ROLLBACKS: u32 = 500;
/// How many of the continuations are killed, too, in thousandths.
const KILLED_CONTINUATIONS: u32 = 300;

/// What happened to the killed deployments.
#[derive(Debug, Default)]
pub struct StackKills {
    /// Kills in the middle of a deployment, or before its first rollout.
    pub killed: u32,
    /// Those of `ship rollback`.
    pub killed_rollbacks: u32,
    /// Deployments that had ended before their moment came.
    pub ended_before: u32,
    /// Kills of `ship resume` and of `ship abort`.
    pub killed_continuations: u32,
    /// Deployments that `ship resume` brought to the new version.
    pub resumed: u32,
    /// Deployments that `ship abort` brought back to the old version.
    pub aborted: u32,
    /// Kills after which there was no deployment to continue.
    pub refused: u32,
}

impl StackKills {
    /// Deploys version 1, then one new version after another, or undoes the last deployment. Kills
    /// each command at a random moment, one in each equal part of the duration, and then resumes or
    /// aborts it, chosen at random. Kills some of these commands, too, before another one.
    ///
    /// Panics if afterwards the services do not all run the version that the last command promises.
    #[track_caller]
    pub fn cause(stack: &StackDir, kills: u32, rng: &mut SeededRng) -> Self {
        stack.deploy("1").exits(0);
        let mut duration = stack.deploy("2").exits(0).took;
        let mut present = stack.whole_version();
        // What `ship rollback` leads to.
        let mut earlier = Some("1".to_owned());
        let mut seen = Self::default();
        for part in 0..kills {
            let undone = earlier.take().filter(|_| rng.chance(ROLLBACKS));
            let (command, version) = if let Some(earlier) = &undone {
                let rollback = stack.start("rollback", &["--output", "json"]);
                (rollback, earlier.clone())
            } else {
                let version = (part + 3).to_string();
                (stack.start_deploy(&version), version)
            };
            let fraction = (f64::from(part) + rng.fraction()) / f64::from(kills);
            let moment = duration.mul_f64(fraction);
            match kill_after(command, moment) {
                Ok(events) => {
                    seen.killed += 1;
                    seen.killed_rollbacks += u32::from(undone.is_some());
                    println!("{version} killed after {moment:?} and {events} events");
                }
                Err(done) => {
                    done.exits(0);
                    seen.ended_before += 1;
                    duration = duration.mul_f64(0.9);
                }
            }
            let first = seen.kill_continuation(stack, duration, rng);
            let verb = *rng.pick(&CONTINUATIONS);
            let done = stack.ship(verb, &["--progress", "plain"]);
            let whole = stack.whole_version();
            println!("{verb}, after {first:?}: {whole}");
            seen.check((first, verb), &done, [&present, &version], &whole);
            let outcome = stack.last_outcome();
            assert!(
                ["succeeded", "rolled-back"].contains(&outcome.as_str()),
                "{outcome} after {verb}:\n{}",
                done.stderr
            );
            if undone.is_none() && whole == version {
                earlier = Some(present);
            }
            present = whole;
        }
        seen
    }

    /// Sometimes begins to continue a deployment, and kills that. Returns the command.
    fn kill_continuation(
        &mut self,
        stack: &StackDir,
        duration: Duration,
        rng: &mut SeededRng,
    ) -> Option<&'static str> {
        if !rng.chance(KILLED_CONTINUATIONS) {
            return None;
        }
        let verb = *rng.pick(&CONTINUATIONS);
        let command = stack.start(verb, &["--output", "json"]);
        let moment = duration.mul_f64(rng.fraction());
        self.killed_continuations += u32::from(kill_after(command, moment).is_ok());
        Some(verb)
    }

    /// Asserts that a command led to the version that it promises.
    #[track_caller]
    fn check(
        &mut self,
        (first, verb): (Option<&str>, &str),
        done: &Done,
        [old, new]: [&str; 2],
        whole: &str,
    ) {
        let promised: &[&str] = match (done.code, verb) {
            (Some(0), "resume") => {
                self.resumed += 1;
                &[new]
            }
            (Some(0), _) => {
                self.aborted += 1;
                &[old]
            }
            // The killed abort had begun, so that the deployment ends as rolled back.
            (Some(3), "resume") if first == Some("abort") => {
                self.aborted += 1;
                &[old]
            }
            // The deployment had ended, or it was killed before it was recorded.
            (Some(2), _) if done.stderr.contains("so there is nothing to") => {
                self.refused += 1;
                &[old, new]
            }
            _ => panic!("{verb} of {new}: {:?}\n{}", done.code, done.stderr),
        };
        assert!(
            promised.contains(&whole),
            "{verb} from {old} to {new} led to {whole}:\n{}",
            done.stderr
        );
    }
}

impl fmt::Display for StackKills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            killed,
            killed_rollbacks,
            ended_before,
            killed_continuations,
            resumed,
            aborted,
            refused,
        } = self;
        write!(
            f,
            "{killed} deployments killed, {killed_rollbacks} of them rollbacks, {ended_before} ended before, {killed_continuations} \
             continuations killed; {resumed} resumed, {aborted} aborted, {refused} with nothing to \
             continue"
        )
    }
}

/// Kills a command at this moment; returns the number of its events.
///
/// # Errors
/// Returns the result of the command if it had ended.
fn kill_after(mut command: Running, moment: Duration) -> Result<usize, Done> {
    let began = Instant::now();
    while began.elapsed() < moment && !command.has_ended() {
        thread::sleep(Duration::from_millis(1));
    }
    if command.has_ended() {
        return Err(command.wait());
    }
    command.signal("KILL");
    Ok(command.wait().stdout.lines().count())
}
