//! What must always hold. It watches the true world and what each controller was told, and does its
//! own arithmetic: it shares nothing with the planner, and nothing with the model's checks.
//!
//! Acts are judged, not states: what the world takes away is not the doing of `ship`. So a stop
//! that leaves too few serving instances is excused as far as the controller could not know better
//! when it gave the order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ship::core::fleet::health::Verdict;
use ship::core::fleet::{Instance, Listener, Observation, Occupant};
use ship::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Revision};
use ship::core::journal::status::{InstanceStatus, Status};
use ship::core::release::Readiness;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Entry, Event, FailureResponse, RevisionRef, RolloutStart};
use ship::core::rollout::failure::{FailureKind, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::spec::budget::Budget;
use ship::core::time::Time;
use ship::engine::ActionOrder;
use tokio::sync::Notify;

use super::machine::Machine;

/// How long a host may stand still without a word about why: longer than the moment between two
/// plans.
const SILENCE: Duration = Duration::from_millis(1500);

/// How long a look at a host is good for.
const SIGHT: Duration = Duration::from_secs(30);

/// Why a held rollout stands.
const HELD: &str = "the rollout is held";

/// How long a lease is good without a word of its holder.
const LEASE: Duration = Duration::from_secs(30);

/// The judge of one run.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    instances: BTreeMap<InstanceId, Truth>,
    controllers: BTreeMap<u32, Mind>,
    decisions: BTreeMap<(Epoch, ActionId), Decision>,
    journals: BTreeMap<i64, Journal>,
    /// The newest epoch in which anything was started or stopped.
    acting: Epoch,
    /// The slots of each host.
    ports: usize,
    hosts: usize,
    /// The newest order that each host has obeyed.
    obeyed: BTreeMap<HostId, (Epoch, ActionId)>,
    /// Who holds the lease, or thinks so, and when it last said that it lives.
    leases: BTreeMap<u32, Time>,
    /// The epochs with which somebody took the lease away.
    unlocked: BTreeSet<Epoch>,
    /// The first thing that must not be.
    violation: Option<String>,
    alarm: Arc<Notify>,
}

/// An instance as it truly is.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own"
)]
struct Truth {
    host: HostId,
    release: ReleaseId,
    revision: Revision,
    /// The epoch in which it was started; none if it was there before everything.
    epoch: Option<Epoch>,
    runs: bool,
    serves: bool,
    first_served: Option<Time>,
    /// When the world last took it away.
    harmed: Option<Time>,
    /// When the world last brought it back.
    revived: Option<Time>,
    /// Whether an order has ended it.
    is_stopped: bool,
    /// Whether it served until then.
    served_to_the_end: bool,
}

/// What one controller was told, and what it is allowed.
#[derive(Debug)]
struct Mind {
    budget: Budget,
    min_ready: Duration,
    readiness: Readiness,
    /// That of its rollout, once it has begun.
    epoch: Option<Epoch>,
    told: BTreeMap<InstanceId, Told>,
    seen: BTreeMap<HostId, Seen>,
    lost: BTreeSet<HostId>,
    /// Hosts that seem to be passed over without a word, and since when.
    silent: BTreeMap<HostId, Time>,
}

/// What the probes of an instance have told a controller.
#[derive(Debug, Default)]
struct Told {
    is_ready: bool,
    passes: u32,
    failures: u32,
    /// When it was last asked, and whether it passed.
    last: Option<(Time, bool)>,
}

/// What a look at a host has shown a controller.
#[derive(Debug)]
struct Seen {
    at: Time,
    instances: BTreeMap<InstanceId, Glimpse>,
}

#[derive(Debug)]
struct Glimpse {
    runs: bool,
    restarts: u32,
    listener: Listener,
}

