//! Recovers what a rollout of an earlier release needs and this machine does not have: another
//! machine may have deployed it.

use super::error::{Error, Refused};
use super::goal::Goal;
use super::last_known_good::with_playbook_of;
use super::release::{ArtifactRequest, Release};
use super::session::Session;
use super::survey::Survey;
use crate::config::{self, Overrides, Project};
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::Definition;

/// Checks that the artifact and the secrets of the goal are known if a host needs them, and fetches
/// missing artifacts from their source. Also fetches the artifact of the rollback target, if that is
/// possible.
///
/// # Errors
/// What is missing. No changes were made.
pub(crate) async fn recover(session: &Session, survey: &Survey, goal: &Goal) -> Result<(), Error> {
    let release = &goal.release;
    let hosts = hosts_without(survey, &release.id);
    let continued = goal
        .continuation
        .as_ref()
        .zip(session.history.newest.as_ref());
    let starts_target = continued.is_none_or(|(how, stopped)| how.starts_target(stopped));
    if starts_target && !hosts.is_empty() {
        check_secrets(session, release, &hosts)?;
        let fetched = fetch(session, &release.id, &release.definition).await;
        fetched.map_err(|why| Refused::ArtifactMissing {
            version: release.definition.version.clone(),
            hosts,
            why,
        })?;
    }
    if let Some(target) = &survey.admission.rollback_target
        && let Some(record) = record_of(session, &target.release)
        && !hosts_without(survey, &target.release).is_empty()
        && let Err(why) = fetch(session, &record.release, &record.definition).await
    {
        // The hosts that ran it have it; others may need it only if the rollout fails.
        tracing::warn!(
            version = target.version,
            why,
            "the artifact of the rollback target"
        );
    }
    Ok(())
}

/// The reachable hosts that do not have a release.
fn hosts_without(survey: &Survey, release: &ReleaseId) -> Vec<HostId> {
    let hosts = survey.preflight.fleet.hosts.iter();
    hosts
        .filter(|(_, host)| host.is_reachable() && !host.releases.contains(release))
        .map(|(name, _)| name.clone())
        .collect()
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
    with_playbook_of(record, &session.inventory, &overrides, |path| {
        std::fs::read(path)
    })
}
