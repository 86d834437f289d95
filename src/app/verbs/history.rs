//! `ship history`: reads all revisions, or one in full.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::opened_service::OpenedService;
use crate::app::session::history_of;
use crate::config::{Overrides, host_names};
use crate::core::availability::AvailabilityReport;
use crate::core::ids::Revision;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::history::RolloutRun;
use crate::core::policy::rollback::RollbackRefusal;
use crate::core::release::Definition;
use crate::core::release::unit::Directives;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{Deployment, DeploymentNumber};
use crate::core::text_difference::difference;
use crate::core::time::Human;
use crate::report::HistoryRow;
use crate::store::{RevisionRecord, ServiceKey, ServiceRecords, StoreAccess};

/// One revision, and how the current release differs from it.
pub struct RevisionDetails {
    pub row: HistoryRow,
    /// Duration of its rollout; `None` while it is running.
    pub duration: Option<Duration>,
    /// The text of the playbook at that time.
    pub playbook: String,
    /// The directives of its units.
    pub directives: Directives,
    /// Whether a rollout of the revision has ever succeeded.
    pub is_proven: bool,
    /// The result of the availability monitor, if one ran.
    pub monitor: Option<AvailabilityReport>,
    /// The current revision of the fleet, and its version.
    pub current: Option<(Revision, String)>,
    /// The lines of the settings in which the current revision differs.
    pub differs: Vec<String>,
}

/// Reads all revisions, the newest first.
///
/// # Errors
/// If the files or the state cannot be read.
pub fn history(env: &Arc<dyn Environment>) -> Result<Vec<HistoryRow>, Error> {
    let service = open(env)?;
    let records = service.records()?;
    service.report_unshared_history(&records);
    let running = running_revision(&service, &records);
    let history = history_of(&records);
    let deployments = service.deployments()?;
    let rows = history.revisions.iter().rev().map(|record| HistoryRow {
        deployment: deployment_of(&deployments, &service.service_key, record.revision),
        ..row(record, &history.runs, running)
    });
    Ok(rows.collect())
}

/// Reads one revision and compares it with the current one.
///
/// # Errors
/// If the revision does not exist, or the files or the state cannot be read.
pub fn revision(env: &Arc<dyn Environment>, number: Revision) -> Result<RevisionDetails, Error> {
    let service = open(env)?;
    let records = service.records()?;
    let running = running_revision(&service, &records);
    let history = history_of(&records);
    let record = history
        .revision(number)
        .ok_or(RollbackRefusal::UnknownRevision(number))?;
    let current = history.current();
    let differs = current.map(|current| {
        difference(
            &settings(&record.definition),
            &settings(&current.definition),
        )
    });
    let journal = match records.newest_rollout_of(record.revision) {
        Some(newest) => service.store.lock().journal(newest)?,
        None => Vec::new(),
    };
    Ok(RevisionDetails {
        row: HistoryRow {
            deployment: deployment_of(
                &service.deployments()?,
                &service.service_key,
                record.revision,
            ),
            ..row(record, &history.runs, running)
        },
        duration: duration(record),
        playbook: record.playbook.clone(),
        directives: record.definition.systemd.clone(),
        is_proven: record.proven,
        monitor: RolloutSummary::of(&journal).and_then(|summary| summary.monitor),
        current: current.map(|current| (current.revision, current.definition.version.clone())),
        differs: differs.unwrap_or_default(),
    })
}

fn open(env: &Arc<dyn Environment>) -> Result<OpenedService, Error> {
    let overrides = Overrides::default();
    OpenedService::open(env, &overrides, Reading::WithoutHosts, StoreAccess::Read)
}

fn duration(record: &RevisionRecord) -> Option<Duration> {
    record.ended.map(|ended| ended.since(record.began))
}

fn running_revision(service: &OpenedService, records: &ServiceRecords) -> Option<Revision> {
    let running = service.running_rollout(records)?;
    Some(running.revision)
}

fn row(record: &RevisionRecord, runs: &[RolloutRun], running: Option<Revision>) -> HistoryRow {
    let run = runs
        .iter()
        .rev()
        .find(|run| run.start.target.revision == record.revision);
    let outcome = match (record.verb, &record.outcome) {
        (Verb::Adopt, _) => "adopted",
        (_, outcome) => Outcome::word_of(outcome.as_ref(), running == Some(record.revision)),
    };
    HistoryRow {
        revision: record.revision,
        version: record.definition.version.clone(),
        digest: record.release.clone(),
        who: record.who.clone(),
        when: record.began,
        duration_s: duration(record).map(|duration| duration.as_secs_f64()),
        reason: Some(record.reason.clone()).filter(|reason| !reason.is_empty()),
        outcome: outcome.to_owned(),
        verb: record.verb,
        replicas: run.map(|run| run.start.replicas),
        hosts_from: run
            .and_then(|run| run.start.hosts_from.as_ref())
            .map(|tables| host_names(tables).map(str::to_owned).collect()),
        deployment: None,
    }
}

/// The deployment that made a revision.
fn deployment_of(
    deployments: &[Deployment],
    service_key: &ServiceKey,
    revision: Revision,
) -> Option<DeploymentNumber> {
    let mut made = deployments.iter().rev().filter(|deployment| {
        let deployed = deployment.service(&service_key.service);
        deployed.is_some_and(|deployed| deployed.revisions().any(|it| it == revision))
    });
    made.next().map(|deployment| deployment.number)
}

/// The settings of a release, one per line. Releases are compared by their settings, because the
/// text of a playbook has neither the overrides of the command line nor the digest of the artifact.
fn settings(definition: &Definition) -> String {
    let mut lines = Vec::new();
    flatten(
        "",
        &serde_json::to_value(definition).unwrap_or_default(),
        &mut lines,
    );
    lines.join("\n")
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<String>) {
    let below = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}.{key}")
        }
    };
    // Only objects: serde also reads an array of two numbers as a duration.
    if value.is_object()
        && let Ok(duration) = serde_json::from_value::<Duration>(value.clone())
    {
        lines.push(format!("{name} = \"{}\"", Human(duration)));
        return;
    }
    match value {
        Value::Null => {}
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| flatten(&below(key), value, lines)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| flatten(&format!("{name}[{at}]"), item, lines));
        }
        value => lines.push(format!("{name} = {value}")),
    }
}