/// An order, and what its giver could not know when it decided on it.
#[derive(Debug)]
struct Decision {
    at: Time,
    budget: Budget,
    min_ready: Duration,
    /// Instances that no longer serve, though the giver had every reason to believe so.
    excused: BTreeSet<InstanceId>,
    /// Instances that run, though the giver had every reason to believe otherwise.
    hidden: BTreeSet<InstanceId>,
    /// Hosts that are left behind.
    written_off: BTreeSet<HostId>,
    /// Whether the instance to be stopped was, to all that the giver knew, of no use.
    is_free: bool,
}

/// A rollout's journal, as far as it is durable.
#[derive(Debug, Default)]
struct Journal {
    epoch: Epoch,
    start: Option<RolloutStart>,
    left_behind: BTreeMap<HostId, FailureKind>,
    started: BTreeMap<ActionId, (Action, Option<InstanceId>)>,
    in_flight: BTreeMap<ActionId, HostId>,
    /// Why nothing new may be ordered.
    standstill: Option<&'static str>,
    is_finished: bool,
}

/// What an order has done to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Claimed,
    Staged,
    Launched,
    Terminated,
    Disarmed,
    Pruned,
}

/// Why the state of a host has changed.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    World,
    Launch(Epoch),
    Stop(InstanceId),
}

impl Judge {
    pub(crate) fn of(hosts: usize, ports: usize) -> Self {
        Self {
            ports,
            hosts,
            ..Self::default()
        }
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Something is as it must not be. The first such thing counts.
    pub(crate) fn object(&mut self, what: String) {
        self.violation.get_or_insert(what);
        self.alarm.notify_one();
    }

    /// Rings once something is as it must not be.
    pub(crate) fn alarm(&self) -> Arc<Notify> {
        Arc::clone(&self.alarm)
    }

    // ── the truth ────────────────────────────────────────────────────────────────────────────────

    /// Takes in how a host is now.
    pub(crate) fn look(&mut self, now: Time, host: &HostId, machine: &Machine, cause: &Cause) {
        for record in machine.slots.values() {
            let (runs, serves) = (machine.is_on && record.is_running(), machine.serves(record));
            let epoch = match cause {
                Cause::Launch(epoch) => Some(*epoch),
                _ => None,
            };
            let truth = self
                .instances
                .entry(record.name.clone())
                .or_insert_with(|| Truth {
                    host: host.clone(),
                    release: record.release.clone(),
                    revision: record.revision,
                    epoch,
                    runs: false,
                    serves: false,
                    first_served: None,
                    harmed: None,
                    revived: None,
                    is_stopped: false,
                    served_to_the_end: false,
                });
            if matches!(cause, Cause::Stop(name) if *name == record.name) && !truth.is_stopped {
                (truth.is_stopped, truth.served_to_the_end) = (true, truth.serves);
            }
            truth.change(now, runs, serves, cause);
        }
        let names: BTreeSet<_> = machine.slots.values().map(|record| &record.name).collect();
        let gone = self
            .instances
            .iter_mut()
            .filter(|(name, truth)| truth.host == *host && !names.contains(name));
        gone.for_each(|(_, truth)| truth.change(now, false, false, cause));
    }

    /// Instances that truly run, and those of them that truly serve.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&InstanceId, &ReleaseId, bool)> {
        self.instances
            .iter()
            .filter(|(_, is)| is.runs)
            .map(|(name, is)| (name, &is.release, is.serves))
    }

    // ── what a controller knows ──────────────────────────────────────────────────────────────────

    /// A controller has been started.
    pub(crate) fn begin(&mut self, controller: u32, min_ready: Duration, readiness: Readiness) {
        let mind = Mind {
            budget: Budget {
                replicas: 0,
                surge: 0,
                unavailable: 0,
            },
            min_ready,
            readiness,
            epoch: None,
            told: BTreeMap::new(),
            seen: BTreeMap::new(),
            lost: BTreeSet::new(),
            silent: BTreeMap::new(),
        };
        self.controllers.insert(controller, mind);
    }

    /// What a controller may spend.
    pub(crate) fn allow(&mut self, controller: u32, budget: Budget) {
        if let Some(mind) = self.controllers.get_mut(&controller) {
            mind.budget = budget;
        }
    }

