//! Actions as the scripts on the hosts (`src/script/sh`) carry them out: under the lock, behind the
//! fence, step by step. The host or the script may die between any two steps.

use std::sync::Arc;
use std::time::Duration;

use ship::core::fleet::Observation;
use ship::core::fleet::lingering::Lingering;
use ship::core::ids::{Epoch, HostId, InstanceId, ReleaseId, SlotNumber};
use ship::core::rollout::action::Action;
use ship::core::time::Time;
use ship::engine::ActionOrder;
use tokio::time::sleep;

use super::defects::Defect;
use super::instance;
use super::invariants::{Cause, Effect};
use super::machine::{Machine, ProcessState, StoredRecord};
use super::world::{State, World};

/// How long a script waits for the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a start waits for the instance to listen or exit.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a stop waits for the end of an instance that may linger.
const LINGER_GRACE: Duration = Duration::from_secs(1);

/// The output of a script: how it ended, and the state of the host at that moment.
pub(crate) struct ScriptOutput {
    pub(crate) end: ScriptEnd,
    pub(crate) at: Time,
    pub(crate) observation: Observation,
}

/// How a script ended.
pub(crate) enum ScriptEnd {
    Done,
    Failed(String),
    Fenced(Epoch),
    Locked,
    /// The host has accepted a later action of the same epoch.
    Outdated,
}

/// A running script.
struct Script<'a> {
    world: &'a Arc<World>,
    order: &'a ActionOrder,
    host: &'a HostId,
    /// The number by which it holds the lock.
    number: u64,
    /// The boot of the host in which it runs.
    boot: u64,
}

/// The script has died: its host lost power, or it was killed.
struct ScriptDied;

/// Runs the script of an action; returns `None` if the script dies.
pub(crate) async fn execute(world: &Arc<World>, order: &ActionOrder) -> Option<ScriptOutput> {
    let host = order.action.host();
    let script = {
        let mut state = world.lock();
        if !state.is_reachable(host) {
            return None;
        }
        state.scripts += 1;
        Script {
            world,
            order,
            host,
            number: state.next_number(),
            boot: state.machine(host).boot,
        }
    };
    let end = script.run().await;
    let mut state = world.lock();
    state.scripts -= 1;
    script.release_lock(&mut state);
    let Ok(end) = end else {
        state.log(host, format_args!("the script for {} dies", order.action));
        return None;
    };
    let at = state.now;
    Some(ScriptOutput {
        end,
        at,
        observation: state.machine(host).observation(),
    })
}

