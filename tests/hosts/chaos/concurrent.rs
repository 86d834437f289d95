//! Two controllers at the same time.

use std::thread;
use std::time::{Duration, Instant};

use super::{REPLICAS, SEED, answers, endpoints, leftovers, three_versions};
use crate::reliability::ReportRow;
use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};
use ship_testing::rng::SeededRng;
use ship_testing::traffic::Traffic;

const ROUNDS: u32 = 6;
/// The longest delay of the second deploy: about as long as a deploy takes.
const DELAY_MAX: Duration = Duration::from_millis(1500);

#[test]
fn concurrent_deploys_with_one_history_are_serialized() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        race(&fleet, &project, &project, "rivals-one-history");
    });
}

#[test]
fn hosts_accept_one_of_two_deploys_with_two_histories() {
    namespace::with_hosts(|| {
        let (fleet, here) = three_versions();
        let there = here.copy();
        race(&fleet, &here, &there, "rivals-two-histories");
    });
}

/// Runs two deploys of different versions at the same time, several times. The fleet runs neither
/// of the two versions before.
fn race(fleet: &Fleet, first: &Project, second: &Project, key: &str) {
    let (began, mut rng) = (Instant::now(), SeededRng::from_env(SEED));
    let traffic = Traffic::begin(endpoints(fleet));
    let mut present = "1".to_owned();
    let (mut exits, mut refused) = (Vec::new(), 0);
    for round in 1..=ROUNDS {
        let versions: Vec<_> = ["1", "2", "3"]
            .into_iter()
            .filter(|version| *version != present)
            .collect();
        // In the first round, both start at the same moment.
        let delay = DELAY_MAX.mul_f64(if round == 1 { 0.0 } else { rng.fraction() });
        let one = first.start_deploy(versions[0]);
        thread::sleep(delay);
        let other = second.start_deploy(versions[1]);
        let done = [one.wait(), other.wait()];
        println!(
            "round {round}, {delay:?} delay: {:?}",
            done.each_ref().map(|done| done.code)
        );
        for one in &done {
            match one.code {
                Some(0) => {}
                Some(6) => {
                    refused += 1;
                    let has_reason =
                        one.stderr.contains("locked by") || one.stderr.contains("taken over");
                    assert!(has_reason, "{}", one.stderr);
                }
                code => panic!(
                    "expected exit code 0 or 6, found {code:?}:\n{}\n{}",
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
            "its version serves although it was refused:\n{}",
            done[winner].stderr
        );
        assert_eq!(running(PAGE), REPLICAS);
        present.clone_from(&served[0]);
        leftovers::assert_none(fleet);
    }
    let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
    assert!(refused > 0, "the deploys never overlapped");
    let row = ReportRow::new(format!(
        "{ROUNDS} races: {refused} of {} deploys were refused",
        exits.len()
    ));
    exits.sort_unstable();
    exits.dedup();
    row.served(&served, REPLICAS, REPLICAS + 1)
        .exits(&exits)
        .took(began.elapsed())
        .save(key);
}
