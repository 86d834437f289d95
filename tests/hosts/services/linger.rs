//! Workers that finish their jobs after they were replaced.

use std::time::Duration;

use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;

use super::Service;

/// The number of short jobs.
const JOB_COUNT: usize = 500;

/// Workers on two hosts, each with two slots more than it needs.
fn rq_playbook(linger: &str) -> String {
    format!(
        r#"version = "1"

[service]
name = "jobs"
command = "/usr/bin/rq worker --url redis://10.80.0.11 --name {{{{ host }}}}-{{{{ slot }}}}-{{{{ version }}}} jobs"
slots = 4
linger = "{linger}"

[service.env]
PYTHONPATH = "."

[artifact]
source = "app"

[readiness]
running = "2s"

[rollout]
replicas = 3
progress_deadline = "1m"
"#
    )
}

/// A job that counts how often it has begun, and records its end.
const JOBS: &str = r#"
import time
from redis import Redis
def work(number, seconds):
    redis = Redis("10.80.0.11")
    redis.incr(f"begun:{number}")
    time.sleep(seconds)
    redis.rpush("done", number)
"#;

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

fn redis(host: &Host, command: &str) -> String {
    host.exec(&format!("redis-cli {command}")).stdout
}

fn done(host: &Host) -> usize {
    redis(host, "llen done").trim().parse().unwrap_or(0)
}

/// Starts Redis, and puts a long job for each worker and many short ones into the queue.
fn start_queue(host: &Host) {
    let command = format!(
        "systemd-run --unit=queue redis-server --bind {} 127.0.0.1 --protected-mode no --save ''",
        host.address
    );
    host.exec(&command).exits(0);
    namespace::until("redis answers", Duration::from_secs(20), || {
        (redis(host, "ping").trim() == "PONG").then_some(())
    });
    namespace::write(&host.path("/srv/jobs.py"), JOBS);
}

fn enqueue(host: &Host, long_seconds: u32) {
    let script = format!(
        "cd /srv && python3 -c \"
from redis import Redis
from rq import Queue
queue = Queue('jobs', connection=Redis())
for number in range({JOB_COUNT}):
    queue.enqueue('jobs.work', number, {long_seconds} if number < 3 else 0.05)
\""
    );
    host.exec(&script).exits(0);
}

#[test]
fn rollout_does_not_wait_for_jobs_of_lingering_workers_and_loses_none() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let host = &fleet.hosts[0];
        start_queue(host);
        let service = Service::new(&fleet, &rq_playbook("10m"), &[("jobs.py", JOBS)]);
        service.deploy("1", &[]).exits(0);
        enqueue(host, 60);
        namespace::until(
            "three long jobs have begun",
            Duration::from_secs(20),
            || {
                let begun = redis(host, "mget begun:0 begun:1 begun:2");
                (begun.matches('1').count() == 3).then_some(())
            },
        );
        service
            .deploy("2", &[])
            .exits(0)
            .prints(&["lingers", "it may finish its work for up to 10m"]);
        assert!(
            done(host) < JOB_COUNT,
            "the jobs had ended before the rollout"
        );
        let status = service.ship("status", &[]).exits(0).stdout;
        assert_eq!(status.matches("Lingering ").count(), 3, "{status}");
        assert!(status.contains("ends by "), "{status}");
        assert!(
            status.contains("3 of 3") || status.contains("successfully"),
            "{status}"
        );

        namespace::until("all jobs have ended", Duration::from_mins(3), || {
            (done(host) >= JOB_COUNT).then_some(())
        });
        let ended = redis(host, "lrange done 0 -1");
        let mut numbers: Vec<usize> = ended.lines().filter_map(|line| line.parse().ok()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..JOB_COUNT).collect::<Vec<_>>());
        let keys: Vec<_> = (0..JOB_COUNT)
            .map(|number| format!("begun:{number}"))
            .collect();
        let begun = redis(host, &format!("mget {}", keys.join(" ")));
        assert!(
            begun.lines().all(|count| count == "1"),
            "a job was begun twice"
        );
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
        service
            .ship("status", &[])
            .exits(0)
            .prints(&["Ended after 5s"]);
        // It is not started again.
        host.exec("systemctl restart ship-jobs@1; systemctl is-active ship-jobs@1")
            .prints(&["inactive"]);
        service
            .deploy("3", &[])
            .exits(0)
            .prints(&["lingered: signal KILL: it had not ended within linger after 5."]);
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
