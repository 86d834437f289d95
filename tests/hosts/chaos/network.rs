//! A host that cannot be reached any more, in each phase of a deploy.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, LARGE_BYTES, REPLICAS, leftovers, places_on, three_hosts};
use crate::reliability::Seen;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Done, Running};
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace::{self, until};
use ship_testing::probe_client::{ask, running};
use ship_testing::project::{PAGE, Project};
use ship_testing::traffic::{Served, Traffic};

/// Shorter than what ssh needs to find a connection dead.
const SHORT_CUT: Duration = Duration::from_secs(3);

/// Where a deploy of version 2 stands when the cable of a host is pulled.
#[derive(Clone, Copy)]
enum Phase {
    BeforeStaging,
    Staging,
    Starting,
    NotReady,
    Stopping,
}

#[test]
fn a_host_that_is_cut_off_before_a_deploy_stops_it_before_anything_is_touched() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let began = Instant::now();
        project.deploy("1").exits(0);
        let [lost, others @ ..] = fleet.hosts.as_slice() else {
            unreachable!("three hosts")
        };
        let traffic = Traffic::begin(places_on(others));
        lost.cut();
        project
            .deploy("2")
            .exits(7)
            .says(&[&lost.name, "nothing was touched"]);
        assert_eq!(project.history().len(), 1, "no revision was made");
        lost.mend();
        let served = traffic.end(REPLICAS - 1).kept(REPLICAS - 1, REPLICAS);
        project.deploy("2").exits(0);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let seen =
            Seen::new("The message named the host; after the repair the same command succeeded");
        let seen = seen.served(&served, REPLICAS - 1, REPLICAS).exits(&[7, 0]);
        seen.took(began.elapsed()).leave("cut-before-the-deploy");
    });
}

#[test]
fn a_host_that_is_cut_off_before_the_release_is_sent_there() {
    namespace::with_hosts(|| cut_in(Phase::BeforeStaging));
}

#[test]
fn a_host_that_is_cut_off_while_the_release_is_sent_there() {
    namespace::with_hosts(|| cut_in(Phase::Staging));
}

#[test]
fn a_host_that_is_cut_off_while_an_instance_is_started_there() {
    namespace::with_hosts(|| cut_in(Phase::Starting));
}

#[test]
fn a_host_that_is_cut_off_while_its_instance_is_not_ready() {
    namespace::with_hosts(|| cut_in(Phase::NotReady));
}

#[test]
fn a_host_that_is_cut_off_while_an_instance_is_stopped_there() {
    namespace::with_hosts(|| cut_in(Phase::Stopping));
}

#[test]
fn a_host_that_is_found_again_before_the_deadline_is_gone_on_with() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let began = Instant::now();
        let mut cut = Cut::prepare(&fleet, &project, Phase::NotReady);
        cut.deploy
            .await_words_within("lost ", Duration::from_mins(1));
        cut.lost.mend();
        let (done, served) = cut.end();
        let said = done.exits(0).stderr;
        assert!(said.contains("found "), "{said}");
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let seen = Seen::new("The deploy waited, said so, and continued");
        let seen = seen.served(&served, REPLICAS - 1, REPLICAS + 1).exits(&[0]);
        seen.took(began.elapsed()).leave("cut-and-found");
    });
}

/// Cuts for a moment, then on the same hosts for good.
fn cut_in(phase: Phase) {
    let (fleet, project) = three_hosts();
    let project = project.with("progress_deadline = \"1m\"", "progress_deadline = \"25s\"");
    let began = Instant::now();
    let cut = Cut::prepare(&fleet, &project, phase);
    thread::sleep(SHORT_CUT);
    cut.lost.mend();
    let (done, served) = cut.end();
    done.exits(0);
    project.assert_settled("2", REPLICAS);
    leftovers::assert_none(&fleet);
    let seen = Seen::new(format!(
        "Repaired after {} s, the deploy continued",
        SHORT_CUT.as_secs()
    ));
    let seen = seen.served(&served, REPLICAS - 1, REPLICAS + 1).exits(&[0]);
    seen.took(began.elapsed())
        .leave(&format!("{}-repaired", phase.key()));

    let began = Instant::now();
    let cut = Cut::prepare(&fleet, &project, phase);
    let (lost, (done, served)) = (cut.lost, cut.end());
    let done = done.exits(4).says(&[&lost.name]);
    lost.mend();
    project.deploy("2").exits(0);
    project.assert_settled("2", REPLICAS);
    assert_eq!(running(PAGE), REPLICAS);
    leftovers::assert_none(&fleet);
    let seen = Seen::new(gist(&done.stderr));
    let seen = seen
        .served(&served, REPLICAS - 1, REPLICAS + 1)
        .exits(&[4, 0]);
    seen.took(began.elapsed()).leave(phase.key());
}

