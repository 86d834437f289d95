//! A host that loses its network, in each phase of a deploy.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, LARGE_BYTES, REPLICAS, endpoints_on, leftovers, three_hosts};
use crate::reliability::ReportRow;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Done, Running};
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace::{self, until};
use ship_testing::probe_client::{get, running};
use ship_testing::project::{PAGE, Project};
use ship_testing::traffic::{Served, Traffic};

/// Shorter than ssh needs to close a dead connection.
const SHORT_DISCONNECT: Duration = Duration::from_secs(3);

/// The phase of a deploy of version 2 in which a host is disconnected.
#[derive(Clone, Copy)]
enum Phase {
    BeforeStaging,
    Staging,
    Starting,
    NotReady,
    Stopping,
}

#[test]
fn deploy_makes_no_changes_if_host_is_disconnected() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let began = Instant::now();
        project.deploy("1").exits(0);
        let [lost, others @ ..] = fleet.hosts.as_slice() else {
            unreachable!("three hosts")
        };
        let traffic = Traffic::begin(endpoints_on(others));
        lost.disconnect();
        project
            .deploy("2")
            .exits(7)
            .prints(&[&lost.name, "no changes were made"]);
        assert_eq!(project.history().len(), 1, "no new revision");
        lost.reconnect();
        let served = traffic
            .end(REPLICAS - 1)
            .assert_within(REPLICAS - 1, REPLICAS);
        project.deploy("2").exits(0);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let row = ReportRow::new(
            "The message named the host; after the repair the same command succeeded",
        );
        let row = row.served(&served, REPLICAS - 1, REPLICAS).exits(&[7, 0]);
        row.took(began.elapsed()).save("cut-before-the-deploy");
    });
}

#[test]
fn rollout_survives_disconnect_before_staging() {
    namespace::with_hosts(|| disconnect_during(Phase::BeforeStaging));
}

#[test]
fn rollout_survives_disconnect_during_staging() {
    namespace::with_hosts(|| disconnect_during(Phase::Staging));
}

#[test]
fn rollout_survives_disconnect_during_start() {
    namespace::with_hosts(|| disconnect_during(Phase::Starting));
}

#[test]
fn rollout_survives_disconnect_before_ready() {
    namespace::with_hosts(|| disconnect_during(Phase::NotReady));
}

#[test]
fn rollout_survives_disconnect_during_stop() {
    namespace::with_hosts(|| disconnect_during(Phase::Stopping));
}

#[test]
fn rollout_continues_if_host_reconnects_before_deadline() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let began = Instant::now();
        let mut disconnected = DisconnectedDeploy::prepare(&fleet, &project, Phase::NotReady);
        disconnected
            .deploy
            .await_words_within("lost ", Duration::from_mins(1));
        disconnected.lost.reconnect();
        let (done, served) = disconnected.end();
        let output = done.exits(0).stderr;
        assert!(output.contains("reachable again after "), "{output}");
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let row = ReportRow::new("The deploy waited, reported it, and continued");
        let row = row.served(&served, REPLICAS - 1, REPLICAS + 1).exits(&[0]);
        row.took(began.elapsed()).save("cut-and-found");
    });
}

/// Disconnects a host for a moment, then permanently.
fn disconnect_during(phase: Phase) {
    let (fleet, project) = three_hosts();
    let project = project.with("progress_deadline = \"1m\"", "progress_deadline = \"25s\"");
    let began = Instant::now();
    let disconnected = DisconnectedDeploy::prepare(&fleet, &project, phase);
    thread::sleep(SHORT_DISCONNECT);
    disconnected.lost.reconnect();
    let (done, served) = disconnected.end();
    done.exits(0);
    project.assert_settled("2", REPLICAS);
    leftovers::assert_none(&fleet);
    let row = ReportRow::new(format!(
        "Repaired after {} s, the deploy continued",
        SHORT_DISCONNECT.as_secs()
    ));
    let row = row.served(&served, REPLICAS - 1, REPLICAS + 1).exits(&[0]);
    row.took(began.elapsed())
        .save(&format!("{}-repaired", phase.key()));

    let began = Instant::now();
    let disconnected = DisconnectedDeploy::prepare(&fleet, &project, phase);
    let (lost, (done, served)) = (disconnected.lost, disconnected.end());
    let done = done.exits(4).prints(&[&lost.name]);
    lost.reconnect();
    project.deploy("2").exits(0);
    project.assert_settled("2", REPLICAS);
    assert_eq!(running(PAGE), REPLICAS);
    leftovers::assert_none(&fleet);
    let row = ReportRow::new(failure_summary(&done.stderr));
    let row = row
        .served(&served, REPLICAS - 1, REPLICAS + 1)
        .exits(&[4, 0]);
    row.took(began.elapsed()).save(phase.key());
}

