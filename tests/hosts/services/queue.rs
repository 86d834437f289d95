//! A queue of rq in Redis on a host, whose jobs record how often they begin and when they end.

use std::time::Duration;

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
        let script = format!(
            "cd /srv && python3 -c \"
from redis import Redis
from rq import Queue
queue = Queue('jobs', connection=Redis())
for number in range({JOB_COUNT}):
    queue.enqueue('jobs.work', number, {long_seconds} if number < 3 else 0.05)
\""
        );
        self.host.exec(&script).exits(0);
    }

    /// The number of jobs that have ended.
    pub(super) fn done(&self) -> usize {
        self.redis("llen done").trim().parse().unwrap_or(0)
    }

    /// Waits until all jobs have ended, and asserts that each was begun once.
    pub(super) fn expect_each_once(&self) {
        namespace::until("all jobs have ended", Duration::from_mins(5), || {
            (self.done() >= JOB_COUNT).then_some(())
        });
        let done = self.redis("lrange done 0 -1");
        let mut numbers: Vec<usize> = done.lines().filter_map(|line| line.parse().ok()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..JOB_COUNT).collect::<Vec<_>>());
        let keys: Vec<_> = (0..JOB_COUNT)
            .map(|number| format!("begun:{number}"))
            .collect();
        let begun = self.redis(&format!("mget {}", keys.join(" ")));
        assert!(
            begun.lines().all(|count| count == "1"),
            "a job was begun twice"
        );
    }
}
