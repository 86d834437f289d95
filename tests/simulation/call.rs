//! One call of `ship`, from the lease to the last word, as `cli/deploy`, `cli/rollback` and `cli/rollout` make it: the
//! store, the preflight, the planner and the engine are the real ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ship::core::event::{Entry, Event, Generation, Verb};
use ship::core::failure::Outcome;
use ship::core::history::{self, Past};
use ship::core::names::{Epoch, ReleaseId, Revision};
use ship::core::plan::{Next, Plan, plan};
use ship::core::release::Definition;
use ship::core::rollout::Rollout;
use ship::core::spec::Spec;
use ship::core::status::Status;
use ship::engine::{Clock, Engine, EngineError, Interrupts, Preflight, preflight};
use ship::report::Reporter;
use ship::store::{NewRevision, RevisionRecord, RolloutId, Store, StoreError};

use super::broken::Broken;
use super::ledger::Ledger;
use super::process::Process;
use super::scene::{Call, FLEET, SERVICE, release_id, subject};
use super::sim::Sim;
use super::world::Hands;

/// Revisions kept besides the current one.
const HISTORY_LIMIT: usize = 3;

/// How a call ended, as its exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    NothingToDo,
    RolledBack,
    Held,
    RollbackFailed,
    Locked,
    Refused,
    Unreachable,
    Interrupted,
    Internal,
    /// It has none: it was killed.
    Killed,
}

impl Exit {
    fn of(verb: Verb, outcome: &Outcome) -> Self {
        match (verb, outcome) {
            (_, Outcome::Succeeded) => Exit::Done,
            (_, Outcome::RolledBack) => Exit::RolledBack,
            (Verb::Rollback, Outcome::Held { .. }) | (_, Outcome::RollbackFailed { .. }) => Exit::RollbackFailed,
            (Verb::Deploy, Outcome::Held { .. }) => Exit::Held,
            (_, Outcome::Fenced { .. }) => Exit::Locked,
            (_, Outcome::Interrupted) => Exit::Interrupted,
        }
    }
}

impl From<StoreError> for Exit {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Held(_) | StoreError::LeaseLost => Exit::Locked,
            _ => Exit::Internal,
        }
    }
}

impl From<EngineError> for Exit {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::NotBegun => Exit::Internal,
        }
    }
}

/// What is wanted.
struct Goal {
    verb: Verb,
    release: ReleaseId,
    definition: Definition,
}

/// A call under way.
struct Session {
    sim: Arc<Sim>,
    process: Arc<Process>,
    ledger: Ledger,
    replicas: u32,
    /// The history, oldest first.
    revisions: Vec<RevisionRecord>,
}

/// Makes the call.
pub(crate) async fn call(ledger: Ledger, interrupts: Interrupts, call: Call) -> Exit {
    let (sim, process) = (Arc::clone(&ledger.sim), Arc::clone(&ledger.process));
    let mut session = Session { sim, process, ledger, replicas: call.replicas(), revisions: Vec::new() };
    let goal = match session.begin(call) {
        Ok(goal) => goal,
        Err(exit) => return exit,
    };
    session.carry_out(interrupts, goal).await.unwrap_or_else(|exit| exit)
}

impl Session {
    fn begin(&mut self, call: Call) -> Result<Goal, Exit> {
        self.ledger.acquire_lease(&subject(), &format!("{call:?}"))?;
        self.revisions = self.ledger.revisions(&subject())?;
        match call {
            Call::Deploy { release, .. } => {
                let definition = self.sim.scene.definition(release);
                Ok(Goal { verb: Verb::Deploy, release: release_id(release), definition })
            }
            Call::Rollback { .. } => {
                let present = self.current().ok_or(Exit::Refused)?;
                let back = history::fallback(&self.past(), &present.release).ok_or(Exit::Refused)?.revision;
                let target = self.revision(back).ok_or(Exit::Refused)?;
                let (release, definition) = (target.release.clone(), target.definition.clone());
                Ok(Goal { verb: Verb::Rollback, release, definition })
            }
        }
    }