    /// A controller's rollout begins.
    pub(crate) fn begun(&mut self, controller: u32, epoch: Epoch) {
        if let Some(mind) = self.controllers.get_mut(&controller) {
            mind.epoch = Some(epoch);
        }
    }

    /// A controller has got the lease: nobody else may hold it who lives and has said so lately.
    pub(crate) fn leased(&mut self, controller: u32, now: Time) {
        let rival = self
            .leases
            .iter()
            .find(|(other, heard)| **other != controller && now.since(**heard) <= LEASE);
        if let Some((rival, _)) = rival {
            self.object(format!(
                "ship{controller} gets the lease while ship{rival} holds it"
            ));
        }
        self.leases.insert(controller, now);
    }

    /// A controller has said that it lives.
    pub(crate) fn is_alive(&mut self, controller: u32, now: Time) {
        self.leases.insert(controller, now);
    }

    /// Somebody takes the lease away from whoever holds it, and tells the hosts by a new epoch.
    pub(crate) fn lease_broken(&mut self, epoch: Epoch) {
        self.leases.clear();
        self.unlocked.insert(epoch);
    }

    /// A controller's process is gone.
    pub(crate) fn gone(&mut self, controller: u32) {
        self.leases.remove(&controller);
    }

    /// A controller hears what an instance has answered to a question of that moment.
    pub(crate) fn answered(
        &mut self,
        controller: u32,
        host: &HostId,
        instance: &Instance,
        asked: Time,
        is: &Verdict,
    ) {
        let Some(mind) = self.controllers.get_mut(&controller) else {
            return;
        };
        let listener = mind
            .seen
            .get(host)
            .and_then(|seen| seen.instances.get(&instance.name));
        let is_pass = match (is, listener.map(|glimpse| &glimpse.listener)) {
            (Verdict::Error(_), _) | (Verdict::Pass(_), Some(Listener::Nobody) | None) => return,
            (Verdict::Pass(_), Some(Listener::Own { .. })) => true,
            (Verdict::Pass(_), Some(Listener::Other { .. } | Listener::Stray { .. }))
            | (Verdict::Fail(_), _) => false,
        };
        let stale_after = mind.stale_after();
        let told = mind.told.entry(instance.name.clone()).or_default();
        if is_pass {
            (told.passes, told.failures) = (told.passes + 1, 0);
            // Before the rollout begins, one question asks how it has been until now.
            told.is_ready |=
                mind.epoch.is_none() || told.passes >= mind.readiness.success_threshold;
        } else {
            (told.passes, told.failures) = (0, told.failures + 1);
            let is_fresh = told
                .last
                .is_some_and(|(before, _)| asked.since(before) <= stale_after);
            told.is_ready &= told.failures < mind.readiness.failure_threshold && is_fresh;
        }
        told.last = Some((asked, is_pass));
    }

    /// A controller sees how a host was at a moment.
    pub(crate) fn saw(
        &mut self,
        controller: u32,
        host: &HostId,
        at: Time,
        observation: &Observation,
    ) {
        let Some(mind) = self.controllers.get_mut(&controller) else {
            return;
        };
        mind.lost.remove(host);
        let mut instances = BTreeMap::new();
        for occupant in observation.slots.values() {
            let Occupant::Instance(instance) = occupant else {
                continue;
            };
            let (runs, restarts) = (instance.is_running(), instance.restarts);
            instances.insert(
                instance.name.clone(),
                Glimpse {
                    runs,
                    restarts,
                    listener: instance.listener.clone(),
                },
            );
        }
        let before = mind.seen.insert(host.clone(), Seen { at, instances });
        let now = &mind.seen[host].instances;
        for (name, glimpse) in before.into_iter().flat_map(|seen| seen.instances) {
            if !now
                .get(&name)
                .is_some_and(|is| is.runs && is.restarts == glimpse.restarts)
            {
                mind.told.remove(&name);
            }
        }
    }

