//! Recovers what a rollout of an earlier release needs and this machine does not have: another
//! machine may have deployed it.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::error::{Error, Refused};
use super::goal::Goal;
use super::host_copy;
use super::last_known_good::with_playbook_of;
use super::notice::Notice;
use super::release::{ArtifactRequest, Release};
use super::session::Session;
use super::survey::Survey;
use crate::config::{self, Overrides, Project, Selection};
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::Definition;
use crate::core::time::Human;

/// How long a deploy waits for the artifact of its rollback target, which it may never need.
const TARGET_FETCH_MAX: Duration = Duration::from_mins(1);

/// Checks that the artifact and the secrets of the goal are known if a host needs them. Fetches
/// missing artifacts from their source, or copies the files of the release from a host. Does the
/// same for the artifact of the rollback target, if that is possible.
///
/// # Errors
/// What is missing. No changes were made.
pub(crate) async fn recover(
    session: &mut Session,
    survey: &mut Survey,
    goal: &Goal,
) -> Result<(), Error> {
    let release = &goal.release;
    let hosts = hosts_that_need(session, survey, goal);
    if !hosts.is_empty() {
        check_secrets(session, release, &hosts)?;
        let fetched = fetch(session, survey, &release.id, &release.definition).await;
        fetched.map_err(|why| artifact_missing(release, hosts, why))?;
    }
    if let Some(target) = survey.admission.rollback_target.clone()
        && let Some(record) = record_of(session, &target.release).cloned()
        && !hosts_without(survey, &target.release).is_empty()
    {
        // The hosts that ran it have it; others may need it only if the rollout fails.
        let fetched = fetch(session, survey, &record.release, &record.definition);
        let late = || {
            Err(format!(
                "it did not arrive within {}",
                Human(TARGET_FETCH_MAX)
            ))
        };
        let fetched = timeout(TARGET_FETCH_MAX, fetched).await;
        if let Err(why) = fetched.unwrap_or_else(|_| late()) {
            let version = target.version;
            session
                .env
                .notify(&Notice::NoRollbackArtifact { version, why });
        }
    }
    if !session.recovered.is_empty() {
        let definitions = survey.definitions.clone();
        session.update_connection(&mut survey.connection, definitions, Some(release))?;
    }
    Ok(())
}

/// Checks, as [`recover`] does, that the artifact and the secrets of the goal are known, and copies
/// nothing from a host.
///
/// # Errors
/// What is missing.
pub(crate) async fn check(session: &Session, survey: &Survey, goal: &Goal) -> Result<(), Error> {
    let release = &goal.release;
    let hosts = hosts_that_need(session, survey, goal);
    if hosts.is_empty() {
        return Ok(());
    }
    check_secrets(session, release, &hosts)?;
    let fetched = fetch_from_source(session, &release.id, &release.definition).await;
    let Err(why) = fetched else { return Ok(()) };
    host_copy::check(session, survey, &release.id).map_err(|host_error| {
        artifact_missing(release, hosts, format!("{why}; {host_error}")).into()
    })
}

fn artifact_missing(release: &Release, hosts: Vec<HostId>, why: String) -> Refused {
    Refused::ArtifactMissing {
        version: release.definition.version.clone(),
        hosts,
        why,
    }
}

/// The reachable hosts that need the release of the goal and do not have it.
fn hosts_that_need(session: &Session, survey: &Survey, goal: &Goal) -> Vec<HostId> {
    let continued = goal
        .continuation
        .as_ref()
        .zip(session.history.newest.as_ref());
    if continued.is_none_or(|(how, stopped)| how.starts_target(stopped)) {
        hosts_without(survey, &goal.release.id)
    } else {
        Vec::new()
    }
}

/// The reachable hosts that do not have a release, except those that are drained.
fn hosts_without(survey: &Survey, release: &ReleaseId) -> Vec<HostId> {
    let lacks_release = |name: &&HostId| {
        let host = survey.preflight.fleet.hosts.get(*name);
        host.is_some_and(|host| host.is_reachable() && !host.releases.contains(release))
    };
    let hosts = survey.admission.spec.hosts.iter();
    hosts.filter(lacks_release).cloned().collect()
}

fn record_of<'a>(session: &'a Session, release: &ReleaseId) -> Option<&'a RevisionRecord> {
    let mut records = session.history.revisions.iter().rev();
    records.find(|record| record.release == *release)
}

/// Secrets come only from the operator.
fn check_secrets(session: &Session, release: &Release, hosts: &[HostId]) -> Result<(), Error> {
    if release.definition.secrets_sha256.is_none() || release.secrets.is_some() {
        return Ok(());
    }
    let secrets = &session.project.playbook.service.secrets;
    // Names the variables that are not set, if that is the reason.
    config::read_secrets(&session.project.playbook.service, |name| {
        std::env::var_os(name)
    })?;
    let mut names: Vec<_> = secrets.names.iter().map(|it| it.value.clone()).collect();
    names.extend(
        secrets
            .env_file
            .iter()
            .map(|file| file.value.display().to_string()),
    );
    Err(Refused::SecretsChanged {
        version: release.definition.version.clone(),
        hosts: hosts.to_vec(),
        names,
    }
    .into())
}

async fn fetch(
    session: &mut Session,
    survey: &Survey,
    release: &ReleaseId,
    definition: &Definition,
) -> Result<(), String> {
    let Err(why) = fetch_from_source(session, release, definition).await else {
        return Ok(());
    };
    match host_copy::copy_from_hosts(session, survey, release, definition).await {
        Ok(artifact) => {
            session.recovered.insert(release.clone(), artifact);
            Ok(())
        }
        Err(host_errors) => Err(format!("{why}; {host_errors}")),
    }
}

async fn fetch_from_source(
    session: &Session,
    release: &ReleaseId,
    definition: &Definition,
) -> Result<(), String> {
    let request = ArtifactRequest {
        state_dir: &session.state_dir,
        definition,
        project: record_of(session, release).and_then(|record| project_of(session, record)),
    };
    session.env.fetch_artifact(request).await
}

/// The inventory with the playbook of a revision.
fn project_of(session: &Session, record: &RevisionRecord) -> Option<Project> {
    let mut runs = session.history.runs.iter();
    let run = runs.rfind(|run| run.start.target.revision == record.revision);
    let overrides = Overrides {
        version: Some(record.definition.version.clone()),
        set: run.map(|run| run.start.set.clone()).unwrap_or_default(),
    };
    let read = |path: &Path| std::fs::read(path);
    // Where the artifact is does not depend on the hosts.
    let selection = Selection {
        service: Some(&session.service_key.service),
        ..Selection::default()
    };
    with_playbook_of(record, &session.inventory, &overrides, read, selection)
}
