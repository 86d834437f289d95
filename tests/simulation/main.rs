//! The real engine, preflight, planner and store in a simulated world, on simulated time. A test
//! runs thousands of rollouts with random faults; each is drawn from a seed and repeatable.
//!
//! Every call to a host may be slow, fail, get lost or arrive late. Hosts disappear, instances die.
//! Controllers are killed at any write or wait, suspended, interrupted, or compete with each other.
//! A checker that shares no code with the planner compares this with the actual state.
//!
//! A failure prints its seed and its trace; `SHIP_SEED=123 cargo test --test simulation replay --
//! --nocapture` repeats it. `SHIP_LONG=1` runs many more seeds.
//!
//! The module `app` calls single verbs in the same world, without random faults.

mod app;
mod defects;
mod fake_store;
mod faults;
mod fleet_connection;
mod instance;
mod invariants;
mod invocation;
mod machine;
mod memory_database;
mod operators;
mod process;
mod scenario;
mod script;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ship::store::StateDir;
use ship_testing::rng::SeededRng;

use self::defects::Defect;
use self::operators::{Disk, Operators};
use self::scenario::Scenario;
use self::world::{Tally, World};

/// Seeds of a normal run.
const SEEDS: u64 = 2000;
/// Seeds of a run with `SHIP_LONG=1`.
const LONG_SEEDS: u64 = 200_000;

/// Situations that must occur at least once; otherwise a run without violations proves too little.
const REQUIRED_SITUATIONS: [&str; 28] = [
    "a controller is killed after a write",
    "a controller is killed before a write",
    "a controller is killed while it waits",
    "a controller is killed while an action is in flight",
    "a controller is suspended while a call is in flight",
    "a disk is full",
    "the store cannot be reached for a while",
    "the answer of the store is lost",
    "a host restores an instance on its own",
    "a host fails",
    "a lost host is reachable again",
    "a probe hangs",
    "a rollout ends: held",
    "a rollout ends: interrupted",
    "a rollout ends: paused",
    "a rollout ends: rollback failed",
    "a rollout ends: rolled back",
    "a rollout ends: succeeded",
    "a rollout is aborted",
    "a second controller gets the lease",
    "a second controller is locked out",
    "an action arrives late",
    "the result of an action is unknown",
    "the fence rejects an earlier action",
    "the fence rejects an older epoch",
    "the journal cannot be written",
    "an instance is reloaded",
    "an instance lingers",
];

/// The result of one seed.
struct SeedRun {
    tally: Tally,
    violation: Option<String>,
    trace: String,
}

/// Runs a test on paused time. All tasks of an engine stay on one thread.
pub(crate) fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Runs one seed.
fn run(seed: u64, defect: Defect, disk: Disk, is_traced: bool) -> SeedRun {
    on_paused_time(async {
        let mut rng = SeededRng::new(seed);
        let scenario = Scenario::draw(&mut rng);
        let world = World::new(scenario, rng, defect, is_traced);
        let operators = Operators::new(Arc::clone(&world), disk);
        let violated = world.lock().checker.violation_notify();
        tokio::select! {
            biased;
            () = violated.notified() => {}
            () = operators.run() => {}
        }
        let mut state = world.lock();
        let violation = state.checker.violation().map(str::to_owned);
        let trace = state.take_trace();
        SeedRun {
            tally: std::mem::take(&mut state.tally),
            violation,
            trace,
        }
    })
}

fn in_memory() -> Disk {
    Disk::Memory(Arc::default())
}

/// What a failed run prints: the scenario, the trace, the violation, and how to repeat it.
fn failure_report(seed: u64, defect: Defect) -> String {
    let rerun = run(seed, defect, in_memory(), true);
    let violation = rerun
        .violation
        .unwrap_or_else(|| "no violation when repeated".into());
    let scenario = Scenario::draw(&mut SeededRng::new(seed));
    format!(
        "{scenario:#?}\n{}\nseed {seed}: {violation}\nSHIP_SEED={seed} cargo test --test simulation \
         replay -- --nocapture",
        rerun.trace
    )
}

/// Runs the seeds on every core; returns the sum of the tallies, and the seed and text of the first
/// violation.
fn run_all(seeds: std::ops::Range<u64>, defect: Defect) -> (Tally, Option<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<(Tally, Option<(u64, String)>)> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || found.lock().expect("the lock is not poisoned").1.is_some() {
                return;
            }
            let run = run(seed, defect, in_memory(), false);
            let mut found = found.lock().expect("the lock is not poisoned");
            for (situation, times) in run.tally {
                *found.0.entry(situation).or_default() += times;
            }
            if let Some(violation) = run.violation {
                found.1.get_or_insert((seed, violation));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("the lock is not poisoned")
}

#[test]
fn rollouts_keep_invariants_under_random_faults() {
    let seeds = if std::env::var_os("SHIP_LONG").is_some() {
        LONG_SEEDS
    } else {
        SEEDS
    };
    let (tally, violation) = run_all(1..seeds + 1, Defect::None);
    if let Some((seed, _)) = violation {
        panic!("{}", failure_report(seed, Defect::None));
    }
    println!("{seeds} seeds; situations: {tally:#?}");
    for situation in REQUIRED_SITUATIONS {
        assert!(
            tally.get(situation).is_some_and(|times| *times > 0),
            "never occurred: {situation}"
        );
    }
}

#[test]
fn rollouts_keep_invariants_with_sqlite_store() {
    for seed in 1..=10 {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::Sqlite(StateDir {
            dir: dir.path().join(".ship"),
        });
        let violation = run(seed, Defect::None, disk, false).violation;
        assert_eq!(violation, None, "seed {seed}");
    }
}

/// Proves that the checker detects what it is meant to detect.
#[test]
fn checker_detects_every_defect() {
    use Defect::{
        ClaimsSkipped, ExtraSurge, ExtraUnavailable, FewerReplicas, LateJournal, NoActionFence,
        NoFence, NoLease, NoMinReady, NoZones, ProbesAlwaysPass, UnknownReportedAsFailed,
    };
    let all = [
        NoFence,
        NoActionFence,
        NoLease,
        LateJournal,
        ProbesAlwaysPass,
        ClaimsSkipped,
        UnknownReportedAsFailed,
        ExtraUnavailable,
        ExtraSurge,
        NoMinReady,
        NoZones,
        FewerReplicas,
    ];
    for defect in all {
        let (_, violation) = run_all(1..SEEDS + 1, defect);
        assert!(violation.is_some(), "{defect:?} is not detected");
    }
}

#[test]
fn replay() {
    let Some(seed) = std::env::var("SHIP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    else {
        return;
    };
    println!("{}", failure_report(seed, Defect::None));
}

#[test]
fn run_is_identical_for_same_seed() {
    for seed in 1..=20 {
        let [one, other] = [(); 2].map(|()| run(seed, Defect::None, in_memory(), true));
        assert!(!one.trace.is_empty());
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