    /// A controller cannot reach a host.
    pub(crate) fn lost(&mut self, controller: u32, host: &HostId) {
        if let Some(mind) = self.controllers.get_mut(&controller) {
            mind.lost.insert(host.clone());
        }
    }

    // ── orders ───────────────────────────────────────────────────────────────────────────────────

    /// An order leaves its controller.
    pub(crate) fn sent(&mut self, order: &ActionOrder) {
        let journal = self
            .journals
            .values()
            .find(|journal| journal.epoch == order.epoch);
        let intended = journal.and_then(|journal| journal.started.get(&order.id));
        let name = order.instance.as_ref().map(|(_, name)| name.clone());
        let is_claim = matches!(order.action, Action::Claim { .. });
        if is_claim && self.unlocked.contains(&order.epoch) {
            return;
        }
        if intended != Some(&(order.action.clone(), name)) {
            self.object(format!(
                "{} is ordered and its intent is not in the journal",
                order.action
            ));
        }
        if let Action::Start { .. } | Action::Stop { .. } = order.action {
            self.acting = self.acting.max(order.epoch);
        }
    }

    /// An order was decided on: what could its giver not know then?
    fn decided(&mut self, controller: u32, rollout: i64, id: ActionId, action: &Action, now: Time) {
        let (Some(mind), Some(journal)) = (
            self.controllers.get(&controller),
            self.journals.get(&rollout),
        ) else {
            return self.object(format!("{action} is ordered by nobody"));
        };
        let names = |wanted: &dyn Fn(&InstanceId, &Truth) -> bool| {
            let found = self
                .instances
                .iter()
                .filter(|(name, truth)| wanted(name, truth));
            found.map(|(name, _)| name.clone()).collect()
        };
        let decision = Decision {
            at: now,
            written_off: journal.left_behind.keys().cloned().collect(),
            budget: mind.budget,
            min_ready: mind.min_ready,
            excused: names(&|name, truth| mind.must_believe_in(name, truth, now)),
            hidden: names(&|name, truth| mind.cannot_know_of(name, truth, now)),
            is_free: matches!(action, Action::Stop { instance, .. } if mind.knows_useless(instance, now)),
        };
        self.decisions.insert((journal.epoch, id), decision);
    }

    /// An order takes effect; the host is as it was before.
    pub(crate) fn deed(
        &mut self,
        now: Time,
        host: &HostId,
        machine: &Machine,
        order: &ActionOrder,
        deed: Deed,
    ) {
        let what = &order.action;
        let acting = self
            .journals
            .values()
            .find(|journal| journal.epoch == self.acting);
        let left_behind = acting.is_some_and(|acting| acting.left_behind.contains_key(host));
        if order.epoch < self.acting && !left_behind {
            let newer = self.acting;
            self.object(format!(
                "{what}, of epoch {}, takes effect though epoch {newer} has begun to start and \
                 stop",
                order.epoch
            ));
        }
        let newest = self.obeyed.entry(host.clone()).or_default();
        if (order.epoch, order.id) < *newest {
            let (epoch, id) = *newest;
            self.object(format!(
                "{what}, number {} of epoch {}, takes effect on {host} after number {} of epoch \
                 {epoch}",
                order.id.0, order.epoch, id.0
            ));
        } else {
            *newest = (order.epoch, order.id);
        }
        match (deed, &order.action) {
            (Deed::Launched, Action::Start { release, .. }) => {
                if !machine.releases.contains(release) {
                    self.object(format!("{what}: the release is not on the host"));
                }
                self.judge_start(order);
            }
            (Deed::Terminated, Action::Stop { instance, .. }) => {
                self.judge_stop(order, instance, now);
            }
            (Deed::Pruned, Action::Prune { releases, .. }) => {
                let runs = machine
                    .slots
                    .values()
                    .any(|record| releases.contains(&record.release));
                if runs {
                    self.object(format!("{what}: one of them is in a slot"));
                }
            }
            _ => {}
        }
    }

