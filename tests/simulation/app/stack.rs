//! Stacks of services whose `ship` is killed at any write, any action or any moment. Each run is
//! drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ship::app::error::Error;
use ship::app::exit::Exit;
use ship::app::stack::{
    StackConclusion, StackDeployRequest, StackRollbackRequest, StackServiceEnv, StackServices,
    abort, deploy, resume, rollback,
};
use ship::app::verbs::abort::AbortRequest;
use ship::app::verbs::resume::ResumeRequest;
use ship::config::StackOverrides;
use ship::core::stack::{Deployment, OnStackFailure, StackRun};
use ship::report::DeploymentReporter;
use ship::store::ServiceKey;
use ship_testing::rng::SeededRng;
use tokio::time::{sleep, timeout};

use super::project::{SimulatedProject, scenario};
use super::run::LEASE_EXPIRED;
use crate::defects::Defect;
use crate::on_paused_time;
use crate::process::{ProcessEnd, Trap};
use crate::scenario::{Quality, service_key};
use crate::world::World;

/// Seeds of a usual run, and with `SHIP_LONG=1`.
const SEEDS: u64 = 150;
const LONG_SEEDS: u64 = 5000;
/// Repeats one seed.
const SEED: &str = "SHIP_STACK_SEED";
/// Deployments in a run, after the first one.
const DEPLOYMENTS: u32 = 3;
/// In simulated time, much longer than any deployment takes.
const DEADLINE: Duration = Duration::from_hours(5);

/// What a user calls.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Deploy(String),
    Rollback,
    Resume,
    Abort,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Exit(Exit),
    Killed,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    Never,
    After(Duration),
    /// At a write or an action for the service with this index.
    At(usize, Trap),
}

/// Several services of one fleet, each on hosts of its own.
struct SimulatedStack {
    services: Vec<(String, BTreeSet<String>, SimulatedProject)>,
    rng: SeededRng,
    log: Vec<String>,
}

impl SimulatedStack {
    /// One to three services. Each waits for some of the earlier ones.
    fn draw(mut rng: SeededRng) -> Self {
        let disk = crate::in_memory();
        let count = *rng.pick(&[1, 2, 3]);
        let mut services: Vec<(String, BTreeSet<String>, SimulatedProject)> = Vec::new();
        for name in ["api", "worker", "front"].into_iter().take(count) {
            let earlier = services.iter().map(|(name, ..)| name.clone());
            let after = earlier.filter(|_| rng.chance(600)).collect();
            let in_place = rng.chance(300);
            let shape = if in_place {
                scenario(2, 1, [0, 1])
            } else {
                scenario(2, 2, [1, 0])
            };
            let number = SeededRng::new(u64::from(rng.count(1..=1_000_000)));
            let world = World::new(shape, number, Defect::None, false);
            let key = ServiceKey {
                service: name.to_owned(),
                ..service_key()
            };
            let project = SimulatedProject::new(world, 2, key, disk.clone());
            project.join_stack(OnStackFailure::RollBack);
            services.push((name.to_owned(), after, project));
        }
        Self {
            services,
            rng,
            log: Vec::new(),
        }
    }

    /// Builds a version of every service. Returns whether all of them are good.
    fn build(&mut self, version: &str) -> bool {
        let mut is_good = true;
        for (_, _, project) in &self.services {
            let quality = if self.rng.chance(150) {
                Quality::Mute
            } else {
                Quality::Good
            };
            is_good &= quality == Quality::Good;
            project.build(version, quality);
        }
        is_good
    }