    async fn carry_out(mut self, interrupts: Interrupts, goal: Goal) -> Result<Exit, Exit> {
        let mut definitions: BTreeMap<_, _> =
            self.revisions.iter().map(|record| (record.release.clone(), record.definition.clone())).collect();
        definitions.insert(goal.release.clone(), goal.definition.clone());
        let spec = self.spec(&definitions, &goal.release);
        let world = Arc::new(Hands { sim: Arc::clone(&self.sim), process: Arc::clone(&self.process) });
        let found = preflight(&world, &spec.hosts, &definitions, &*self.sim).await;
        if !found.unusable.is_empty() {
            return Err(Exit::Unreachable);
        }
        if !spec.obstacles(&found.fleet).is_empty() {
            return Err(Exit::Refused);
        }
        if self.is_settled(&spec, &found, &goal) {
            self.ledger.release_lease()?;
            return Ok(Exit::NothingToDo);
        }
        let revision = match self.reused(&goal) {
            Some(record) => record.revision,
            None => self.ledger.add_revision(&subject(), &new_revision(&goal))?,
        };
        let seen = found.fleet.hosts.values().map(|host| host.epoch).max().unwrap_or_default();
        let (id, epoch) = self.ledger.begin_rollout(&subject(), revision, seen, self.sim.now())?;
        let event = self.started(&goal, revision, epoch);
        let engine = Engine {
            world,
            store: self.ledger,
            reporter: Box::new(Watcher { sim: Arc::clone(&self.sim), number: self.process.number, id }),
            clock: Arc::clone(&self.sim) as Arc<dyn Clock>,
            interrupts,
            fleet_name: FLEET.into(),
            addresses: spec.hosts.iter().map(|host| (host.clone(), host.to_string())).collect(),
            spec: self.sim.broken.spec(spec),
            definitions,
            fleet: found.fleet,
        };
        let (outcome, mut ledger) = engine.run(id, event).await?;
        if outcome == Outcome::Succeeded {
            trim(&mut ledger, revision)?;
        }
        ledger.release_lease()?;
        Ok(Exit::of(goal.verb, &outcome))
    }

    fn past(&self) -> Vec<Past> {
        past(&self.revisions)
    }

    fn current(&self) -> Option<&RevisionRecord> {
        self.revisions.iter().rev().find(|record| record.outcome != Some(Outcome::RolledBack))
    }

    fn revision(&self, number: Revision) -> Option<&RevisionRecord> {
        self.revisions.iter().find(|record| record.revision == number)
    }

    fn reused(&self, goal: &Goal) -> Option<&RevisionRecord> {
        self.current().filter(|current| goal.verb == Verb::Deploy && current.release == goal.release)
    }

    fn spec(&self, definitions: &BTreeMap<ReleaseId, Definition>, goal: &ReleaseId) -> Spec {
        let scene = &self.sim.scene;
        let mut past = self.past();
        let mut newest = past.iter().map(|entry| entry.revision).max().unwrap_or_default();
        if past.last().is_none_or(|last| last.release != *goal) {
            newest = Revision(newest.0 + 1);
            past.push(Past { revision: newest, release: goal.clone(), proven: true });
        }
        let retained = history::retained(&past, newest, HISTORY_LIMIT);
        Spec {
            service: SERVICE.into(),
            hosts: scene.hosts.clone(),
            ports: scene.ports.clone(),
            budget: scene.budget(self.replicas).expect("the scene's calls are possible"),
            min_ready: scene.min_ready,
            progress_deadline: scene.progress_deadline,
            on_failure: scene.on_failure,
            thresholds: definitions
                .iter()
                .map(|(release, definition)| (release.clone(), definition.readiness.thresholds()))
                .collect(),
            max_restarts: scene.readiness.failures,
            keep: history::kept_releases(&past, &retained),
        }
    }