/// A deploy of version 2, and the host that has just been cut off from it.
struct Cut<'a> {
    deploy: Running,
    lost: &'a Host,
    traffic: Traffic,
}

impl<'a> Cut<'a> {
    /// Brings the fleet to version 1, begins the deploy of version 2, and cuts a host off in a
    /// phase of it. The others are asked all the while.
    fn prepare(fleet: &'a Fleet, project: &Project, phase: Phase) -> Self {
        let [lost, others @ ..] = fleet.hosts.as_slice() else {
            unreachable!("three hosts")
        };
        match phase {
            Phase::Staging => project.large_release("2", LARGE_BYTES),
            Phase::Starting | Phase::NotReady => project.release("2", Behaviour::Late),
            Phase::Stopping => project.release("1", Behaviour::Lingers),
            Phase::BeforeStaging => {}
        }
        project.deploy("1").exits(0);
        phase.forget_release(fleet);
        if matches!(phase, Phase::BeforeStaging) {
            lost.exec("setsid flock /var/lib/ship/page/lock sleep 6 </dev/null >/dev/null 2>&1 &")
                .exits(0);
        }
        let traffic = Traffic::begin(places_on(others));
        let mut deploy = project.start_deploy("2");
        phase.await_it(lost, &mut deploy);
        lost.cut();
        phase.assert_in_time(lost, &deploy.stderr_so_far());
        Self {
            deploy,
            lost,
            traffic,
        }
    }

    fn end(self) -> (Done, Served) {
        let done = self.deploy.wait();
        (
            done,
            self.traffic
                .end(REPLICAS - 1)
                .kept(REPLICAS - 1, REPLICAS + 1),
        )
    }
}

impl Phase {
    fn key(self) -> &'static str {
        match self {
            Self::BeforeStaging => "cut-before-staging",
            Self::Staging => "cut-while-staging",
            Self::Starting => "cut-while-starting",
            Self::NotReady => "cut-while-not-ready",
            Self::Stopping => "cut-while-stopping",
        }
    }

    /// Takes away what an earlier deploy has brought, where the phase is about bringing it.
    fn forget_release(self, fleet: &Fleet) {
        if matches!(self, Self::BeforeStaging | Self::Staging) {
            for host in &fleet.hosts {
                let prune = "cd /var/lib/ship/page && for r in releases/*; do \
                             grep -qs release=${r#releases/} slots/*/instance || rm -r $r; done";
                host.exec(prune).exits(0);
            }
        }
    }

    fn await_it(self, host: &Host, deploy: &mut Running) {
        match self {
            Self::BeforeStaging => deploy.await_words("staging 2"),
            Self::Staging => until("the release is arriving", DEADLINE, || arriving(host)),
            Self::Starting => until("a fourth instance", DEADLINE, || {
                (running(PAGE) > REPLICAS).then_some(())
            }),
            Self::NotReady => deploy.await_words("started "),
            Self::Stopping => {
                deploy.await_words("ready ");
                until("the old one ends", DEADLINE, || {
                    (serving_on(host) == 1).then_some(())
                });
            }
        }
    }

    fn assert_in_time(self, host: &Host, said: &str) {
        let told = |what: &str| {
            said.lines()
                .any(|line| line.contains(&host.name) && line.contains(what))
        };
        let next = match self {
            Self::BeforeStaging | Self::Staging => "staged",
            Self::Starting => "started",
            Self::NotReady => "ready",
            Self::Stopping => "stopped",
        };
        assert!(!told(next), "the cut came too late:\n{said}");
    }
}

/// Whether a part of a release has arrived.
pub(crate) fn arriving(host: &Host) -> Option<()> {
    let entries = fs::read_dir(host.path("/var/lib/ship/page/tmp"))
        .ok()?
        .flatten();
    let mut sizes =
        entries.filter_map(|entry| Some(fs::metadata(entry.path().join("artifact")).ok()?.len()));
    sizes.any(|size| size > 1 << 20).then_some(())
}

fn serving_on(host: &Host) -> usize {
    places_on([host])
        .iter()
        .filter(|place| ask(place.parse().expect("address:port")).is_ok())
        .count()
}

/// How a rollout ended, in its own last words: who, what, and why it did not go back.
fn gist(said: &str) -> String {
    let line = |label: &str| {
        said.lines()
            .rev()
            .find_map(|line| line.trim_start().strip_prefix(label))
    };
    let why = line("reason: ").map(|why| {
        why.trim()
            .splitn(3, ": ")
            .take(2)
            .collect::<Vec<_>>()
            .join(": ")
    });
    let held = line("held: ").map(|held| {
        held.trim()
            .split(", ")
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    [why, held]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; held: ")
}