    /// Too many may run only if the world has brought one back that nobody could know of.
    fn judge_start(&mut self, order: &ActionOrder) {
        let Some(decision) = self.decisions.get(&(order.epoch, order.id)) else {
            return;
        };
        let came = |truth: &Truth| truth.revived.is_some_and(|revived| revived > decision.at);
        let known = self.instances.iter().filter(|(name, truth)| {
            truth.runs
                && !decision.hidden.contains(name)
                && !came(truth)
                && !decision.written_off.contains(&truth.host)
        });
        let running = known.count() + 1;
        let most = decision.budget.replicas + decision.budget.surge;
        if running > most as usize {
            self.object(format!(
                "{}: now {running} instances run, and at most {most} may",
                order.action
            ));
        }
    }

    /// Too few may serve only if the world has taken one away and nobody could know.
    fn judge_stop(&mut self, order: &ActionOrder, stopped: &InstanceId, now: Time) {
        let Some(decision) = self.decisions.get(&(order.epoch, order.id)) else {
            return;
        };
        if decision.is_free
            || !self
                .instances
                .get(stopped)
                .is_some_and(|truth| truth.serves)
        {
            return;
        }
        let counts = |(name, truth): &(&InstanceId, &Truth)| {
            // Other stops may have been ordered since, on the strength of instances that had not
            // soaked before.
            let is_excused = decision.excused.contains(*name);
            let until = match truth.harmed.filter(|_| !truth.serves) {
                None => now,
                Some(_) if is_excused => decision.at,
                Some(harmed) => harmed,
            };
            let old_enough = truth.epoch != Some(order.epoch)
                || truth
                    .first_served
                    .is_some_and(|since| since + decision.min_ready <= until);
            let taken = is_excused || truth.harmed.is_some_and(|harmed| harmed > decision.at);
            *name != stopped && old_enough && !truth.served_to_the_end && (truth.serves || taken)
        };
        let left = self.instances.iter().filter(counts).count();
        let fewest = decision.budget.replicas - decision.budget.unavailable;
        if left < fewest as usize {
            self.object(format!(
                "{} leaves {left} instances that serve, and {fewest} must stay",
                order.action
            ));
        }
    }

    // ── the journal ──────────────────────────────────────────────────────────────────────────────

    /// Events have become durable.
    pub(crate) fn recorded(&mut self, controller: u32, rollout: i64, entries: &[Entry], now: Time) {
        for entry in entries {
            let mut objections = Vec::new();
            self.journals
                .entry(rollout)
                .or_default()
                .take(&entry.event, &mut objections);
            for objection in objections {
                self.object(objection);
            }
            if let Event::ActionStarted { id, action, .. } = &entry.event {
                self.decided(controller, rollout, *id, action, now);
            }
        }
    }

    /// A rollout's end has become durable.
    pub(crate) fn ended(&mut self, controller: u32, rollout: i64, outcome: &Outcome, now: Time) {
        let Some(journal) = self.journals.get(&rollout) else {
            return self.object("a rollout ends that never began".into());
        };
        let Some(mind) = self.controllers.get(&controller) else {
            return;
        };
        let Some(start) = &journal.start else { return };
        let wanted = match outcome {
            Outcome::Succeeded => Some(&start.target),
            Outcome::RolledBack => start.fallback.as_ref(),
            _ => return,
        };
        let Some(RevisionRef {
            release, revision, ..
        }) = wanted
        else {
            return self.object(format!(
                "a rollout ends as {} and has nowhere to go",
                outcome.word()
            ));
        };
        let is_fresh = |truth: &Truth| start.verb != Verb::Restart || truth.revision == *revision;
        let serving = self.instances.iter().filter(|(name, truth)| {
            let old_enough = truth.epoch != Some(journal.epoch)
                || truth
                    .first_served
                    .is_some_and(|since| since + mind.min_ready <= now);
            truth.release == *release
                && is_fresh(truth)
                && old_enough
                && !truth.is_stopped
                && (truth.serves || mind.must_believe_in(name, truth, now))
        });
        let serving = serving.count();
        let left = &journal.left_behind;
        let known: Vec<_> = self
            .instances
            .iter()
            .filter(|(name, truth)| {
                truth.runs
                    && !mind.cannot_know_of(name, truth, now)
                    && !left.contains_key(&truth.host)
            })
            .collect();
        let replicas = mind.budget.replicas as usize;
        let least = if left.is_empty() {
            replicas
        } else {
            replicas.min((self.hosts - left.len()) * self.ports)
        };
        let other = known
            .iter()
            .find(|(_, truth)| truth.release != *release || !is_fresh(truth));
        let objection = if serving < least {
            format!("{}: {serving} of {least} instances serve", outcome.word())
        } else if let Some((name, _)) = other {
            format!("{}: and yet {name} runs", outcome.word())
        } else if known.len() > replicas {
            format!(
                "{}: {} instances run instead of {replicas}",
                outcome.word(),
                known.len()
            )
        } else {
            return;
        };
        self.object(objection);
    }

