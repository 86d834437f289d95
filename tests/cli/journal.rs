//! Builds journals of rollouts that a test cannot run: with hundreds of hosts, or with every event.

use std::time::Duration;

use ship::core::analysis::measurement::{Finding, Number};
use ship::core::availability::{Answer, Tally};
use ship::core::fleet::traffic::DrainResult;
use ship::core::ids::{ActionId, Epoch, InstanceId, ReleaseId, Revision, Slot};
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::event::{
    Entry, Event, FailureResponse, Progress, RevisionRef, RolloutStart,
};
use ship::core::rollout::failure::{Failure, FailureKind, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::time::Time;
use ship::store::{
    Holder, RecordStore, RolloutId, ServiceKey, Sqlite, StateDir, Store as _, StoreAccess,
};

use crate::project::LocalProject;

/// Two at night.
const BEGIN: Time = Time(1_762_045_200_000);

/// What a service may write, that is not to be taken for a page.
pub(crate) const HOSTILE: [&str; 4] = [
    "</pre><script>document.title = 'taken over'</script>",
    "</style></title><img src=x onerror=\"document.title = 'taken over'\">",
    "\u{1b}[2J\u{202e}all is well\u{0}\u{8}{{ 7 * 7 }}",
    "'\"><svg/onload=alert(1)> &lt;b&gt;",
];

/// Builds the journal of a rollout across many hosts, five at a time.
pub(crate) struct Night {
    entries: Vec<Entry>,
    now: Time,
    orders: u64,
    progress: Progress,
    old: ReleaseId,
    new: ReleaseId,
}

impl Night {
    /// It begins: an instance of 0.8 on each host.
    pub(crate) fn of(hosts: u32) -> Self {
        let [old, new] = ["0.8", "0.9"]
            .map(|version| ReleaseId::from(format!("{version:0<64}").replace('.', "f")));
        let progress = Progress {
            desired: hosts,
            available: hosts,
            total: hosts,
            ..Progress::default()
        };
        let mut night = Self {
            entries: Vec::new(),
            now: BEGIN,
            orders: 0,
            progress,
            old,
            new,
        };
        let generation = |version: &str, revision, release: &ReleaseId| RevisionRef {
            revision: Revision(revision),
            release: release.clone(),
            version: version.to_owned(),
        };
        let start = RolloutStart {
            verb: Verb::Deploy,
            service: "page".into(),
            fleet: "local".into(),
            target: generation("0.9", 1, &night.new),
            rollback_target: Some(generation("0.8", 1, &night.old)),
            replicas: hosts,
            rollback_replicas: None,
            epoch: Epoch(7),
            is_proven: false,
            scaling: None,
            set: vec!["rollout.max_unavailable=20%".into()],
            hosts_from: None,
        };
        night.then(0, Event::RolloutStarted(start));
        night.count(|_| ());
        night
    }

    /// Records an event after this many milliseconds.
    pub(crate) fn then(&mut self, after_ms: u64, event: Event) {
        self.now = self.now + Duration::from_millis(after_ms);
        self.entries.push(Entry {
            at: self.now,
            event,
        });
    }

    fn count(&mut self, change: impl Fn(&mut Progress)) {
        change(&mut self.progress);
        self.then(0, Event::Progress(self.progress));
    }

    fn order(&mut self, action: Action, instance: Option<&InstanceId>) -> ActionId {
        self.orders += 1;
        let id = ActionId(self.orders);
        self.then(
            1,
            Event::ActionStarted {
                id,
                action,
                instance: instance.cloned(),
            },
        );
        id
    }

    fn name(release: &ReleaseId, host: &str) -> InstanceId {
        InstanceId::from(format!("page-{}-{host}", release.short()))
    }

    fn slot(host: &str, port: u16) -> Slot {
        Slot::new(host, port)
    }

    /// An instance of the new version is started on a host.
    pub(crate) fn start(&mut self, host: &str) {
        let (slot, release) = (Self::slot(host, 8082), self.new.clone());
        let name = Self::name(&release, host);
        let id = self.order(
            Action::Start {
                slot,
                release,
                reloads: None,
            },
            Some(&name),
        );
        self.then(120, Event::ActionDone { id });
        self.count(|counts| {
            (counts.updated, counts.total) = (counts.updated + 1, counts.total + 1);
        });
    }

    /// It is ready.
    pub(crate) fn ready(&mut self, host: &str) {
        let (slot, release) = (Self::slot(host, 8082), self.new.clone());
        let instance = Self::name(&release, host);
        self.then(
            300,
            Event::InstanceReady {
                slot,
                instance,
                release,
                answer: "I am well".into(),
            },
        );
        self.count(|counts| {
            counts.available += 1;
            counts.updated_available += 1;
        });
    }

    /// The old one is drained and stopped.
    pub(crate) fn stop(&mut self, host: &str, cut: u32) {
        let (slot, instance) = (Self::slot(host, 8081), Self::name(&self.old, host));
        let drain = Action::Drain {
            slot: slot.clone(),
            instance: instance.clone(),
            keep: 1,
        };
        let id = self.order(drain, None);
        self.count(|counts| counts.available -= 1);
        let receipt = DrainResult {
            waited: Duration::from_millis(900),
            ended: 3,
            cut,
        };
        self.then(
            900,
            Event::Drained {
                slot: slot.clone(),
                instance: instance.clone(),
                result: receipt,
            },
        );
        self.then(0, Event::ActionDone { id });
        let why = StopReason::Replaced;
        let id = self.order(
            Action::Stop {
                slot,
                instance,
                why,
                restore_after: None,
                ended: None,
            },
            None,
        );
        self.then(200, Event::ActionDone { id });
        self.count(|counts| counts.total -= 1);
    }

    /// A host is lost and becomes a failed host.
    pub(crate) fn lose(&mut self, host: &str) {
        let why = "connection timed out after 5s";
        self.then(
            100,
            Event::HostLost {
                host: host.into(),
                why: why.into(),
            },
        );
        let failure = Failure {
            kind: FailureKind::HostLost,
            host: Some(host.into()),
            slot: None,
            detail: why.into(),
            waited: Duration::from_mins(1),
        };
        self.count(|counts| counts.available -= 1);
        self.then(
            2000,
            Event::HostFailed {
                failure,
                log: Vec::new(),
            },
        );
    }

    /// A step is reached, measured and passed.
    pub(crate) fn step(&mut self, step: u32, instances: u32) {
        let soak = Duration::from_secs(5);
        self.then(
            0,
            Event::StepReached {
                step,
                of: 3,
                instances,
                soak,
                pause: false,
            },
        );
        for (nth, outcome) in [Finding::Inconclusive, Finding::Success, Finding::Success]
            .into_iter()
            .enumerate()
        {
            self.measure(
                "beside the old ones",
                outcome,
                "0.2 % of 412 new and 0.1 % of 398 old requests failed",
                nth,
            );
            self.measure("checkout", outcome, "0.013 < 0.5", nth);
        }
        self.then(1000, Event::StepPassed { step, of: 3 });
    }

    fn measure(&mut self, analysis: &str, outcome: Finding, detail: &str, nth: usize) {
        let value = Number::new(f64::from(u32::try_from(nth).unwrap_or(0)));
        let (analysis, detail) = (analysis.to_owned(), detail.to_owned());
        self.then(
            700,
            Event::Measured {
                analysis,
                outcome,
                detail,
                value,
                dry_run: false,
            },
        );
    }

    /// The availability monitor reports its requests.
    pub(crate) fn probed(&mut self, lost: u32) {
        let mut tally = Tally::new(0);
        for n in 0..12_431_u64 {
            let version = Some(if n < 3001 { "0.8" } else { "0.9" }.to_owned());
            tally.add(
                BEGIN + Duration::from_millis(n),
                Answer::Served {
                    took: Duration::from_millis(1 + n % 4),
                    version,
                },
            );
        }
        for n in 0..lost {
            let why = "connection reset by peer, before an answer".to_owned();
            tally.add(
                BEGIN + Duration::from_secs(u64::from(n)),
                Answer::Failed { why },
            );
        }
        self.then(0, Event::AvailabilityReported(tally.report()));
    }

    /// An instance fails with a log that is meant to harm who reads it.
    pub(crate) fn fail(&mut self, host: &str, then: FailureResponse) {
        let slot = Self::slot(host, 8082);
        let failure = Failure {
            kind: FailureKind::NotReady,
            host: Some(host.into()),
            slot: Some(slot.clone()),
            detail: format!("HTTP 500: {}", HOSTILE[0]),
            waited: Duration::from_secs(31),
        };
        let (instance, release) = (Self::name(&self.new, host), self.new.clone());
        let answer = HOSTILE[1].to_owned();
        self.then(
            100,
            Event::InstanceNotReady {
                slot,
                instance,
                release,
                answer,
            },
        );
        let log = HOSTILE.map(str::to_owned).to_vec();
        self.then(4000, Event::RolloutFailed { failure, log, then });
    }

    /// It ends so, and is written into the history of a project that has deployed once.
    pub(crate) fn end(mut self, outcome: &Outcome, project: &LocalProject) -> RolloutId {
        self.then(
            800,
            Event::RolloutFinished {
                outcome: outcome.clone(),
            },
        );
        let database = Sqlite::open(&StateDir {
            dir: project.path(".ship"),
        })
        .expect("the project's database");
        let store = RecordStore::open(Box::new(database), StoreAccess::Write);
        let mut store = store.expect("the project's store");
        let subject = ServiceKey {
            fleet: "local".into(),
            service: "page".into(),
        };
        let holder = Holder::this_process("anna", "here", "deploy");
        store
            .acquire_lease(&subject, holder, None)
            .expect("the lease");
        let begun = store
            .begin_rollout(&subject, Revision(1), Epoch(0), BEGIN)
            .expect("a rollout");
        store
            .append(begun.0, 1, &self.entries)
            .expect("its journal");
        store
            .end_rollout(begun.0, outcome, *outcome == Outcome::Succeeded, self.now)
            .expect("its end");
        begun.0
    }
}
