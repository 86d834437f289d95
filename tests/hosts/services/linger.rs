//! Workers that finish their jobs after they were replaced.

use std::time::Duration;

use ship_testing::fleet::Fleet;
use ship_testing::namespace;

use super::Service;
use super::queue::{JOB_COUNT, JOBS, PLAYBOOK, Queue};

/// A worker that finishes its job, the file `/srv/job`, after SIGTERM.
const WORKER: &str = "/bin/sh -c 'trap \"while [ -e /srv/job ]; do sleep 0.1; done; exit 0\" TERM; while :; do sleep 0.1; done'";

fn worker_playbook(slots: u32, linger: &str) -> String {
    format!(
        r#"version = "1"

[service]
name = "jobs"
command = {WORKER:?}
slots = {slots}
stop_timeout = "5s"
linger = "{linger}"

[artifact]
source = "app"

[readiness]
running = "1s"

[rollout]
replicas = 1
max_surge = 0
max_unavailable = 1
progress_deadline = "20s"
"#
    )
}

#[test]
fn rollout_does_not_wait_for_jobs_of_lingering_workers_and_loses_none() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let queue = Queue::start(&fleet.hosts[0]);
        let playbook = PLAYBOOK.replace(
            "slots = 2\nstop_timeout = \"30s\"",
            "slots = 4\nlinger = \"10m\"",
        );
        let service = Service::new(&fleet, &playbook, &[("jobs.py", JOBS)]);
        service.deploy("1", &[]).exits(0);
        queue.add_jobs(60.0);
        namespace::until(
            "three long jobs have begun",
            Duration::from_secs(20),
            || {
                let begun = queue.redis("mget begun:0 begun:1 begun:2");
                (begun.matches('1').count() == 3).then_some(())
            },
        );
        service
            .deploy("2", &[])
            .exits(0)
            .prints(&["lingers", "it may finish its work for up to 10m"]);
        let done = queue.done();
        assert!(done < JOB_COUNT, "the jobs had ended before the rollout");
        let status = service.ship("status", &[]).exits(0).stdout;
        assert_eq!(status.matches("Lingering ").count(), 3, "{status}");
        assert!(status.contains("ends by "), "{status}");

        queue.expect_each_once();
        // The next rollout empties the slots, and reports how the workers ended.
        namespace::until(
            "the old workers have ended",
            Duration::from_secs(20),
            || {
                let status = service.ship("status", &[]).stdout;
                (status.matches("Ended after ").count() == 3).then_some(())
            },
        );
        service
            .deploy("3", &[])
            .exits(0)
            .prints(&["(lingered: exit status 0 after "]);
    });
}

#[test]
fn host_ends_a_lingering_worker_although_ship_does_not_return() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        let service = Service::new(&fleet, &worker_playbook(2, "5s"), &[("empty", "")]);
        service.deploy("1", &[]).exits(0);
        host.exec("touch /srv/job").exits(0);
        service.deploy("2", &[]).exits(0).prints(&["lingers"]);
        // Without notifications of control groups, systemd waits for the stop timeout once more.
        namespace::until("the host ends the worker", Duration::from_secs(30), || {
            let units = host
                .exec("systemctl is-active ship-jobs@1 ship-jobs@2")
                .stdout;
            (units.matches("inactive").count() == 1).then_some(())
        });
        let shown = service.ship("status", &[]).exits(0).stdout;
        let is_ended = |after: &&str| shown.contains(&format!("Ended after {after}s"));
        assert!(["5", "10"].iter().any(is_ended), "{shown}");
        // It is not started again.
        host.exec("systemctl restart ship-jobs@1; systemctl is-active ship-jobs@1")
            .prints(&["inactive"]);
        service
            .deploy("3", &[])
            .exits(0)
            .prints(&["lingered: signal KILL: it had not ended within linger after "]);
        // systemd counts a start that the unit's condition refuses.
        host.exec("systemctl show ship-jobs@1 -p NRestarts")
            .prints(&["NRestarts=0"]);
    });
}

#[test]
fn deploy_without_a_free_slot_waits_for_a_lingering_worker() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        let service = Service::new(&fleet, &worker_playbook(1, "19s"), &[("empty", "")]);
        service.deploy("1", &[]).exits(0);
        host.exec("touch /srv/job").exits(0);
        let mut deploy = service.start_ship("deploy", &["--version", "2", "--progress", "plain"]);
        deploy.await_words("no slot is free; its instance lingers for up to another 1");
        host.exec("rm /srv/job").exits(0);
        deploy.wait().exits(0);
        service
            .ship("status", &[])
            .exits(0)
            .prints(&["1/1     Running"]);
    });
}

#[test]
fn deploy_is_refused_if_lingering_workers_could_keep_every_slot() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = Service::new(&fleet, &worker_playbook(1, "10m"), &[("empty", "")]);
        service.deploy("1", &[]).exits(2).prints(&[
            "1 old and 1 new instances need 2 slots while the old ones linger, but the fleet offers 1",
            "linger (10m) exceeds progress_deadline (20s)",
        ]);
    });
}

#[test]
fn host_that_restarts_ends_and_does_not_start_a_lingering_worker() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = Service::new(&fleet, &worker_playbook(2, "10m"), &[("empty", "")]);
        service.deploy("1", &[]).exits(0);
        fleet.hosts[0].exec("touch /srv/job").exits(0);
        service.deploy("2", &[]).exits(0).prints(&["lingers"]);
        fleet.hosts[0].kill();
        fleet.hosts[0].boot_again();
        namespace::until("the new worker runs again", Duration::from_mins(1), || {
            let status = service.ship("status", &[]).stdout;
            (status.contains(" Running ") && status.contains(" Ended ")).then_some(())
        });
        let units = fleet.hosts[0]
            .exec("systemctl is-active ship-jobs@1 ship-jobs@2")
            .stdout;
        assert_eq!(units.matches("inactive").count(), 1, "{units}");
    });
}
