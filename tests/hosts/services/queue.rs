//! A queue of rq in Redis on a host, whose jobs record how often they begin and when they end.

use std::time::{Duration, Instant};

use ship_testing::fleet::Host;
use ship_testing::namespace;

/// The number of jobs in a queue.
pub(super) const JOB_COUNT: usize = 500;

/// A job that counts how often it has begun, and records its end. The file `jobs.py` of the artifact.
pub(super) const JOBS: &str = r#"
import time
from redis import Redis
def work(number, seconds):
    redis = Redis("10.80.0.11")
    redis.incr(f"begun:{number}")
    time.sleep(seconds)
    redis.rpush("done", number)
"#;

/// Workers on two hosts that take the jobs.
pub(super) const PLAYBOOK: &str = r#"version = "1"

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

/// A queue on the first host of a fleet.
pub(super) struct Queue<'a> {
    host: &'a Host,
}

impl<'a> Queue<'a> {
    /// Starts Redis.
    pub(super) fn start(host: &'a Host) -> Self {
        let command = format!(
            "systemd-run --unit=queue redis-server --bind {} 127.0.0.1 --protected-mode no --save ''",
            host.address
        );
        host.exec(&command).exits(0);
        let queue = Self { host };
        namespace::until("redis answers", Duration::from_secs(20), || {
            (queue.redis("ping").trim() == "PONG").then_some(())
        });
        namespace::write(&host.path("/srv/jobs.py"), JOBS);
        queue
    }

    /// What `redis-cli` prints.
    pub(super) fn redis(&self, command: &str) -> String {
        self.host.exec(&format!("redis-cli {command}")).stdout
    }

    /// Adds the jobs. The first three take `long_seconds`, the others 0.05 seconds.
    pub(super) fn add_jobs(&self, long_seconds: f64) {
        self.enqueue(
            &format!("range({JOB_COUNT})"),
            &format!("{long_seconds} if number < 3 else 0.05"),
        );
    }

    /// The number of jobs that have ended.
    pub(super) fn done(&self) -> usize {
        self.redis("llen done").trim().parse().unwrap_or(0)
    }

    /// Waits until all jobs have ended, and asserts that each was begun once.
    ///
    /// rq 1.13 takes a job from the queue before it records that it has the job. A worker that gets
    /// its signal in that moment loses the job without having begun it, and not only with ship.
    /// Such a job is added again.
    pub(super) fn expect_each_once(&self) {
        self.await_idle();
        let never_begun: Vec<_> = self
            .begun()
            .iter()
            .enumerate()
            .filter(|(_, count)| **count == 0)
            .map(|(number, _)| number.to_string())
            .collect();
        assert!(never_begun.len() <= 3, "never begun: {never_begun:?}");
        if !never_begun.is_empty() {
            self.enqueue(&format!("[{}]", never_begun.join(",")), "0.05");
            self.await_idle();
        }
        let done = self.redis("lrange done 0 -1");
        let mut numbers: Vec<usize> = done.lines().filter_map(|line| line.parse().ok()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..JOB_COUNT).collect::<Vec<_>>());
        assert_eq!(self.begun(), [1; JOB_COUNT]);
    }

    /// Waits until the queue is empty and every job that has begun has ended, for some seconds: a job
    /// that has left the queue may not have begun yet.
    fn await_idle(&self) {
        const IDLE: Duration = Duration::from_secs(4);
        let mut idle_since = None;
        namespace::until("all jobs have ended", Duration::from_mins(5), || {
            let is_empty = self.redis("llen rq:queue:jobs").trim() == "0";
            let begun: usize = self.begun().iter().sum();
            if !is_empty || begun != self.done() {
                idle_since = None;
                return None;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            (since.elapsed() >= IDLE).then_some(())
        });
    }

    /// How often each job has begun.
    fn begun(&self) -> Vec<usize> {
        let keys: Vec<_> = (0..JOB_COUNT)
            .map(|number| format!("begun:{number}"))
            .collect();
        let counts = self.redis(&format!("mget {}", keys.join(" ")));
        counts
            .lines()
            .map(|count| count.parse().unwrap_or(0))
            .collect()
    }

    /// Adds jobs: Python expressions for their numbers, and for the seconds of the job `number`.
    fn enqueue(&self, numbers: &str, seconds: &str) {
        let script = format!(
            "cd /srv && python3 -c \"
from redis import Redis
from rq import Queue
queue = Queue('jobs', connection=Redis())
for number in {numbers}:
    queue.enqueue('jobs.work', number, {seconds})
\""
        );
        self.host.exec(&script).exits(0);
    }
}
