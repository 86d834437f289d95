//! Orders as the hosts' scripts carry them out (`src/script/sh`): under the lock, behind the fence,
//! one step after the other, and with the end of the host or of the script itself between any two.

use std::sync::Arc;
use std::time::Duration;

use ship::core::fleet::Observation;
use ship::core::ids::{Epoch, HostId, InstanceId, Port, ReleaseId};
use ship::core::rollout::action::Action;
use ship::core::time::Time;
use ship::engine::ActionOrder;
use tokio::time::sleep;

use super::broken::Broken;
use super::judge::{Cause, Deed};
use super::life;
use super::machine::{Life, Machine, Record};
use super::sim::{Sim, State};

/// How long a script waits for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long a start waits to see the instance listen or end.
const SETTLE: Duration = Duration::from_millis(500);

/// What a script has printed: how it ended, and how the host was then.
pub(crate) struct Printed {
    pub(crate) end: End,
    pub(crate) at: Time,
    pub(crate) observation: Observation,
}

/// How a script ended.
pub(crate) enum End {
    Done,
    Failed(String),
    Fenced(Epoch),
    Busy,
    /// The host has taken a later order of the same epoch.
    Outdated,
}

/// A script at work.
struct Script<'a> {
    sim: &'a Arc<Sim>,
    order: &'a ActionOrder,
    host: &'a HostId,
    /// Which script.
    number: u64,
    /// The host's start in which it works.
    boot: u64,
}

/// The script's end before its time: its host went down, or it was killed.
struct Dead;

/// Carries out an order; `None` if the script did not come to its end.
pub(crate) async fn carry_out(sim: &Arc<Sim>, order: &ActionOrder) -> Option<Printed> {
    let host = order.action.host();
    let script = {
        let mut state = sim.lock();
        if !state.is_reachable(host) {
            return None;
        }
        state.scripts += 1;
        Script {
            sim,
            order,
            host,
            number: state.number(),
            boot: state.machine(host).boot,
        }
    };
    let end = script.work().await;
    let mut state = sim.lock();
    state.scripts -= 1;
    script.leave(&mut state);
    let Ok(end) = end else {
        state.tell(host, format_args!("the script for {} dies", order.action));
        return None;
    };
    let at = state.now;
    Some(Printed {
        end,
        at,
        observation: state.machine(host).observation(),
    })
}