impl Script<'_> {
    async fn run(&self) -> Result<ScriptEnd, ScriptDied> {
        if let Some(refusal) = self.acquire_lock().await? {
            return Ok(refusal);
        }
        match &self.order.action {
            Action::Claim { .. } => Ok(self.claim()),
            Action::Stage { release, .. } => self.stage(release).await,
            Action::Start {
                slot,
                release,
                reloads,
            } => {
                let reloads = reloads.as_ref();
                if self.reloaded(slot.number, release, reloads).await? {
                    return self.settle(slot.number).await;
                }
                self.start(slot.number, release).await
            }
            Action::Stop {
                slot,
                instance,
                why,
                restore_after,
                ..
            } => {
                let linger = self.world.scenario.linger;
                let linger = linger.filter(|_| why.allows_lingering());
                self.stop(slot.number, instance, *restore_after, linger)
                    .await
            }
            Action::Disarm { slot } => Ok(self.disarm(slot.number)),
            Action::Prune { .. } => Ok(self.prune()),
            Action::Admit { .. } | Action::Drain { .. } => {
                unreachable!("the simulation has no balancers")
            }
        }
    }

    // ── the lock and the fence ───────────────────────────────────────────────────────────────────

    /// Acquires the lock and passes the fence; returns how the script ends if it cannot.
    async fn acquire_lock(&self) -> Result<Option<ScriptEnd>, ScriptDied> {
        let mut waited = Duration::ZERO;
        loop {
            {
                let mut state = self.world.lock();
                let machine = self.live_machine(&mut state)?;
                if machine.lock.is_none() {
                    machine.lock = Some(self.number);
                    return Ok(self.fence(&mut state));
                }
                if waited >= LOCK_TIMEOUT {
                    state.count("a script gives up waiting for the lock");
                    return Ok(Some(ScriptEnd::Locked));
                }
            }
            let pause = self.world.lock().rng.millis(10..=200);
            waited += pause;
            sleep(pause).await;
        }
    }

    fn fence(&self, state: &mut State) -> Option<ScriptEnd> {
        let (epoch, id) = (self.order.epoch, self.order.id);
        let (checks_epochs, checks_action_ids) = (
            self.world.defect != Defect::NoFence,
            self.world.defect != Defect::NoActionFence,
        );
        let machine = state.machine(self.host);
        let (seen, newest_action) = (machine.epoch, machine.newest_action);
        if epoch < seen && checks_epochs {
            state.count("the fence rejects an older epoch");
            state.log(
                self.host,
                format_args!("rejects {}: it has seen epoch {seen}", self.order.action),
            );
            return Some(ScriptEnd::Fenced(seen));
        }
        if epoch == seen && id < newest_action && checks_action_ids {
            state.count("the fence rejects an earlier action");
            state.log(
                self.host,
                format_args!(
                    "rejects {}: it has accepted action {}",
                    self.order.action, newest_action.0
                ),
            );
            return Some(ScriptEnd::Outdated);
        }
        let machine = state.machine(self.host);
        (machine.epoch, machine.newest_action) = if epoch > seen {
            (epoch, id)
        } else {
            (seen, newest_action.max(id))
        };
        None
    }

    fn release_lock(&self, state: &mut State) {
        let machine = state.machine(self.host);
        if machine.lock == Some(self.number) {
            machine.lock = None;
        }
    }

    /// The host, if it and the script are alive.
    fn live_machine<'s>(&self, state: &'s mut State) -> Result<&'s mut Machine, ScriptDied> {
        let machine = state.machine(self.host);
        if machine.is_on && machine.boot == self.boot {
            Ok(machine)
        } else {
            Err(ScriptDied)
        }
    }

    /// Lets time pass, in milliseconds. The script may die meanwhile.
    async fn spend_time(&self, range: std::ops::RangeInclusive<u64>) -> Result<(), ScriptDied> {
        let (time, dies) = {
            let mut state = self.world.lock();
            (
                state.rng.millis(range),
                state.draw_fault(self.world.scenario.fault_rates.call_faults_per_mille / 3),
            )
        };
        sleep(time).await;
        let mut state = self.world.lock();
        if dies {
            state.count("a script is killed");
            return Err(ScriptDied);
        }
        self.live_machine(&mut state).map(drop)
    }

    fn record_effect(&self, state: &mut State, effect: Effect) {
        state.log(
            self.host,
            format_args!(
                "{} (action {}, epoch {})",
                self.order.action, self.order.id.0, self.order.epoch
            ),
        );
        let (now, machine) = (state.now, &state.machines[self.host]);
        state
            .checker
            .on_effect(now, self.host, machine, self.order, effect);
    }

    // ── the actions ──────────────────────────────────────────────────────────────────────────────

    fn claim(&self) -> ScriptEnd {
        self.record_effect(&mut self.world.lock(), Effect::Claimed);
        ScriptEnd::Done
    }

    async fn stage(&self, release: &ReleaseId) -> Result<ScriptEnd, ScriptDied> {
        let is_whole = |state: &mut State| state.machine(self.host).releases.contains(release);
        {
            let mut state = self.world.lock();
            if is_whole(&mut state) {
                return Ok(ScriptEnd::Done);
            }
            self.release_lock(&mut state);
        }
        self.spend_time(20..=1500).await?;
        if self.world.lock().machine(self.host).is_full {
            return Ok(self.no_space());
        }
        if let Some(refusal) = self.acquire_lock().await? {
            return Ok(refusal);
        }
        let mut state = self.world.lock();
        if !is_whole(&mut state) {
            self.record_effect(&mut state, Effect::Staged);
            state.machine(self.host).releases.insert(release.clone());
        }
        Ok(ScriptEnd::Done)
    }

    fn no_space(&self) -> ScriptEnd {
        self.world.lock().count("a disk is full");
        ScriptEnd::Failed("no space is left".into())
    }

    /// Reloads the instance in a slot. Returns whether there was one to reload.
    async fn reloaded(
        &self,
        number: SlotNumber,
        release: &ReleaseId,
        reloads: Option<&InstanceId>,
    ) -> Result<bool, ScriptDied> {
        let is_present = |state: &mut State| {
            let record = state.record(self.host, number);
            record.is_some_and(|record| Some(&record.name) == reloads)
        };
        if !is_present(&mut self.world.lock()) {
            return Ok(false);
        }
        self.spend_time(10..=200).await?;
        let mut state = self.world.lock();
        if !state.machine(self.host).releases.contains(release) || !is_present(&mut state) {
            return Ok(false);
        }
        let Some((revision, name)) = self.order.instance.clone() else {
            return Ok(false);
        };
        let started = state.now;
        let is_running = |record: &mut StoredRecord| record.is_running();
        if !state.record(self.host, number).is_some_and(is_running) {
            state.machine(self.host).slots.remove(&number);
            return Ok(false);
        }
        self.record_effect(&mut state, Effect::Reloaded);
        state.count("an instance is reloaded");
        if let Some(record) = state.record(self.host, number) {
            (record.name, record.release, record.revision) = (name, release.clone(), revision);
            (record.started, record.restarts) = (started, 0);
        }
        self.launch(&mut state, number);
        Ok(true)
    }

    async fn start(
        &self,
        number: SlotNumber,
        release: &ReleaseId,
    ) -> Result<ScriptEnd, ScriptDied> {
        {
            let mut state = self.world.lock();
            let machine = state.machine(self.host);
            if !machine.releases.contains(release) {
                state.checker.add_violation(format!(
                    "{}: the release is not on the host",
                    self.order.action
                ));
                return Ok(ScriptEnd::Failed("the release is not on this host".into()));
            }
            let Some((revision, name)) = self.order.instance.clone() else {
                return Ok(ScriptEnd::Failed("the start has no instance name".into()));
            };
            match machine.slots.get(&number) {
                Some(record) if record.name == name && record.state != ProcessState::NotStarted => {
                    return Ok(ScriptEnd::Done);
                }
                Some(record) if record.name != name => {
                    return Ok(ScriptEnd::Failed(format!(
                        "slot {number} still holds {}",
                        record.name
                    )));
                }
                None if machine.strangers.contains(&number) => {
                    state.count("a start finds its port in use");
                    return Ok(ScriptEnd::Failed(format!(
                        "slot {number} is taken by a stranger"
                    )));
                }
                _ => {}
            }
            if machine.is_full {
                drop(state);
                return Ok(self.no_space());
            }
            let (release, started) = (release.clone(), state.now);
            let record = StoredRecord {
                name,
                release,
                revision,
                started,
                restarts: 0,
                is_enabled: false,
                lingering: None,
                state: ProcessState::NotStarted,
            };
            state.machine(self.host).slots.insert(number, record);
        }
        self.spend_time(10..=200).await?;
        {
            let mut state = self.world.lock();
            if state.draw_fault(self.world.scenario.fault_rates.call_faults_per_mille) {
                return Ok(ScriptEnd::Failed("systemctl start: no answer".into()));
            }
            self.record_effect(&mut state, Effect::Launched);
            if let Some(record) = state.record(self.host, number) {
                record.is_enabled = true;
            }
            self.launch(&mut state, number);
        }
        self.settle(number).await
    }

    /// Lets the instance in the slot behave as its release does.
    fn launch(&self, state: &mut State, number: SlotNumber) {
        let cause = Cause::Launch(self.order.epoch);
        instance::start(self.world, state, self.host, number, &cause);
    }

    /// Waits until the instance listens or has ended, for a short time.
    async fn settle(&self, number: SlotNumber) -> Result<ScriptEnd, ScriptDied> {
        let mut waited = Duration::ZERO;
        while waited < SETTLE_TIMEOUT && self.is_starting(number) {
            self.spend_time(100..=100).await?;
            waited += Duration::from_millis(100);
        }
        Ok(ScriptEnd::Done)
    }

    fn is_starting(&self, number: SlotNumber) -> bool {
        let mut state = self.world.lock();
        let record = state.record(self.host, number);
        record.is_some_and(
            |record| matches!(&record.state, ProcessState::Running(running) if !running.listens),
        )
    }

    async fn stop(
        &self,
        number: SlotNumber,
        name: &InstanceId,
        restore_after: Option<Duration>,
        linger: Option<Duration>,
    ) -> Result<ScriptEnd, ScriptDied> {
        {
            let mut state = self.world.lock();
            if state
                .record(self.host, number)
                .is_none_or(|record| record.name != *name)
            {
                return Ok(ScriptEnd::Done);
            }
            let lingers = state
                .record(self.host, number)
                .is_some_and(|record| record.lingering.is_some());
            if let Some(after) = restore_after.filter(|_| !lingers) {
                instance::arm(self.world, &mut state, self.host, number, after);
            }
        }
        self.spend_time(5..=50).await?;
        {
            let mut state = self.world.lock();
            let now = state.now;
            let Some(record) = state.record(self.host, number) else {
                return Ok(ScriptEnd::Done);
            };
            record.is_enabled = false;
            let asked = record.lingering.is_some();
            if let Some(linger) = linger
                && !asked
                && record.is_running()
            {
                record.lingering = Some(Lingering {
                    since: now,
                    ends_by: now + linger,
                    ended: None,
                });
            }
            if let ProcessState::Running(running) = record.state.clone() {
                if !running.is_ending {
                    self.record_effect(&mut state, Effect::Terminated);
                }
                if !asked {
                    self.terminate(&mut state, number, name, running.process, linger);
                }
            }
        }
        let mut waited = Duration::ZERO;
        while self.is_running(number, name) {
            if linger.is_some() && waited >= LINGER_GRACE {
                self.world.lock().count("an instance lingers");
                return Ok(ScriptEnd::Done);
            }
            self.spend_time(300..=300).await?;
            waited += Duration::from_millis(300);
        }
        if self
            .world
            .lock()
            .draw_fault(self.world.scenario.fault_rates.call_faults_per_mille)
        {
            return Ok(ScriptEnd::Failed("the slot could not be emptied".into()));
        }
        let mut state = self.world.lock();
        state.machine(self.host).slots.remove(&number);
        state.on_host_changed(self.host, &Cause::Stop(name.clone()));
        Ok(ScriptEnd::Done)
    }

    /// Sends SIGTERM. The instance stops serving now and exits later, even if the script dies.
    fn terminate(
        &self,
        state: &mut State,
        number: SlotNumber,
        name: &InstanceId,
        process: u64,
        linger: Option<Duration>,
    ) {
        if let Some(running) = state
            .record(self.host, number)
            .and_then(|record| record.process(process))
        {
            (running.listens, running.is_ending) = (false, true);
        }
        state.on_host_changed(self.host, &Cause::Stop(name.clone()));
        let longest = linger.map_or(2500, |linger| {
            u64::try_from(linger.as_millis()).expect("less than a minute")
        });
        let gone_after = state.rng.millis(20..=longest);
        let (world, host) = (Arc::clone(self.world), self.host.clone());
        tokio::spawn(async move {
            sleep(gone_after).await;
            instance::end_process(
                &world,
                &mut world.lock(),
                &host,
                number,
                process,
                "signal 15",
            );
        });
    }

    fn is_running(&self, number: SlotNumber, name: &InstanceId) -> bool {
        let mut state = self.world.lock();
        state
            .record(self.host, number)
            .is_some_and(|record| record.name == *name && record.is_running())
    }

    fn disarm(&self, number: SlotNumber) -> ScriptEnd {
        let mut state = self.world.lock();
        self.record_effect(&mut state, Effect::Disarmed);
        if state.machine(self.host).armed.remove(&number).is_some() {
            state.count("a host is disarmed");
        }
        ScriptEnd::Done
    }

    fn prune(&self) -> ScriptEnd {
        let Action::Prune { releases, .. } = &self.order.action else {
            return ScriptEnd::Done;
        };
        let mut state = self.world.lock();
        let (in_use, unused): (Vec<_>, Vec<_>) = releases.iter().cloned().partition(|release| {
            state.machines[self.host]
                .slots
                .values()
                .any(|record| record.release == *release)
        });
        if !in_use.is_empty() {
            state.checker.add_violation(format!(
                "{}: a release is in use by a slot",
                self.order.action
            ));
            return ScriptEnd::Failed("kept, because a slot runs it".into());
        }
        self.record_effect(&mut state, Effect::Pruned);
        state
            .machine(self.host)
            .releases
            .retain(|release| !unused.contains(release));
        ScriptEnd::Done
    }
}
