//! Workers without ports.

use std::time::Duration;

use ship_testing::fleet::Fleet;
use ship_testing::namespace;

use super::Service;
use super::queue::{JOBS, PLAYBOOK, Queue};

#[test]
fn rollout_of_rq_workers_loses_and_repeats_no_job() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let queue = Queue::start(&fleet.hosts[0]);
        let service = Service::new(&fleet, PLAYBOOK, &[("jobs.py", JOBS)]);
        service.deploy("1", &[]).exits(0);
        queue.add_jobs(0.05);
        namespace::until("some jobs have ended", Duration::from_secs(20), || {
            (queue.done() > 10).then_some(())
        });
        let left = queue.redis("llen rq:queue:jobs");
        assert_ne!(left.trim(), "0", "the jobs had ended before the rollout");
        service.deploy("2", &[]).exits(0);
        queue.expect_each_once();
        let workers = queue.redis("smembers rq:workers");
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