    fn is_settled(&self, spec: &Spec, found: &Preflight, goal: &Goal) -> bool {
        let recorded = self
            .current()
            .is_some_and(|current| current.release == goal.release && current.outcome == Some(Outcome::Succeeded));
        let epoch = found.fleet.hosts.values().map(|host| host.epoch).max().unwrap_or_default();
        let revision = self.reused(goal).map_or(Revision(0), |record| record.revision);
        let now = self.sim.now();
        let entry = Entry { at: now, event: self.started(goal, revision, Epoch(epoch.0 + 1)) };
        let Some(rollout) = Rollout::begin(&entry) else { return false };
        let Plan { actions, next, .. } = plan(spec, &rollout, &found.fleet, now);
        let only_prunes = || actions.iter().all(|action| matches!(action, ship::core::action::Action::Prune { .. }));
        recorded && (next == Next::Finish(Outcome::Succeeded) || !actions.is_empty() && only_prunes())
    }

    fn started(&self, goal: &Goal, revision: Revision, epoch: Epoch) -> Event {
        let is_repair = self.reused(goal).is_some_and(|current| current.proven);
        let fallback = history::fallback(&self.past(), &goal.release)
            .filter(|_| goal.verb == Verb::Deploy && !is_repair)
            .and_then(|back| self.revision(back.revision))
            .map(|record| Generation {
                revision: record.revision,
                release: record.release.clone(),
                version: record.definition.version.clone(),
            });
        Event::RolloutStarted {
            verb: goal.verb,
            service: SERVICE.into(),
            fleet: FLEET.into(),
            target: Generation {
                revision,
                release: goal.release.clone(),
                version: goal.definition.version.clone(),
            },
            fallback,
            replicas: self.replicas,
            epoch,
        }
    }
}

fn past(revisions: &[RevisionRecord]) -> Vec<Past> {
    let past = |record: &RevisionRecord| Past {
        revision: record.revision,
        release: record.release.clone(),
        proven: record.proven,
    };
    revisions.iter().map(past).collect()
}

fn new_revision(goal: &Goal) -> NewRevision {
    NewRevision {
        release: goal.release.clone(),
        definition: goal.definition.clone(),
        playbook: String::new(),
        who: "anna@here".into(),
        cause: "because".into(),
        verb: goal.verb,
    }
}

fn trim(ledger: &mut Ledger, current: Revision) -> Result<(), StoreError> {
    let past = past(&ledger.revisions(&subject())?);
    ledger.retain_revisions(&subject(), &history::retained(&past, current, HISTORY_LIMIT))
}

impl Broken {
    /// The spec as a broken planner takes it.
    fn spec(self, mut spec: Spec) -> Spec {
        match self {
            Broken::LowerFloor => spec.budget.unavailable = (spec.budget.unavailable + 1).min(spec.budget.replicas),
            Broken::HigherCeiling => spec.budget.surge += 1,
            Broken::NoSoak => spec.min_ready = Duration::ZERO,
            Broken::FewerReplicas => {
                spec.budget.replicas = spec.budget.replicas.saturating_sub(1);
                spec.budget.unavailable = spec.budget.unavailable.min(spec.budget.replicas);
            }
            _ => {}
        }
        spec
    }
}

/// The person at the terminal.
struct Watcher {
    sim: Arc<Sim>,
    number: u32,
    id: RolloutId,
}

impl Reporter for Watcher {
    fn event(&mut self, entry: &Entry, status: &Status) {
        let mut state = self.sim.lock();
        state.met(&entry.event);
        state.tell(format_args!("ship{}", self.number), Line(&entry.event));
        let now = state.now;
        state.judge.shown(self.number, self.id.0, status, now);
    }

    fn tick(&mut self, status: &Status, now: ship::core::time::Time) {
        self.sim.lock().judge.shown(self.number, self.id.0, status, now);
    }
}

/// What all digests of the scene have in common.
const DIGEST_TAIL: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// An event on one line.
struct Line<'a>(&'a Event);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = serde_json::to_string(self.0).map_err(|_| std::fmt::Error)?;
        f.write_str(&line.replace(DIGEST_TAIL, ""))
    }
}