impl Script<'_> {
    async fn work(&self) -> Result<End, Dead> {
        if let Some(refusal) = self.enter().await? {
            return Ok(refusal);
        }
        match &self.order.action {
            Action::Claim { .. } => Ok(self.claim()),
            Action::Stage { release, .. } => self.stage(release).await,
            Action::Start { slot, release } => self.start(slot.port, release).await,
            Action::Stop {
                slot,
                instance,
                restore_after,
                ..
            } => self.stop(slot.port, instance, *restore_after).await,
            Action::Disarm { slot } => Ok(self.disarm(slot.port)),
            Action::Prune { .. } => Ok(self.prune()),
            Action::Admit { .. } | Action::Drain { .. } => {
                unreachable!("nothing stands before the instances here")
            }
        }
    }

    // ── the lock and the fence ───────────────────────────────────────────────────────────────────

    /// Takes the lock and passes the fence, or says why not.
    async fn enter(&self) -> Result<Option<End>, Dead> {
        let mut waited = Duration::ZERO;
        loop {
            {
                let mut state = self.sim.lock();
                let machine = self.alive(&mut state)?;
                if machine.lock.is_none() {
                    machine.lock = Some(self.number);
                    return Ok(self.fence(&mut state));
                }
                if waited >= LOCK_WAIT {
                    state.count("a script gives up on the lock");
                    return Ok(Some(End::Busy));
                }
            }
            let pause = self.sim.lock().dice.millis(10..=200);
            waited += pause;
            sleep(pause).await;
        }
    }

    fn fence(&self, state: &mut State) -> Option<End> {
        let (epoch, id) = (self.order.epoch, self.order.id);
        let (keeps_epochs, keeps_numbers) = (
            self.sim.broken != Broken::NoFence,
            self.sim.broken != Broken::NoOrderFence,
        );
        let machine = state.machine(self.host);
        let (seen, taken) = (machine.epoch, machine.taken);
        if epoch < seen && keeps_epochs {
            state.count("the fence refuses an older epoch");
            state.tell(
                self.host,
                format_args!("refuses {}: it has seen epoch {seen}", self.order.action),
            );
            return Some(End::Fenced(seen));
        }
        if epoch == seen && id < taken && keeps_numbers {
            state.count("the fence refuses an earlier order");
            state.tell(
                self.host,
                format_args!(
                    "refuses {}: it has taken order {}",
                    self.order.action, taken.0
                ),
            );
            return Some(End::Outdated);
        }
        let machine = state.machine(self.host);
        (machine.epoch, machine.taken) = if epoch > seen {
            (epoch, id)
        } else {
            (seen, taken.max(id))
        };
        None
    }

    fn leave(&self, state: &mut State) {
        let machine = state.machine(self.host);
        if machine.lock == Some(self.number) {
            machine.lock = None;
        }
    }

    /// The host, as long as it and the script live.
    fn alive<'s>(&self, state: &'s mut State) -> Result<&'s mut Machine, Dead> {
        let machine = state.machine(self.host);
        if machine.is_on && machine.boot == self.boot {
            Ok(machine)
        } else {
            Err(Dead)
        }
    }

    /// Some work that takes time. The script may not live to see its end.
    async fn work_for(&self, range: std::ops::RangeInclusive<u64>) -> Result<(), Dead> {
        let (time, dies) = {
            let mut state = self.sim.lock();
            (
                state.dice.millis(range),
                state.mishap(self.sim.scene.hostility.calls_per_mille / 3),
            )
        };
        sleep(time).await;
        let mut state = self.sim.lock();
        if dies {
            state.count("a script is killed");
            return Err(Dead);
        }
        self.alive(&mut state).map(drop)
    }

    fn deed(&self, state: &mut State, deed: Deed) {
        state.tell(
            self.host,
            format_args!(
                "{} (order {}, epoch {})",
                self.order.action, self.order.id.0, self.order.epoch
            ),
        );
        let (now, machine) = (state.now, &state.machines[self.host]);
        state.judge.deed(now, self.host, machine, self.order, deed);
    }

    // ── the orders ───────────────────────────────────────────────────────────────────────────────

    fn claim(&self) -> End {
        self.deed(&mut self.sim.lock(), Deed::Claimed);
        End::Done
    }

    async fn stage(&self, release: &ReleaseId) -> Result<End, Dead> {
        let is_whole = |state: &mut State| state.machine(self.host).releases.contains(release);
        {
            let mut state = self.sim.lock();
            if is_whole(&mut state) {
                return Ok(End::Done);
            }
            self.leave(&mut state);
        }
        self.work_for(20..=1500).await?;
        if self.sim.lock().machine(self.host).is_full {
            return Ok(self.no_space());
        }
        if let Some(refusal) = self.enter().await? {
            return Ok(refusal);
        }
        let mut state = self.sim.lock();
        if !is_whole(&mut state) {
            self.deed(&mut state, Deed::Staged);
            state.machine(self.host).releases.insert(release.clone());
        }
        Ok(End::Done)
    }

    fn no_space(&self) -> End {
        self.sim.lock().count("a disk is full");
        End::Failed("no space is left".into())
    }

    async fn start(&self, port: Port, release: &ReleaseId) -> Result<End, Dead> {
        {
            let mut state = self.sim.lock();
            let machine = state.machine(self.host);
            if !machine.releases.contains(release) {
                state.judge.object(format!(
                    "{}: the release is not on the host",
                    self.order.action
                ));
                return Ok(End::Failed("the release is not on this host".into()));
            }
            let Some((revision, name)) = self.order.instance.clone() else {
                return Ok(End::Failed("a start without an instance's name".into()));
            };
            match machine.slots.get(&port) {
                Some(record) if record.name == name && record.life != Life::Unborn => {
                    return Ok(End::Done);
                }
                Some(record) if record.name != name => {
                    return Ok(End::Failed(format!(
                        "slot {port} still holds {}",
                        record.name
                    )));
                }
                None if machine.strangers.contains(&port) => {
                    state.count("a start finds the port taken");
                    return Ok(End::Failed(format!("port {port} is taken by a stranger")));
                }
                _ => {}
            }
            if machine.is_full {
                drop(state);
                return Ok(self.no_space());
            }
            let (release, started) = (release.clone(), state.now);
            let record = Record {
                name,
                release,
                revision,
                started,
                restarts: 0,
                is_enabled: false,
                life: Life::Unborn,
            };
            state.machine(self.host).slots.insert(port, record);
        }
        self.work_for(10..=200).await?;
        {
            let mut state = self.sim.lock();
            if state.mishap(self.sim.scene.hostility.calls_per_mille) {
                return Ok(End::Failed("systemctl start: no answer".into()));
            }
            self.deed(&mut state, Deed::Launched);
            if let Some(record) = state.record(self.host, port) {
                record.is_enabled = true;
            }
            life::launch(
                self.sim,
                &mut state,
                self.host,
                port,
                &Cause::Launch(self.order.epoch),
            );
        }
        let mut waited = Duration::ZERO;
        while waited < SETTLE && self.is_coming_up(port) {
            self.work_for(100..=100).await?;
            waited += Duration::from_millis(100);
        }
        Ok(End::Done)
    }

    fn is_coming_up(&self, port: Port) -> bool {
        let mut state = self.sim.lock();
        let record = state.record(self.host, port);
        record.is_some_and(
            |record| matches!(&record.life, Life::Running(running) if !running.listens),
        )
    }

    async fn stop(
        &self,
        port: Port,
        name: &InstanceId,
        restore_after: Option<Duration>,
    ) -> Result<End, Dead> {
        {
            let mut state = self.sim.lock();
            if state
                .record(self.host, port)
                .is_none_or(|record| record.name != *name)
            {
                return Ok(End::Done);
            }
            if let Some(after) = restore_after {
                life::arm(self.sim, &mut state, self.host, port, after);
            }
        }
        self.work_for(5..=50).await?;
        {
            let mut state = self.sim.lock();
            let Some(record) = state.record(self.host, port) else {
                return Ok(End::Done);
            };
            record.is_enabled = false;
            if let Life::Running(running) = record.life.clone() {
                if !running.is_ending {
                    self.deed(&mut state, Deed::Terminated);
                }
                self.terminate(&mut state, port, name, running.process);
            }
        }
        while self.is_still_there(port, name) {
            self.work_for(50..=300).await?;
        }
        if self
            .sim
            .lock()
            .mishap(self.sim.scene.hostility.calls_per_mille)
        {
            return Ok(End::Failed("the slot could not be emptied".into()));
        }
        let mut state = self.sim.lock();
        state.machine(self.host).slots.remove(&port);
        state.changed(self.host, &Cause::Stop(name.clone()));
        Ok(End::Done)
    }

    /// TERM: it serves no longer, and is gone after a while, whatever becomes of the script.
    fn terminate(&self, state: &mut State, port: Port, name: &InstanceId, process: u64) {
        if let Some(running) = state
            .record(self.host, port)
            .and_then(|record| record.process(process))
        {
            (running.listens, running.is_ending) = (false, true);
        }
        state.changed(self.host, &Cause::Stop(name.clone()));
        let gone_after = state.dice.millis(20..=2500);
        let (sim, host) = (Arc::clone(self.sim), self.host.clone());
        tokio::spawn(async move {
            sleep(gone_after).await;
            life::end(&sim, &mut sim.lock(), &host, port, process, "signal 15");
        });
    }

    fn is_still_there(&self, port: Port, name: &InstanceId) -> bool {
        let mut state = self.sim.lock();
        state
            .record(self.host, port)
            .is_some_and(|record| record.name == *name && record.is_running())
    }

    fn disarm(&self, port: Port) -> End {
        let mut state = self.sim.lock();
        self.deed(&mut state, Deed::Disarmed);
        if state.machine(self.host).armed.remove(&port).is_some() {
            state.count("a host is disarmed");
        }
        End::Done
    }

    fn prune(&self) -> End {
        let Action::Prune { releases, .. } = &self.order.action else {
            return End::Done;
        };
        let mut state = self.sim.lock();
        let (in_use, unused): (Vec<_>, Vec<_>) = releases.iter().cloned().partition(|release| {
            state.machines[self.host]
                .slots
                .values()
                .any(|record| record.release == *release)
        });
        if !in_use.is_empty() {
            state
                .judge
                .object(format!("{}: one of them is in a slot", self.order.action));
            return End::Failed("kept, because a slot runs it".into());
        }
        self.deed(&mut state, Deed::Pruned);
        state
            .machine(self.host)
            .releases
            .retain(|release| !unused.contains(release));
        End::Done
    }
}
