//! One call of `ship`, from the lease to the last word, as the verbs in `cli/` and `cli/rollout`
//! make it: the preflight, the planner and the engine are the real ones.

use ship::core::spec::step::AtGate;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ship::core::ids::{Epoch, ReleaseId, Revision};
use ship::core::journal::rollout_summary::Account;
use ship::core::journal::status::Status;
use ship::core::planner::{Next, Plan, plan};
use ship::core::policy::history::{self, Past};
use ship::core::policy::service_state::Standing;
use ship::core::release::Definition;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Entry, Event, Generation, RolloutStart, Scaling, Then};
use ship::core::rollout::failure::{Failure, FailureKind, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::rollout::{Direction, Rollout};
use ship::core::spec::Spec;
use ship::core::spec::scaling;
use ship::engine::{Clock, Engine, EngineError, Interrupts, Preflight, preflight};
use ship::report::Reporter;
use ship::store::{NewRevision, RevisionRecord, RolloutId, Store, StoreError};

use super::broken::Broken;
use super::ledger::{Ledger, Shelf};
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
    Paused,
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
            (Verb::Rollback, Outcome::Held { .. }) | (_, Outcome::RollbackFailed { .. }) => {
                Exit::RollbackFailed
            }
            (_, Outcome::Held { .. }) => Exit::Held,
            (_, Outcome::Fenced { .. } | Outcome::Closed { .. }) => Exit::Locked,
            (_, Outcome::Interrupted) => Exit::Interrupted,
            (_, Outcome::Paused { .. }) => Exit::Paused,
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
            EngineError::MissingStartEvent => Exit::Internal,
        }
    }
}

/// What is wanted.
struct Goal {
    verb: Verb,
    release: ReleaseId,
    definition: Definition,
    earlier: Option<Earlier>,
}

/// A rollout that goes on, and how.
struct Earlier {
    rollout: Rollout,
    then: GoOn,
}

enum GoOn {
    Onward,
    Back,
    Scaled(Outcome),
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
    let mut session = Session {
        sim,
        process,
        ledger,
        replicas: 0,
        revisions: Vec::new(),
    };
    let goal = match session.begin(call) {
        Ok(goal) => goal,
        Err(exit) => return exit,
    };
    session
        .carry_out(interrupts, goal)
        .await
        .unwrap_or_else(|exit| exit)
}

/// The newest rollout, as its journal tells.
pub(crate) fn newest_rollout(store: &dyn Shelf) -> Option<Rollout> {
    Rollout::of(&journal(store))
}

/// How the service stands when nobody is at work.
pub(crate) fn standing(store: &dyn Shelf) -> Standing {
    Standing::of(Account::of(&journal(store)).as_ref(), false)
}

fn journal(store: &dyn Shelf) -> Vec<Entry> {
    store
        .newest_journal(&subject())
        .ok()
        .flatten()
        .map(|(_, journal)| journal)
        .unwrap_or_default()
}