    /// Runs a command on a machine of its own.
    async fn run(&mut self, call: &Call, kill: Kill) -> End {
        let machine = format!("desk{}", self.log.len());
        let mut processes = Vec::new();
        let mut members = Vec::new();
        for (name, after, project) in &self.services {
            let (process, _, env) = project.environment(&machine);
            processes.push((Arc::clone(&project.world), process));
            members.push(StackServiceEnv {
                name: name.clone(),
                after: after.clone(),
                env,
            });
        }
        let stack = StackServices {
            fleet: service_key().fleet,
            services: members,
            on_failure: OnStackFailure::RollBack,
            reporter: Arc::new(Silent),
        };
        if let Kill::At(service, trap) = kill {
            processes[service].1.set_trap(trap);
        }
        let called = call.clone();
        let task = tokio::task::spawn_local(async move { carry_out(&stack, called).await });
        let abort = task.abort_handle();
        for (_, process) in &processes {
            process.set_abort(abort.clone());
        }
        let ended = match kill {
            Kill::After(moment) => timeout(moment, task).await.ok(),
            Kill::Never | Kill::At(..) => {
                Some(timeout(DEADLINE, task).await.expect("the command ends"))
            }
        };
        let ended = ended.map_or(ProcessEnd::Killed, ProcessEnd::from);
        if let ProcessEnd::Killed = ended {
            for (_, process) in &processes {
                process.kill();
            }
            abort.abort();
        }
        for (world, process) in processes {
            world.lock().checker.on_controller_exited(process.number);
        }
        let end = match ended {
            ProcessEnd::Killed => End::Killed,
            ProcessEnd::Exited(Ok(conclusion)) => {
                let errors = conclusion.errors.iter();
                self.log.extend(errors.map(ToString::to_string));
                self.log.push(format!("{:?}", conclusion.deployment));
                End::Exit(conclusion.exit)
            }
            ProcessEnd::Exited(Err(error)) => {
                self.log.push(error.to_string());
                End::Exit(error.exit())
            }
            ProcessEnd::Panicked => panic!("ship panics\n{}", self.log()),
        };
        self.log.push(format!("{call:?} with {kill:?}: {end:?}"));
        if end == End::Killed {
            sleep(LEASE_EXPIRED).await;
        }
        end
    }

    fn draw_kill(&mut self) -> Kill {
        let all: Vec<_> = (0..self.services.len()).collect();
        let service = *self.rng.pick(&all);
        let write = self.rng.count(1..=40);
        match self.rng.below(5) {
            0 => Kill::Never,
            1 => Kill::After(self.rng.millis(1..=30_000)),
            2 => Kill::At(service, Trap::KilledBeforeWrite(write)),
            3 => Kill::At(service, Trap::KilledAfterWrite(write)),
            _ => Kill::At(service, Trap::KilledAfterAction(self.rng.count(1..=12))),
        }
    }

    /// The one version that all instances of all services run. Panics if they run several.
    async fn whole_version(&self) -> String {
        let mut versions = BTreeMap::new();
        for (name, _, project) in &self.services {
            let running = project.versions().await;
            assert_eq!(running.len(), 2, "{name}: {running:?}\n{}", self.log());
            versions.insert(name.clone(), running.into_iter().collect::<BTreeSet<_>>());
        }
        let all: BTreeSet<_> = versions.values().flatten().cloned().collect();
        assert_eq!(all.len(), 1, "{versions:?}\n{}", self.log());
        all.into_iter().next().unwrap_or_default()
    }

    fn log(&self) -> String {
        self.log.join("\n")
    }

    #[track_caller]
    fn assert_without_violations(&self) {
        for (name, _, project) in &self.services {
            let violation = project.world.lock().checker.violation().map(str::to_owned);
            assert_eq!(violation, None, "{name}\n{}", self.log());
        }
    }
}

/// Shows nothing.
struct Silent;

impl DeploymentReporter for Silent {
    fn progress(&self, _: &str, _: &Deployment, _: &StackRun) {}

    fn finish(&self) {}
}

async fn carry_out(stack: &StackServices, call: Call) -> Result<StackConclusion, Error> {
    match call {
        Call::Deploy(version) => {
            let overrides = StackOverrides {
                versions: vec![version],
                ..StackOverrides::default()
            };
            let request = StackDeployRequest {
                overrides,
                ..StackDeployRequest::default()
            };
            deploy(stack, request).await
        }
        Call::Rollback => rollback(stack, StackRollbackRequest::default()).await,
        Call::Resume => resume(stack, ResumeRequest::default()).await,
        Call::Abort => abort(stack, AbortRequest::default()).await,
    }
}