    /// Whether every rollout that began has come to its end, and nothing of it is in flight.
    pub(crate) fn newest_is_finished(&self) -> bool {
        self.journals
            .last_key_value()
            .is_none_or(|(_, journal)| journal.is_finished && journal.in_flight.is_empty())
    }

    /// How many orders were ever given.
    pub(crate) fn orders(&self) -> usize {
        self.decisions.len()
    }

    /// A person is shown this: a host on which something is not as wanted, and which has no order,
    /// must be explained.
    pub(crate) fn shown(&mut self, controller: u32, rollout: i64, status: &Status, now: Time) {
        let Some(journal) = self.journals.get(&rollout) else {
            return;
        };
        let Some(mind) = self.controllers.get_mut(&controller) else {
            return;
        };
        // Where only the numbers change, each release keeps its part, whatever becomes of it.
        let stands = journal.standstill.is_some()
            || journal
                .start
                .as_ref()
                .is_some_and(|start| start.scaling.is_some());
        let busy: BTreeSet<_> = journal.in_flight.values().collect();
        let odd = status.instances.iter().filter(|row| {
            row.status != InstanceStatus::Running || Some(&row.version) != status.version.as_ref()
        });
        let unexplained: BTreeMap<HostId, String> = odd
            .filter(|row| {
                !busy.contains(&row.host) && !status.holds.iter().any(|held| held.host == row.host)
            })
            .map(|row| (row.host.clone(), format!("{} is {}", row.name, row.status)))
            .collect();
        let mut silent = None;
        mind.silent
            .retain(|host, _| unexplained.contains_key(host) && !stands);
        for (host, what) in unexplained.into_iter().filter(|_| !stands) {
            let since = *mind.silent.entry(host.clone()).or_insert(now);
            if now.since(since) > SILENCE {
                silent.get_or_insert(format!("{host} has neither an order nor a hold: {what}"));
            }
        }
        if let Some(silent) = silent {
            self.object(silent);
        }
    }
}

impl Truth {
    fn change(&mut self, now: Time, runs: bool, serves: bool, cause: &Cause) {
        if self.serves && !serves && !self.is_stopped {
            self.harmed = Some(now);
        }
        if !self.runs && runs && matches!(cause, Cause::World) {
            (self.revived, self.is_stopped, self.served_to_the_end) = (Some(now), false, false);
        }
        if serves {
            self.first_served.get_or_insert(now);
        }
        (self.runs, self.serves) = (runs, serves);
    }
}

impl Mind {
    /// A verdict older than this says nothing, counted from when the question was asked.
    fn stale_after(&self) -> Duration {
        const SLACK: Duration = Duration::from_secs(5);
        self.readiness.interval + self.readiness.timeout * 2 + SLACK
    }