impl Session {
    /// The verbs' own parts.
    fn begin(&mut self, call: Call) -> Result<Goal, Exit> {
        self.ledger
            .acquire_lease(&subject(), &format!("{call:?}"))?;
        self.revisions = self.ledger.revisions(&subject())?;
        let standing = standing(&*self.ledger.shelf);
        if standing.refusal(call.ask(), SERVICE).is_some() {
            return Err(Exit::Refused);
        }
        let rollout = newest_rollout(&*self.ledger.shelf);
        let current = self.current().cloned();
        let of = |verb, record: RevisionRecord| Goal {
            verb,
            release: record.release,
            definition: record.definition,
            earlier: None,
        };
        match call {
            Call::Deploy { release, replicas } => {
                self.replicas = replicas;
                let definition = self.sim.scene.definition(release);
                Ok(Goal {
                    verb: Verb::Deploy,
                    release: release_id(release),
                    definition,
                    earlier: None,
                })
            }
            Call::Rollback { replicas } => {
                self.replicas = replicas;
                let present = current.ok_or(Exit::Refused)?;
                let back = history::rollback_target(&self.past(), &present.release)
                    .ok_or(Exit::Refused)?
                    .revision;
                Ok(of(
                    Verb::Rollback,
                    self.revision(back).cloned().ok_or(Exit::Refused)?,
                ))
            }
            Call::Restart { replicas } => {
                self.replicas = replicas;
                Ok(of(Verb::Restart, current.ok_or(Exit::Refused)?))
            }
            Call::Scale { replicas } => {
                self.replicas = replicas;
                match rollout.filter(|_| standing.is_between()) {
                    Some(rollout) => {
                        let stands = rollout.outcome.clone().unwrap_or(Outcome::Interrupted);
                        self.go_on(rollout, GoOn::Scaled(stands))
                    }
                    None => Ok(of(Verb::Scale, current.ok_or(Exit::Refused)?)),
                }
            }
            Call::Resume | Call::Abort => {
                let rollout = rollout.ok_or(Exit::Refused)?;
                let is_back = matches!(rollout.direction, Direction::Back(_));
                if call == Call::Abort && !is_back && rollout.fallback.is_none() {
                    return Err(Exit::Refused);
                }
                self.replicas = self.begun_with();
                self.go_on(
                    rollout,
                    if call == Call::Abort {
                        GoOn::Back
                    } else {
                        GoOn::Onward
                    },
                )
            }
        }
    }

    fn begun_with(&self) -> u32 {
        match journal(&*self.ledger.shelf)
            .first()
            .map(|entry| &entry.event)
        {
            Some(Event::RolloutStarted(start)) => start.replicas,
            _ => 0,
        }
    }

    fn go_on(&self, rollout: Rollout, then: GoOn) -> Result<Goal, Exit> {
        let record = self.revision(rollout.goal.revision).ok_or(Exit::Refused)?;
        Ok(Goal {
            verb: rollout.verb,
            release: record.release.clone(),
            definition: record.definition.clone(),
            earlier: Some(Earlier { rollout, then }),
        })
    }

    async fn carry_out(mut self, interrupts: Interrupts, goal: Goal) -> Result<Exit, Exit> {
        let mut definitions: BTreeMap<_, _> = self
            .revisions
            .iter()
            .map(|record| (record.release.clone(), record.definition.clone()))
            .collect();
        definitions.insert(goal.release.clone(), goal.definition.clone());
        let spec = self
            .spec(&definitions, &goal.release)
            .ok_or(Exit::Refused)?;
        self.sim
            .lock()
            .judge
            .allow(self.process.number, spec.budget);
        let world = Arc::new(Hands {
            sim: Arc::clone(&self.sim),
            process: Arc::clone(&self.process),
        });
        let found = preflight(&world, &spec.hosts, None, &definitions, &*self.sim).await;
        if found.unusable.len() > spec.max_failures as usize {
            return Err(Exit::Unreachable);
        }
        if !spec.obstacles(&goal.release, &found.fleet).is_empty() {
            return Err(Exit::Refused);
        }
        if self.is_settled(&spec, &found, &goal) {
            self.ledger.release_lease()?;
            return Ok(Exit::NothingToDo);
        }
        let revision = match self.reused(&goal) {
            Some(revision) => revision,
            None => self.ledger.add_revision(&subject(), &new_revision(&goal))?,
        };
        let seen = found
            .fleet
            .hosts
            .values()
            .map(|host| host.epoch)
            .max()
            .unwrap_or_default();
        let (id, epoch) = self
            .ledger
            .begin_rollout(&subject(), revision, seen, self.sim.now())?;
        let opening = self.opening(&found, &goal, revision, epoch);
        let mut fleet = found.fleet;
        if self.sim.broken == Broken::SeemsClaimed {
            fleet.hosts.values_mut().for_each(|host| host.epoch = epoch);
        }
        let mut ledger = self.ledger;
        let engine = Engine {
            executor: world,
            store: &mut ledger,
            reporter: Box::new(Watcher {
                sim: Arc::clone(&self.sim),
                number: self.process.number,
                id,
            }),
            clock: Arc::clone(&self.sim) as Arc<dyn Clock>,
            interrupts,
            fleet_name: FLEET.into(),
            addresses: spec
                .hosts
                .iter()
                .map(|host| (host.clone(), host.to_string()))
                .collect(),
            spec: self.sim.broken.spec(spec),
            definitions,
            fleet,
            loss: None,
            veil: ship::core::redact::Veil::default(),
        };
        let outcome = engine.run(id, opening).await?;
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
        self.revisions
            .iter()
            .rev()
            .find(|record| record.outcome != Some(Outcome::RolledBack))
    }

