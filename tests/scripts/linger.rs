//! Instances that may finish their work when they are replaced.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ship::core::fleet::{Instance, Process};
use ship::core::ids::InstanceId;
use ship::script::{Script, StartSpec, StopSpec, observe, stop};

use crate::host::{Host, Release, session_members, shells, wait_for};

/// A worker that exits when its current job, the file `job`, is removed.
const WORKER: &str = "trap 'while [ -e \"$JOB\" ]; do sleep 0.05; done; exit 0' TERM; echo up; while :; do sleep 0.05; done";

/// A host with a worker in its slot that may linger.
struct Worker {
    host: Host,
    release: Release,
    job: std::path::PathBuf,
}

impl Worker {
    fn start(host: Host, linger: Duration) -> Self {
        let release = Release::new("hello");
        host.stage(&release);
        let job = host.dir.path().join("job");
        fs::write(&job, "").expect("the job");
        let launch = host.launch_sh("worker-a", &release, WORKER);
        host.start(&StartSpec {
            linger: Some(linger),
            env: [("JOB".to_owned(), job.display().to_string())].into(),
            ..launch
        });
        host.wait_for_log("up");
        Self { host, release, job }
    }

    fn halt(&self, restore_after: Option<Duration>) -> Script {
        let spec = StopSpec {
            number: self.host.port,
            instance: InstanceId::from("worker-a"),
            stop_timeout: Duration::from_secs(10),
            hooks: Duration::ZERO,
            restore_after,
            may_linger: true,
        };
        stop(&self.host.site, &spec)
    }

    fn observed(&self) -> Instance {
        self.host
            .instance(self.host.order(&observe(&self.host.site)))
    }
}

#[test]
fn replaced_worker_finishes_its_job_and_then_leaves_the_slot() {
    for shell in shells() {
        let worker = Worker::start(Host::with(shell), Duration::from_mins(1));
        let pid = worker.host.pid();
        let before = Instant::now();
        let lingering = worker.host.instance(worker.host.order(&worker.halt(None)));
        assert!(before.elapsed() < Duration::from_secs(8), "{shell:?}");
        let times = lingering.lingers().expect("the worker lingers");
        assert_eq!(times.ends_by, times.since + Duration::from_mins(1));
        assert!(!lingering.is_running(), "{shell:?}");

        // A second stop neither waits nor signals again.
        worker.host.order(&worker.halt(None));
        assert_eq!(worker.host.pid(), pid);

        fs::remove_file(&worker.job).expect("the job");
        wait_for("the end of the worker", || {
            worker.observed().process != Process::Running
        });
        wait_for("the record of its end", || {
            let lingering = worker.observed().lingering;
            lingering.is_some_and(|lingering| lingering.ended.is_some())
        });
        let observation = worker.host.order(&worker.halt(None));
        assert!(observation.slots.is_empty(), "{observation:?}");
        assert!(!worker.host.slot().join("linger").exists());
    }
}

#[test]
fn host_ends_a_worker_that_lingers_too_long() {
    let worker = Worker::start(Host::new(), Duration::from_secs(2));
    let pid = worker.host.pid().to_string();
    worker.host.order(&worker.halt(None));
    assert!(!session_members(&pid).is_empty(), "the worker lingers");
    wait_for("the host ends the worker", || {
        session_members(&pid).is_empty()
    });
    wait_for("the record of its end", || {
        worker.observed().process
            == Process::Ended {
                how: "killed: it had not ended within linger".into(),
            }
    });
}

#[test]
fn worker_without_a_job_does_not_linger() {
    let worker = Worker::start(Host::new(), Duration::from_mins(1));
    fs::remove_file(&worker.job).expect("the job");
    let observation = worker.host.order(&worker.halt(None));
    assert!(observation.slots.is_empty(), "{observation:?}");
}

#[test]
fn slot_of_a_lingering_worker_is_not_free() {
    let worker = Worker::start(Host::new(), Duration::from_mins(1));
    worker.host.order(&worker.halt(None));
    let next = worker
        .host
        .launch_sh("worker-b", &worker.release, "sleep 60");
    let refused = worker
        .host
        .run(&ship::script::start(&worker.host.site, &next));
    let why = format!("slot {} still contains worker-a", worker.host.port);
    assert_eq!(refused.failure(), why);
}

#[test]
fn lingering_worker_is_restored_only_after_its_end() {
    let worker = Worker::start(Host::new(), Duration::from_mins(1));
    let pid = worker.host.pid();
    worker
        .host
        .order(&worker.halt(Some(Duration::from_hours(1))));
    let armed = worker
        .host
        .root()
        .join(format!("armed/{}", worker.host.port));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    fs::write(armed.join("due"), format!("{} 0\n", boot.trim())).expect("file");
    let restore = || {
        Command::new("sh")
            .arg(armed.join("restore"))
            .output()
            .expect("sh")
    };
    let early = restore();
    let printed = String::from_utf8_lossy(&early.stdout).into_owned();
    assert!(printed.contains("still lingers"), "{early:?}");
    assert_eq!(worker.host.pid(), pid);

    fs::remove_file(&worker.job).expect("the job");
    wait_for("the end of the worker", || {
        worker.observed().process != Process::Running
    });
    let late = restore();
    assert!(late.status.success(), "{late:?}");
    let restored = worker.observed();
    assert!(restored.is_running(), "{restored:?}");
    assert_ne!(worker.host.pid(), pid);
}
