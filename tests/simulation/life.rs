//! How an instance lives: it comes up, it behaves as its release does, it ends.

use std::sync::Arc;
use std::time::Duration;

use ship::core::names::{HostId, Port};
use ship::core::release::Driver;
use tokio::time::sleep;

use super::judge::Cause;
use super::machine::{Answers, Life, Running};
use super::scene::Quality;
use super::sim::{Sim, State};

/// What a supervisor waits before it starts again what has ended.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// A process of an instance, and where it is.
#[derive(Clone)]
pub(crate) struct Being {
    sim: Arc<Sim>,
    host: HostId,
    port: Port,
    process: u64,
}

/// Starts the process of the instance in a slot.
pub(crate) fn launch(sim: &Arc<Sim>, state: &mut State, host: &HostId, port: Port, cause: &Cause) {
    let process = state.number();
    let Some(record) = state.record(host, port) else { return };
    record.life = Life::Running(Running { process, listens: false, answers: Answers::Well, is_ending: false });
    let quality = sim.scene.quality(&record.release);
    let name = record.name.clone();
    state.tell(host, format_args!("{name} runs at port {port}"));
    state.changed(host, cause);
    let being = Being { sim: Arc::clone(sim), host: host.clone(), port, process };
    tokio::spawn(async move { being.live(quality).await });
}

/// Ends a process, if it is still there. What is enabled is started again.
pub(crate) fn end(sim: &Arc<Sim>, state: &mut State, host: &HostId, port: Port, process: u64, how: &'static str) {
    let Some(record) = state.record(host, port).filter(|record| is_process(&record.life, process)) else { return };
    record.life = Life::Ended { how };
    let (name, is_enabled) = (record.name.clone(), record.is_enabled);
    state.tell(host, format_args!("{name} ends ({how})"));
    state.changed(host, &Cause::World);
    if is_enabled && sim.scene.driver == Driver::Systemd {
        let boot = state.machine(host).boot;
        let being = Being { sim: Arc::clone(sim), host: host.clone(), port, process };
        tokio::spawn(async move {
            sleep(RESTART_AFTER).await;
            being.start_again(boot, 1);
        });
    }
}

/// What a host does when it comes up: what is enabled is started.
pub(crate) fn boot(sim: &Arc<Sim>, state: &mut State, host: &HostId) {
    if sim.scene.driver != Driver::Systemd {
        return;
    }
    let machine = state.machine(host);
    let boot = machine.boot;
    let ports: Vec<Port> = machine.slots.keys().copied().collect();
    for port in ports {
        let wait = state.dice.millis(100..=4000);
        let being = Being { sim: Arc::clone(sim), host: host.clone(), port, process: 0 };
        tokio::spawn(async move {
            sleep(wait).await;
            being.start_again(boot, 0);
        });
    }
}

fn is_process(life: &Life, process: u64) -> bool {
    matches!(life, Life::Running(running) if running.process == process)
}

impl Being {
    fn start_again(&self, boot: u64, restarts: u32) {
        let mut state = self.sim.lock();
        let machine = state.machine(&self.host);
        if !machine.is_on || machine.boot != boot {
            return;
        }
        let Some(record) = machine.slots.get_mut(&self.port) else { return };
        if !record.is_enabled || !matches!(record.life, Life::Ended { .. }) {
            return;
        }
        record.restarts += restarts;
        state.count("an instance is started again by its host");
        launch(&self.sim, &mut state, &self.host, self.port, &Cause::World);
    }

    async fn live(&self, quality: Quality) {
        let up_in = match quality {
            Quality::Slow => 3000..=8000,
            _ => 50..=1500,
        };
        let up_in = self.sim.lock().dice.millis(up_in);
        sleep(up_in).await;
        match quality {
            Quality::Good | Quality::Slow => self.listen(Answers::Well),
            Quality::Refuses => self.listen(Answers::Wrongly),
            Quality::Mute => {}
            Quality::Exits => {
                if self.sim.lock().dice.chance(500) {
                    self.listen(Answers::Well);
                }
                self.after(0..=1500).await;
                self.end("exit status 1");
            }
            Quality::Flaps => {
                self.listen(Answers::Well);
                while self.is_there() {
                    self.after(500..=8000).await;
                    self.answer(Answers::Wrongly);
                    self.after(500..=8000).await;
                    self.answer(Answers::Well);
                }
            }
            Quality::Sickens => {
                self.listen(Answers::Well);
                self.after(1000..=25_000).await;
                self.answer(Answers::Wrongly);
            }
        }
    }

    async fn after(&self, range: std::ops::RangeInclusive<u64>) {
        let wait = self.sim.lock().dice.millis(range);
        sleep(wait).await;
    }

    fn is_there(&self) -> bool {
        let mut state = self.sim.lock();
        state.record(&self.host, self.port).is_some_and(|record| is_process(&record.life, self.process))
    }

    fn listen(&self, answers: Answers) {
        let mut state = self.sim.lock();
        if state.machine(&self.host).strangers.contains(&self.port) {
            return end(&self.sim, &mut state, &self.host, self.port, self.process, "the port is in use");
        }
        let Some(process) = self.process(&mut state).filter(|process| !process.is_ending) else { return };
        (process.listens, process.answers) = (true, answers);
        state.changed(&self.host, &Cause::World);
    }

    fn answer(&self, answers: Answers) {
        let mut state = self.sim.lock();
        let Some(process) = self.process(&mut state) else { return };
        process.answers = answers;
        state.tell(&self.host, format_args!("port {} now answers {answers:?}", self.port));
        state.changed(&self.host, &Cause::World);
    }

    fn process<'a>(&self, state: &'a mut State) -> Option<&'a mut Running> {
        state.record(&self.host, self.port)?.process(self.process)
    }

    fn end(&self, how: &'static str) {
        let mut state = self.sim.lock();
        end(&self.sim, &mut state, &self.host, self.port, self.process, how);
    }
}
