//! Two controllers at once.

use std::thread;
use std::time::{Duration, Instant};

use super::{REPLICAS, SEED, answers, endpoints, leftovers, three_versions};
use crate::reliability::Seen;
use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};
use ship_testing::rng::SeededRng;
use ship_testing::traffic::Traffic;

const ROUNDS: u32 = 6;
/// The second begins at most so much later than the first: about as long as a deploy takes.
const APART: Duration = Duration::from_millis(1500);

#[test]
fn of_two_deploys_with_one_history_one_is_told_to_wait() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        race(&fleet, &project, &project, "rivals-one-history");
    });
}

#[test]
fn of_two_deploys_with_two_histories_the_hosts_obey_one() {
    namespace::with_hosts(|| {
        let (fleet, here) = three_versions();
        let there = here.copy();
        race(&fleet, &here, &there, "rivals-two-histories");
    });
}

/// Lets two deploy different versions at once, over and over. Neither is the one that the fleet is
/// on.
fn race(fleet: &Fleet, first: &Project, second: &Project, fault: &str) {
    let (began, mut rng) = (Instant::now(), SeededRng::from_env(SEED));
    let traffic = Traffic::begin(endpoints(fleet));
    let mut present = "1".to_owned();
    let (mut exits, mut told) = (Vec::new(), 0);
    for round in 1..=ROUNDS {
        let versions: Vec<_> = ["1", "2", "3"]
            .into_iter()
            .filter(|version| *version != present)
            .collect();
        // The first of all begin at the same moment.
        let apart = APART.mul_f64(if round == 1 { 0.0 } else { rng.fraction() });
        let one = first.start_deploy(versions[0]);
        thread::sleep(apart);
        let other = second.start_deploy(versions[1]);
        let done = [one.wait(), other.wait()];
        println!(
            "round {round}, {apart:?} apart: {:?}",
            done.each_ref().map(|done| done.code)
        );
        for one in &done {
            match one.code {
                Some(0) => {}
                Some(6) => {
                    told += 1;
                    let says =
                        one.stderr.contains("locked by") || one.stderr.contains("taken over");
                    assert!(says, "{}", one.stderr);
                }
                code => panic!(
                    "{code:?} is neither done nor told:\n{}\n{}",
                    done[0].stderr, done[1].stderr
                ),
            }
            exits.extend(one.code);
        }
        let served: Vec<_> = answers(fleet)
            .into_iter()
            .map(|(_, version)| version)
            .collect();
        assert_eq!(served.len(), REPLICAS);
        assert!(
            served.iter().all(|version| *version == served[0]),
            "mixed versions: {served:?}"
        );
        let winner = versions
            .iter()
            .position(|version| *version == served[0])
            .expect("one of the two");
        assert_eq!(
            done[winner].code,
            Some(0),
            "it serves though it was refused:\n{}",
            done[winner].stderr
        );
        assert_eq!(running(PAGE), REPLICAS);
        present.clone_from(&served[0]);
        leftovers::assert_none(fleet);
    }
    let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
    assert!(told > 0, "nobody ever met a rival");
    let seen = Seen::new(format!(
        "{ROUNDS} races: {told} of {} deploys were refused",
        exits.len()
    ));
    exits.sort_unstable();
    exits.dedup();
    seen.served(&served, REPLICAS, REPLICAS + 1)
        .exits(&exits)
        .took(began.elapsed())
        .leave(fault);
}