    fn revision(&self, number: Revision) -> Option<&RevisionRecord> {
        self.revisions
            .iter()
            .find(|record| record.revision == number)
    }

    fn reused(&self, goal: &Goal) -> Option<Revision> {
        if let Some(earlier) = &goal.earlier {
            return Some(earlier.rollout.goal.revision);
        }
        let current = self.current().filter(|current| {
            let is_same = current.verb == Verb::Deploy && current.release == goal.release;
            goal.verb == Verb::Deploy && is_same && current.outcome != Some(Outcome::Succeeded)
        });
        current.map(|current| current.revision)
    }

    fn spec(
        &self,
        definitions: &BTreeMap<ReleaseId, Definition>,
        goal: &ReleaseId,
    ) -> Option<Spec> {
        let scene = &self.sim.scene;
        let mut past = self.past();
        let mut newest = past
            .iter()
            .map(|entry| entry.revision)
            .max()
            .unwrap_or_default();
        if past.last().is_none_or(|last| last.release != *goal) {
            newest = Revision(newest.0 + 1);
            past.push(Past {
                revision: newest,
                release: goal.clone(),
                verb: Verb::Deploy,
                proven: true,
            });
        }
        let retained = history::retained(&past, newest, HISTORY_LIMIT);
        Some(Spec {
            service: SERVICE.into(),
            hosts: scene.hosts.clone(),
            ports: scene.ports.clone(),
            budget: scene.budget(self.replicas)?,
            release_ports: BTreeMap::new(),
            budget_back: None,
            min_ready: scene.min_ready,
            progress_deadline: scene.progress_deadline,
            max_failures: scene.max_failures,
            on_failure: scene.on_failure,
            thresholds: definitions
                .iter()
                .map(|(release, definition)| (release.clone(), definition.readiness.thresholds()))
                .collect(),
            waits: definitions
                .iter()
                .map(|(release, definition)| (release.clone(), definition.waits()))
                .collect(),
            steps: Vec::new(),
            at_gate: AtGate::default(),
            hours: ship::core::spec::windows::Hours::default(),
            chores: Vec::new(),
            analyses: Vec::new(),
            traffic: None,
            keep: history::kept_releases(&past, &retained),
        })
    }

    fn is_settled(&self, spec: &Spec, found: &Preflight, goal: &Goal) -> bool {
        let recorded = self.current().is_some_and(|current| {
            current.release == goal.release && current.outcome == Some(Outcome::Succeeded)
        });
        let epoch = found
            .fleet
            .hosts
            .values()
            .map(|host| host.epoch)
            .max()
            .unwrap_or_default();
        let revision = self.reused(goal).unwrap_or_default();
        let at = self.sim.now();
        let opening = self
            .opening(found, goal, revision, Epoch(epoch.0 + 1))
            .into_iter();
        let opening: Vec<_> = opening.map(|event| Entry { at, event }).collect();
        let Some(rollout) = Rollout::of(&opening) else {
            return false;
        };
        let Plan { actions, next, .. } = plan(spec, &rollout, &found.fleet, at);
        let only_tidies = || {
            actions
                .iter()
                .all(|action| matches!(action, Action::Claim { .. } | Action::Prune { .. }))
        };
        let complete = next == Next::Finish(Outcome::Succeeded)
            || next == Next::AwaitInFlight && only_tidies();
        let makes_nothing_new = goal.earlier.is_none() && goal.verb != Verb::Restart;
        let newest = Account::of(&journal(&*self.ledger.shelf));
        let owes_nothing = newest.is_none_or(|account| account.left_behind.is_empty());
        makes_nothing_new && owes_nothing && recorded && complete
    }