    /// Whether an instance that no longer serves must seem to: it was ready by all answers so far,
    /// and nothing that was seen of its host since speaks against it.
    fn must_believe_in(&self, name: &InstanceId, truth: &Truth, now: Time) -> bool {
        let told = self.told.get(name).is_some_and(|told| {
            told.is_ready
                && told
                    .last
                    .is_some_and(|(asked, _)| now.since(asked) <= self.stale_after())
        });
        !truth.serves && !truth.is_stopped && told && !self.lost.contains(&truth.host)
    }

    /// Whether an instance runs that was ended, by all that is known: the world has brought it back
    /// since.
    fn cannot_know_of(&self, name: &InstanceId, truth: &Truth, now: Time) -> bool {
        let is_good = |seen: &&Seen| now.since(seen.at) <= SIGHT || self.lost.contains(&truth.host);
        let Some(seen) = self.seen.get(&truth.host).filter(is_good) else {
            return false;
        };
        let was_running = seen.instances.get(name).is_some_and(|glimpse| glimpse.runs);
        truth.runs && !was_running && truth.revived.is_some_and(|revived| revived > seen.at)
    }

    /// Whether an instance is of no use by all that is known: it fails, or it has ended.
    fn knows_useless(&self, name: &InstanceId, now: Time) -> bool {
        let mut fresh = self
            .seen
            .values()
            .filter(|seen| now.since(seen.at) <= SIGHT);
        let ended = fresh.any(|seen| {
            seen.instances
                .get(name)
                .is_some_and(|glimpse| !glimpse.runs)
        });
        let fails = self.told.get(name).is_some_and(|told| {
            !told.is_ready
                && told.failures >= self.readiness.failure_threshold
                && told.last.is_some_and(|(asked, is_pass)| {
                    !is_pass && now.since(asked) <= self.stale_after()
                })
        });
        ended || fails
    }
}

impl Journal {
    fn take(&mut self, event: &Event, objections: &mut Vec<String>) {
        if self.is_finished {
            objections.push(format!("the journal goes on after its end: {event:?}"));
        }
        match event {
            Event::RolloutStarted(start) => {
                (self.epoch, self.start) = (start.epoch, Some(start.clone()));
            }
            Event::ActionStarted {
                id,
                action,
                instance,
            } => {
                let is_tidying =
                    matches!(action, Action::Disarm { .. }) && self.standstill == Some(HELD);
                if let Some(why) = self.standstill.filter(|_| !is_tidying) {
                    objections.push(format!("{action} is ordered though {why}"));
                }
                if self.in_flight.values().any(|host| host == action.host()) {
                    objections.push(format!(
                        "{action} is ordered while another order is in flight there"
                    ));
                }
                if self
                    .started
                    .last_key_value()
                    .is_some_and(|(last, _)| last >= id)
                {
                    objections.push(format!("{action} has the number {} twice", id.0));
                }
                self.started.insert(*id, (action.clone(), instance.clone()));
                self.in_flight.insert(*id, action.host().clone());
            }
            Event::ActionDone { id }
            | Event::ActionFailed { id, .. }
            | Event::ActionUnknown { id, .. } => {
                let known = self.in_flight.remove(id);
                objections.extend(
                    known
                        .is_none()
                        .then(|| format!("order {} ends and was not in flight", id.0)),
                );
            }
            Event::RolloutFailed {
                then: FailureResponse::Hold { .. },
                ..
            } => self.standstill = Some(HELD),
            Event::RolloutFailed {
                then: FailureResponse::RollBack,
                ..
            } => {
                self.left_behind
                    .retain(|_, kind| *kind == FailureKind::HostLost);
            }
            Event::HostFailed { failure, .. } => {
                self.left_behind
                    .extend(failure.host.clone().map(|host| (host, failure.kind)));
            }
            Event::Paused { .. } => self.standstill = Some("the rollout is paused"),
            Event::Fenced { .. } => self.standstill = Some("a host has refused this epoch"),
            Event::Interrupted { .. } => self.standstill = Some("the rollout is interrupted"),
            Event::RolloutFinished { .. } => {
                self.is_finished = true;
                self.standstill = Some("the rollout has ended");
            }
            _ => {}
        }
    }
}
