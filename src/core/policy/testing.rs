//! Histories, fleets and specs for the tests of the policy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::fleet::health::{Health, Verdict};
use crate::core::fleet::reach::Reach;
use crate::core::fleet::{Fleet, Host, Instance, Occupant, Process, Sighting};
use crate::core::ids::{Epoch, Revision};
use crate::core::policy::history::RolloutRun;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::release::migration::{Migration, MigrationKind};
use crate::core::release::unit::{Directives, StopSignal};
use crate::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use crate::core::rollout::event::{Entry, Event, FailureResponse, RolloutStart};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::task::Contracted;
use crate::core::rollout::verb::Verb;
use crate::core::spec::budget::{Amount, Budget};
use crate::core::spec::step::OnGate;
use crate::core::spec::windows::DeployWindows;
use crate::core::spec::{Amounts, OnFailure, Spec};
use crate::core::time::Time;

pub(super) const NOW: Time = Time(1_000_000);
const HOUR: u64 = 3_600_000;

/// A release whose version is its name in capitals.
pub(super) fn definition(release: &str, contracts: &[&str]) -> Definition {
    let second = Duration::from_secs(1);
    Definition {
        service: "page".into(),
        version: release.to_uppercase(),
        command: vec!["./run".into()],
        activate: Vec::new(),
        reload: Vec::new(),
        ports: Vec::new(),
        slots: None,
        server: None,
        env: BTreeMap::new(),
        driver: Driver::Process,
        user: None,
        stop_signal: StopSignal::Term,
        stop_timeout: second,
        linger: None,
        systemd: Directives::default(),
        shared_dirs: Vec::new(),
        readiness: Readiness {
            check: Check::Tcp,
            port: None,
            via: Via::Direct,
            interval: second,
            timeout: second,
            success_threshold: 1,
            failure_threshold: 3,
            initial_delay: Duration::ZERO,
        },
        liveness: None,
        hooks: Vec::new(),
        migrations: contracts
            .iter()
            .map(|id| Migration {
                id: (*id).to_owned(),
                kind: MigrationKind::Contract,
                command: vec!["./migrate".into()],
                timeout: second,
                soak: Some(second),
                manual: false,
            })
            .collect(),
        artifact: Artifact {
            form: ArtifactForm::TarGz,
            sha256: String::new(),
            size_bytes: 0,
            strip_components: 0,
        },
        secrets_sha256: None,
    }
}

pub(in crate::core) fn record(
    number: u32,
    verb: Verb,
    release: &str,
    outcome: Option<Outcome>,
) -> RevisionRecord {
    let began = u64::from(number) * 1000;
    RevisionRecord {
        revision: Revision(number),
        release: release.into(),
        definition: definition(release, &[]),
        playbook: String::new(),
        who: "anna@laptop".into(),
        reason: format!("because of {release}"),
        verb,
        began: Time(began),
        ended: outcome.as_ref().map(|_| Time(began + began / 2)),
        proven: outcome == Some(Outcome::Succeeded),
        outcome,
        contents_sha256: None,
    }
}

/// Builds a history, rollout by rollout.
#[derive(Default)]
pub(super) struct HistoryBuilder {
    history: ServiceHistory,
    journal: Vec<Entry>,
}

impl HistoryBuilder {
    pub(super) fn deploy(self, release: &str, outcome: Option<Outcome>) -> Self {
        self.rollout(Verb::Deploy, release, 3, outcome)
    }

    /// Adds a rollout with a revision of its own.
    pub(super) fn rollout(
        mut self,
        verb: Verb,
        release: &str,
        replicas: u32,
        outcome: Option<Outcome>,
    ) -> Self {
        let rollback_target = self.history.automatic_rollback_target(&release.into());
        let rollback_target = rollback_target.filter(|_| verb == Verb::Deploy);
        let rollback_target = rollback_target.map(RevisionRecord::revision_ref);
        let number = u32::try_from(self.history.revisions.len()).unwrap() + 1;
        let record = record(number, verb, release, outcome.clone());
        let start = RolloutStart {
            verb,
            service: "page".into(),
            fleet: "local".into(),
            target: record.revision_ref(),
            rollback_target,
            replicas,
            rollback_replicas: None,
            epoch: Epoch(u64::from(number)),
            is_proven: false,
            scaling: None,
            set: Vec::new(),
            hosts_from: None,
        };
        let event = Event::RolloutStarted(start.clone());
        self.journal = vec![Entry { at: NOW, event }];
        self.history.revisions.push(record);
        self.history.runs.push(RolloutRun {
            start,
            outcome: outcome.clone(),
        });
        if let Some(Outcome::RolledBack | Outcome::RollbackFailed { .. }) = outcome {
            self = self.failed();
        }
        match outcome {
            Some(outcome) => self.then(Event::RolloutFinished { outcome }),
            None => self,
        }
    }

