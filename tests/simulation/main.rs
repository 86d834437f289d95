//! The real engine, preflight, planner and store in a simulated world, on simulated time: thousands
//! of rollouts against everything that can go wrong, each drawn from a seed and the same every
//! time.
//!
//! Every call of the world may be slow, fail, get lost or land late; hosts vanish, instances die;
//! controllers are killed at any write or wait, stopped and continued, interrupted, rivalled. A
//! judge that shares no code with the planner watches what truly is.
//!
//! A failure prints its seed and its story; `SHIP_SEED=123 cargo test --test simulation replay --
//! --nocapture` tells it again. `SHIP_LONG=1` runs many more seeds.
//!
//! The module `app` calls single verbs in the same world while it is calm.

mod app;
mod broken;
mod invocation;
mod judge;
mod ledger;
mod life;
mod machine;
mod people;
mod process;
mod scene;
mod script;
mod sim;
mod weather;
mod world;

mod dice {
    pub(crate) use ship_testing::rng::SeededRng as Dice;
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ship::store::StateDir;

use self::broken::Broken;
use self::dice::Dice;
use self::people::{Disk, People};
use self::scene::Scene;
use self::sim::{Sim, Tally};

/// Seeds of a usual run.
const SEEDS: u64 = 2000;
/// Seeds of a long one.
const LONG_SEEDS: u64 = 200_000;

/// What must be met at least once, or the proof says nothing about it.
const MET: [&str; 24] = [
    "a controller is killed after a write",
    "a controller is killed before a write",
    "a controller is killed while it waits",
    "a controller is killed with an order on its way",
    "a controller is stopped with something on its way",
    "a disk is full",
    "a host brings an instance back by itself",
    "a host is left behind",
    "a lost host is found again",
    "a probe hangs",
    "a rollout ends: held",
    "a rollout ends: interrupted",
    "a rollout ends: paused",
    "a rollout ends: rollback failed",
    "a rollout ends: rolled back",
    "a rollout ends: succeeded",
    "a rollout is aborted",
    "a second controller gets its turn",
    "a second controller is locked out",
    "an order lands late",
    "nobody knows what became of an order",
    "the fence refuses an earlier order",
    "the fence refuses an older epoch",
    "the journal cannot be written",
];

/// What one seed has come to.
struct Run {
    tally: Tally,
    violation: Option<String>,
    trace: String,
}

/// Runs a test on paused time. An engine's run stays on the thread where it began.
pub(crate) fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Runs one seed.
fn run(seed: u64, broken: Broken, disk: Disk, tells: bool) -> Run {
    on_paused_time(async {
        let mut dice = Dice::new(seed);
        let scene = Scene::draw(&mut dice);
        let sim = Sim::new(scene, dice, broken, tells);
        let people = People::new(Arc::clone(&sim), disk);
        let objection = sim.lock().judge.alarm();
        tokio::select! {
            biased;
            () = objection.notified() => {}
            () = people.live() => {}
        }
        let mut state = sim.lock();
        let violation = state.judge.violation().map(str::to_owned);
        let trace = state.take_trace();
        Run {
            tally: std::mem::take(&mut state.tally),
            violation,
            trace,
        }
    })
}

fn in_memory() -> Disk {
    Disk::Memory(Arc::default())
}

/// What a failure prints.
fn story(seed: u64, broken: Broken) -> String {
    let told = run(seed, broken, in_memory(), true);
    let violation = told
        .violation
        .unwrap_or_else(|| "nothing, when told".into());
    let scene = Scene::draw(&mut Dice::new(seed));
    format!(
        "{scene:#?}\n{}\nseed {seed}: {violation}\nSHIP_SEED={seed} cargo test --test simulation \
         replay -- --nocapture",
        told.trace
    )
}

/// Runs the seeds on every core; gives the tallies in one and the seed of the first objection, if
/// there was one.
fn run_all(seeds: std::ops::Range<u64>, broken: Broken) -> (Tally, Option<(u64, String)>) {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<(Tally, Option<(u64, String)>)> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || found.lock().expect("no worker panics with it").1.is_some() {
                return;
            }
            let run = run(seed, broken, in_memory(), false);
            let mut found = found.lock().expect("no worker panics with it");
            for (what, times) in run.tally {
                *found.0.entry(what).or_default() += times;
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
    found.into_inner().expect("no worker panicked")
}

#[test]
fn nothing_that_can_happen_breaks_a_promise() {
    let seeds = if std::env::var_os("SHIP_LONG").is_some() {
        LONG_SEEDS
    } else {
        SEEDS
    };
    let (tally, objection) = run_all(1..seeds + 1, Broken::Nothing);
    if let Some((seed, _)) = objection {
        panic!("{}", story(seed, Broken::Nothing));
    }
    println!("{seeds} seeds; met: {tally:#?}");
    for what in MET {
        assert!(
            tally.get(what).is_some_and(|times| *times > 0),
            "never met: {what}"
        );
    }
}

#[test]
fn with_the_real_store_it_is_the_same() {
    for seed in 1..=10 {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::Sqlite(StateDir {
            dir: dir.path().join(".ship"),
        });
        let violation = run(seed, Broken::Nothing, disk, false).violation;
        assert_eq!(violation, None, "seed {seed}");
    }
}

/// The proof that the judge sees what is broken on purpose.
#[test]
fn whatever_is_broken_is_seen() {
    use Broken::{
        AlwaysPasses, FewerReplicas, HigherCeiling, JournalComesLate, LowerFloor, NoFence, NoLease,
        NoOrderFence, NoSoak, SeemsClaimed, UnknownIsFailed,
    };
    let all = [
        NoFence,
        NoOrderFence,
        NoLease,
        JournalComesLate,
        AlwaysPasses,
        SeemsClaimed,
        UnknownIsFailed,
        LowerFloor,
        HigherCeiling,
        NoSoak,
        FewerReplicas,
    ];
    for broken in all {
        let (_, objection) = run_all(1..SEEDS + 1, broken);
        assert!(objection.is_some(), "{broken:?} goes unnoticed");
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
    println!("{}", story(seed, Broken::Nothing));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=20 {
        let [one, other] = [(); 2].map(|()| run(seed, Broken::Nothing, in_memory(), true));
        assert!(!one.trace.is_empty());
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