/// A deploy of version 2, and the host that was disconnected during it.
struct DisconnectedDeploy<'a> {
    deploy: Running,
    lost: &'a Host,
    traffic: Traffic,
}

impl<'a> DisconnectedDeploy<'a> {
    /// Brings the fleet to version 1, starts the deploy of version 2, and disconnects a host in a
    /// phase of it. Observes the other hosts.
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
        phase.remove_release(fleet);
        if matches!(phase, Phase::BeforeStaging) {
            lost.exec("setsid flock /var/lib/ship/page/lock sleep 6 </dev/null >/dev/null 2>&1 &")
                .exits(0);
        }
        let traffic = Traffic::begin(endpoints_on(others));
        let mut deploy = project.start_deploy("2");
        phase.await_phase(lost, &mut deploy);
        lost.disconnect();
        phase.assert_phase_not_over(lost, &deploy.stderr_so_far());
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
                .assert_within(REPLICAS - 1, REPLICAS + 1),
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

    /// Removes the release that an earlier deploy has staged, if the phase is about staging.
    fn remove_release(self, fleet: &Fleet) {
        if matches!(self, Self::BeforeStaging | Self::Staging) {
            for host in &fleet.hosts {
                let prune = "cd /var/lib/ship/page && for r in releases/*; do \
                             grep -qs release=${r#releases/} slots/*/instance || rm -r $r; done";
                host.exec(prune).exits(0);
            }
        }
    }

    fn await_phase(self, host: &Host, deploy: &mut Running) {
        match self {
            Self::BeforeStaging => deploy.await_words("staging 2"),
            Self::Staging => until("the release is arriving", DEADLINE, || is_arriving(host)),
            Self::Starting => until("a fourth instance", DEADLINE, || {
                (running(PAGE) > REPLICAS).then_some(())
            }),
            Self::NotReady => deploy.await_words("started "),
            Self::Stopping => {
                deploy.await_words("ready ");
                until("the old instance stops", DEADLINE, || {
                    (endpoints_serving_on(host) == 1).then_some(())
                });
            }
        }
    }

    fn assert_phase_not_over(self, host: &Host, output: &str) {
        let is_printed = |what: &str| {
            output
                .lines()
                .any(|line| line.contains(&host.name) && line.contains(what))
        };
        let next = match self {
            Self::BeforeStaging | Self::Staging => "staged",
            Self::Starting => "started",
            Self::NotReady => "ready",
            Self::Stopping => "stopped",
        };
        assert!(
            !is_printed(next),
            "the host was disconnected too late:\n{output}"
        );
    }
}

/// Whether a part of a release has arrived.
pub(crate) fn is_arriving(host: &Host) -> Option<()> {
    let entries = fs::read_dir(host.path("/var/lib/ship/page/tmp"))
        .ok()?
        .flatten();
    let mut sizes =
        entries.filter_map(|entry| Some(fs::metadata(entry.path().join("artifact")).ok()?.len()));
    sizes.any(|size| size > 1 << 20).then_some(())
}

fn endpoints_serving_on(host: &Host) -> usize {
    endpoints_on([host])
        .iter()
        .filter(|endpoint| get(endpoint.parse().expect("address:port")).is_ok())
        .count()
}

/// The end of a rollout as it was printed: the host, the failure, and why it was held.
fn failure_summary(output: &str) -> String {
    let line = |label: &str| {
        output
            .lines()
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