    /// Makes the newest rollout fail and roll back.
    pub(super) fn failed(self) -> Self {
        let failure = failure(FailureKind::NotReady);
        let (log, then) = (Vec::new(), FailureResponse::RollBack);
        self.then(Event::RolloutFailed { failure, log, then })
    }

    /// Appends an event to the newest rollout.
    pub(super) fn then(mut self, event: Event) -> Self {
        self.journal.push(Entry { at: NOW, event });
        self
    }

    /// Records that the newest revision has run the contract migration with this id.
    pub(super) fn contracted(mut self, id: &str) -> Self {
        let newest = self.history.revisions.last().expect("a revision");
        self.history.contracted.push(Contracted {
            id: id.into(),
            revision: newest.revision,
            version: newest.definition.version.clone(),
        });
        self
    }

    pub(super) fn build(self) -> ServiceHistory {
        self.history.with_newest(&self.journal)
    }
}

pub(super) fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        host: None,
        slot: None,
        detail: "status 500".into(),
        waited: Duration::from_secs(9),
    }
}

/// A fleet with one host for each release in `running`. Its instance has been ready for an hour. A
/// host with an empty name as its release has no instance.
pub(super) fn fleet(running: &[&str], epoch: u64) -> Fleet {
    let mut fleet = Fleet::default();
    for (number, release) in (1..).zip(running) {
        let mut host = Host {
            reach: Reach::Reachable,
            epoch: Epoch(epoch),
            ..Host::default()
        };
        if !release.is_empty() {
            host.releases.insert((*release).into());
            host.slots.insert(8081, occupant(number, release));
        }
        fleet.hosts.insert(format!("h{number}").into(), host);
    }
    fleet
}

fn occupant(number: u32, release: &str) -> Occupant {
    let since = Time(NOW.0.saturating_sub(HOUR));
    Occupant::Instance(Instance {
        name: format!("page-{number}-{release}").into(),
        release: release.into(),
        revision: Revision(1),
        started: since,
        process: Process::Running,
        lingering: None,
        restarts: 0,
        listeners: BTreeMap::new(),
        sighting: Sighting {
            at: NOW,
            ..Sighting::default()
        },
        health: Health {
            passes: 1,
            failures: 0,
            ready_since: Some(since),
            last: Some((NOW, Verdict::Pass("ok".into()))),
        },
    })
}

pub(super) const AMOUNTS: Amounts = Amounts {
    replicas: 3,
    max_surge: Amount::Count(0),
    max_unavailable: Amount::Count(1),
};

/// A spec with three instances on the hosts of a fleet, one per host.
pub(super) fn spec(fleet: &Fleet) -> Spec {
    Spec {
        service: "page".into(),
        hosts: fleet.hosts.keys().cloned().collect(),
        slots: vec![8081],
        release_slots: BTreeMap::new(),
        without_ports: BTreeSet::new(),
        slot_ports: BTreeMap::new(),
        is_singleton: false,
        zones: crate::core::spec::zones::Zones::default(),
        reload_groups: BTreeMap::new(),
        budget: Budget {
            replicas: 3,
            surge: 0,
            unavailable: 1,
        },
        rollback_budget: None,
        min_ready: Duration::ZERO,
        progress_deadline: Duration::from_mins(10),
        max_failed_hosts: 0,
        on_failure: OnFailure::RollBack,
        thresholds: BTreeMap::new(),
        waits: BTreeMap::new(),
        steps: Vec::new(),
        on_gate: OnGate::default(),
        deploy_windows: DeployWindows::default(),
        tasks: Vec::new(),
        analyses: Vec::new(),
        traffic: None,
        keep: BTreeSet::from(["a".into(), "b".into()]),
    }
}