    fn opening(
        &self,
        found: &Preflight,
        goal: &Goal,
        revision: Revision,
        epoch: Epoch,
    ) -> Vec<Event> {
        let earlier = goal.earlier.as_ref();
        let target = Generation {
            revision,
            release: goal.release.clone(),
            version: goal.definition.version.clone(),
        };
        let fallback = match earlier {
            Some(earlier) => earlier.rollout.fallback.clone(),
            None => self.fallback(goal),
        };
        let start = Event::RolloutStarted(RolloutStart {
            verb: goal.verb,
            service: SERVICE.into(),
            fleet: FLEET.into(),
            is_proven: earlier.map_or_else(
                || fallback.is_none() && history::is_proven(&self.past(), &goal.release),
                |earlier| earlier.rollout.is_proven,
            ),
            scaling: earlier
                .and_then(|earlier| self.scaling(found, &target, fallback.as_ref(), &earlier.then)),
            target,
            fallback,
            replicas: self.replicas,
            fallback_replicas: None,
            epoch,
            set: Vec::new(),
        });
        let turn = earlier.and_then(
            |earlier| match (&earlier.then, &earlier.rollout.direction) {
                (_, Direction::Back(failure)) => Some(Event::RolloutFailed {
                    failure: failure.clone(),
                    log: Vec::new(),
                    then: Then::RollBack,
                }),
                (GoOn::Back, _) => Some(Event::Aborted {
                    by: "anna@here".into(),
                }),
                (_, Direction::Forward) => earlier
                    .rollout
                    .aborted
                    .clone()
                    .map(|by| Event::Aborted { by }),
                (_, Direction::Held { .. }) => None,
            },
        );
        let lost = found
            .unusable
            .iter()
            .map(|(host, unusable)| Event::HostQuarantined {
                failure: Failure {
                    kind: FailureKind::HostLost,
                    host: Some(host.clone()),
                    slot: None,
                    detail: unusable.why.clone(),
                    waited: Duration::ZERO,
                },
                log: Vec::new(),
            });
        [start].into_iter().chain(turn).chain(lost).collect()
    }

    fn fallback(&self, goal: &Goal) -> Option<Generation> {
        let back = match goal.verb {
            Verb::Deploy => history::fallback(&self.past(), &goal.release)
                .and_then(|back| self.revision(back.revision)),
            Verb::Rollback => self.current().filter(|current| {
                current.release != goal.release
                    && history::is_proven(&self.past(), &current.release)
            }),
            Verb::Adopt | Verb::Restart | Verb::Scale | Verb::Contract => None,
        };
        back.map(|record| Generation {
            revision: record.revision,
            release: record.release.clone(),
            version: record.definition.version.clone(),
        })
    }

    fn scaling(
        &self,
        found: &Preflight,
        target: &Generation,
        fallback: Option<&Generation>,
        then: &GoOn,
    ) -> Option<Scaling> {
        let GoOn::Scaled(outcome) = then else {
            return None;
        };
        let known = [Some(target), fallback]
            .into_iter()
            .flatten()
            .map(|generation| &generation.release);
        let shares = scaling::shares(
            &found.fleet,
            &known.collect::<Vec<_>>(),
            &target.release,
            self.replicas,
        );
        Some(Scaling {
            shares,
            then: Box::new(outcome.clone()),
        })
    }
}

fn past(revisions: &[RevisionRecord]) -> Vec<Past> {
    let past = |record: &RevisionRecord| Past {
        revision: record.revision,
        release: record.release.clone(),
        verb: record.verb,
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
    ledger.retain_revisions(
        &subject(),
        &history::retained(&past, current, HISTORY_LIMIT),
    )
}

impl Broken {
    /// The spec as a broken planner takes it.
    fn spec(self, mut spec: Spec) -> Spec {
        match self {
            Broken::LowerFloor => {
                spec.budget.unavailable = (spec.budget.unavailable + 1).min(spec.budget.replicas);
            }
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
        self.sim
            .lock()
            .judge
            .shown(self.number, self.id.0, status, now);
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