/// A command that was killed until one was not.
struct Finished {
    last: Call,
    end: End,
    has_aborted: bool,
}

impl SimulatedStack {
    /// Runs a command. If it is killed, continues the deployment until that ends.
    async fn finish(&mut self, call: Call) -> Finished {
        let kill = self.draw_kill();
        let mut finished = Finished {
            end: self.run(&call, kill).await,
            last: call,
            has_aborted: false,
        };
        while finished.end == End::Killed {
            let is_abort = self.rng.chance(500);
            let kill = if self.rng.chance(300) {
                self.draw_kill()
            } else {
                Kill::Never
            };
            finished.last = if is_abort { Call::Abort } else { Call::Resume };
            finished.end = self.run(&finished.last, kill).await;
            finished.has_aborted |= is_abort;
        }
        finished
    }
}

/// Deploys and undoes versions. Whatever is killed, a continuation leaves one whole version: the
/// one that it promises.
async fn deploy_with_kills(seed: u64, situations: &mut BTreeMap<String, u32>) {
    let mut stack = SimulatedStack::draw(SeededRng::new(seed));
    stack.log.push(format!("seed {seed}"));
    let first = Call::Deploy("0.8".to_owned());
    let end = stack.run(&first, Kill::Never).await;
    assert_eq!(end, End::Exit(Exit::Done), "{}", stack.log());
    let mut present = "0.8".to_owned();
    // What `ship rollback` leads to.
    let mut earlier: Option<String> = None;
    for number in 1..=DEPLOYMENTS {
        let undone = earlier.take().filter(|_| stack.rng.chance(400));
        let is_rollback = undone.is_some();
        let version = undone.unwrap_or_else(|| format!("1.{number}"));
        let is_good = is_rollback || stack.build(&version);
        let call = if is_rollback {
            Call::Rollback
        } else {
            Call::Deploy(version.clone())
        };
        let Finished {
            last,
            end,
            has_aborted,
        } = stack.finish(call).await;
        let whole = stack.whole_version().await;
        let promised: &[&String] = match (&last, end) {
            (Call::Abort, End::Exit(Exit::Done)) => &[&present],
            (_, End::Exit(Exit::Done)) if is_good => &[&version],
            (_, End::Exit(Exit::RolledBack)) if !is_good || has_aborted => &[&present],
            // The deployment had ended, or was killed before it was recorded.
            (Call::Resume | Call::Abort, End::Exit(Exit::Refused)) => &[&present, &version],
            _ => panic!("{last:?}: {end:?}\n{}", stack.log()),
        };
        assert!(promised.contains(&&whole), "{whole}\n{}", stack.log());
        *situations.entry(format!("{last:?} {end:?}")).or_default() += 1;
        stack.assert_without_violations();
        if !is_rollback && whole == version {
            earlier = Some(present);
        }
        present = whole;
    }
}

#[test]
fn killed_deployments_of_stacks_end_with_one_whole_version() {
    let chosen = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seeds = match (chosen, std::env::var_os("SHIP_LONG")) {
        (Some(seed), _) => seed..seed + 1,
        (None, None) => 0..SEEDS,
        (None, Some(_)) => 0..LONG_SEEDS,
    };
    let is_full = seeds.end - seeds.start >= SEEDS;
    let mut situations = BTreeMap::new();
    for seed in seeds {
        on_paused_time(deploy_with_kills(seed, &mut situations));
    }
    println!("{situations:#?}");
    for situation in [
        "Resume Exit(Done)",
        "Abort Exit(Done)",
        "Resume Exit(Refused)",
    ] {
        assert!(
            !is_full || situations.contains_key(situation),
            "{situations:#?}"
        );
    }
}
