//! Workers without ports.

use std::time::Duration;

use ship_testing::command::Done;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;

use super::Service;

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "jobs"
command = "/usr/bin/rq worker --url redis://10.80.0.11 --name {{ host }}-{{ slot }}-{{ version }} jobs"
slots = 2
stop_timeout = "30s"

[service.env]
PYTHONPATH = "."

[artifact]
source = "app"

[readiness]
running = "2s"

[rollout]
replicas = 3
progress_deadline = "1m"
"#;

/// A job that counts how often it has begun, and records its end.
const JOBS: &str = r#"
import time
from redis import Redis
def work(number):
    redis = Redis("10.80.0.11")
    redis.incr(f"begun:{number}")
    time.sleep(0.05)
    redis.rpush("done", number)
"#;

/// The number of jobs.
const JOB_COUNT: usize = 500;

/// Starts Redis on a host.
fn start_redis(host: &Host) {
    let command = format!(
        "systemd-run --unit=queue redis-server --bind {} 127.0.0.1 --protected-mode no --save ''",
        host.address
    );
    host.exec(&command).exits(0);
    namespace::until("redis answers", Duration::from_secs(20), || {
        (redis(host, "ping").stdout.trim() == "PONG").then_some(())
    });
}

fn redis(host: &Host, command: &str) -> Done {
    host.exec(&format!("redis-cli {command}"))
}

/// Puts the jobs into the queue.
fn enqueue(host: &Host) {
    namespace::write(&host.path("/srv/jobs.py"), JOBS);
    let script = format!(
        "cd /srv && python3 -c \"
from redis import Redis
from rq import Queue
queue = Queue('jobs', connection=Redis())
for number in range({JOB_COUNT}):
    queue.enqueue('jobs.work', number)
\""
    );
    host.exec(&script).exits(0);
}

#[test]
fn rollout_of_rq_workers_loses_and_repeats_no_job() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let host = &fleet.hosts[0];
        start_redis(host);
        let service = Service::new(&fleet, PLAYBOOK, &[("jobs.py", JOBS)]);
        service.deploy("1", &[]).exits(0);
        enqueue(host);
        namespace::until("some jobs have ended", Duration::from_secs(20), || {
            let done: usize = redis(host, "llen done").stdout.trim().parse().ok()?;
            (done > 10).then_some(())
        });
        service.deploy("2", &[]).exits(0);
        let left = redis(host, "llen rq:queue:jobs").stdout;
        assert_ne!(left.trim(), "0", "the jobs had ended before the rollout");
        namespace::until("all jobs have ended", Duration::from_mins(2), || {
            let done: usize = redis(host, "llen done").stdout.trim().parse().ok()?;
            (done >= JOB_COUNT).then_some(())
        });
        let done = redis(host, "lrange done 0 -1").stdout;
        let mut numbers: Vec<usize> = done.lines().filter_map(|line| line.parse().ok()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..JOB_COUNT).collect::<Vec<_>>());
        let keys: Vec<_> = (0..JOB_COUNT)
            .map(|number| format!("begun:{number}"))
            .collect();
        let begun = redis(host, &format!("mget {}", keys.join(" "))).stdout;
        assert!(
            begun.lines().all(|count| count == "1"),
            "a job was begun twice"
        );
        let workers = redis(host, "smembers rq:workers").stdout;
        assert!(
            workers.lines().count() == 3 && workers.lines().all(|name| name.ends_with("-2")),
            "{workers}"
        );
    });
}

#[test]
fn worker_that_crashes_is_rolled_back() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = Service::new(&fleet, PLAYBOOK, &[("jobs.py", JOBS)]);
        let sleep = "service.command=\"/bin/sleep 3600\"";
        service.deploy("1", &["--set", sleep]).exits(0);
        for (seconds, within) in [(0, "2s"), (1, "3s"), (6, "8s")] {
            let crash = format!("service.command=\"/bin/sh -c 'sleep {seconds}; exit 3'\"");
            let running = format!("readiness.running=\"{within}\"");
            service
                .deploy("2", &["--set", &crash, "--set", &running])
                .exits(3)
                .prints(&["exited unexpectedly", "exit status 3"]);
        }
        let status = service.ship("status", &[]).exits(0).stdout;
        assert_eq!(status.matches(" Running ").count(), 3, "{status}");
    });
}
