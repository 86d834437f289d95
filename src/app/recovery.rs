//! Recovers what a rollout of an earlier release needs and this machine does not have: another
//! machine may have deployed it.

use tempfile::NamedTempFile;

use super::error::{Error, Refused};
use super::goal::Goal;
use super::last_known_good::with_playbook_of;
use super::notice::Notice;
use super::release::{ArtifactRequest, Release};
use super::session::Session;
use super::survey::Survey;
use crate::artifact;
use crate::config::{self, Overrides, Project};
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::{Artifact, Definition};
use crate::remote::SavedOutput;

/// Hosts from which ship tries to copy a release.
const HOSTS_TRIED_MAX: usize = 5;
/// How much larger than its artifact the archive of a host may be: hosts compress in other ways.
const ARCHIVE_FACTOR_MAX: u64 = 2;
const ARCHIVE_SURPLUS_BYTES_MAX: u64 = 16 << 20;
const NO_HOST: &str = "no reachable host has its files";

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
        && let Err(why) = fetch(session, survey, &record.release, &record.definition).await
    {
        // The hosts that ran it have it; others may need it only if the rollout fails.
        tracing::warn!(
            version = target.version,
            why,
            "the artifact of the rollback target"
        );
    }
    if !session.recovered.is_empty() {
        let definitions = survey.definitions.clone();
        session.update_connection(&mut survey.connection, definitions, Some(release));
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
    let copyable = contents_digest(session, &release.id).and_then(|_| {
        match hosts_with(survey, &release.id).next() {
            Some(_) => Ok(()),
            None => Err(NO_HOST.to_owned()),
        }
    });
    copyable.map_err(|host_error| {
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

/// The reachable hosts that do not have a release.
fn hosts_without(survey: &Survey, release: &ReleaseId) -> Vec<HostId> {
    let hosts = survey.preflight.fleet.hosts.iter();
    hosts
        .filter(|(_, host)| host.is_reachable() && !host.releases.contains(release))
        .map(|(name, _)| name.clone())
        .collect()
}

/// The reachable hosts that have a release.
fn hosts_with<'a>(survey: &'a Survey, release: &'a ReleaseId) -> impl Iterator<Item = &'a HostId> {
    let hosts = survey.preflight.fleet.hosts.iter();
    hosts
        .filter(|(_, host)| host.is_reachable() && host.releases.contains(release))
        .map(|(name, _)| name)
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
    match copy_from_hosts(session, survey, release, definition).await {
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

/// The digest of the files of a release.
fn contents_digest(session: &Session, release: &ReleaseId) -> Result<String, String> {
    let records = session.history.revisions.iter();
    let mut same = records.filter(|record| record.release == *release);
    let digest = same.find_map(|record| record.contents_sha256.clone());
    digest.ok_or_else(|| {
        "its files cannot be copied from a host, because the history does not have their digest"
            .to_owned()
    })
}

/// Copies the files of a release from a host that has them unchanged, and describes the archive.
async fn copy_from_hosts(
    session: &Session,
    survey: &Survey,
    release: &ReleaseId,
    definition: &Definition,
) -> Result<Artifact, String> {
    let contents_sha256 = contents_digest(session, release)?;
    let mut tried = 0;
    for host in hosts_with(survey, release).take(HOSTS_TRIED_MAX) {
        tried += 1;
        session.env.notify(&Notice::RecoveringFromHost {
            version: definition.version.clone(),
            host: host.clone(),
        });
        let kept = async {
            let archive = copy_from_host(session, survey, host, (release, definition)).await?;
            let shown = format!("version {} on {host}", definition.version);
            let (digest, cache) = (contents_sha256.clone(), session.state_dir.artifacts());
            artifact::keep_recovered(archive, shown, digest, cache)
                .await
                .map_err(|error| error.message().to_owned())
        };
        match kept.await {
            Ok(artifact) => return Ok(artifact),
            Err(why) => session.env.notify(&Notice::NotRecovered(why)),
        }
    }
    Err(match tried {
        0 => NO_HOST.to_owned(),
        1 => "the host that has its files cannot send them unchanged".to_owned(),
        _ => format!("none of {tried} hosts that have its files can send them unchanged"),
    })
}

/// Saves an archive of the release to a file.
async fn copy_from_host(
    session: &Session,
    survey: &Survey,
    host: &HostId,
    (release, definition): (&ReleaseId, &Definition),
) -> Result<NamedTempFile, String> {
    let archive = artifact::temporary_file(&session.state_dir.artifacts());
    let archive = archive.map_err(|error| error.message().to_owned())?;
    let mut file = tokio::fs::File::from_std(archive.reopen().map_err(|why| why.to_string())?);
    let size_bytes = definition.artifact.size_bytes;
    let output = SavedOutput {
        file: &mut file,
        bytes_max: size_bytes
            .saturating_mul(ARCHIVE_FACTOR_MAX)
            .saturating_add(ARCHIVE_SURPLUS_BYTES_MAX),
    };
    let connection = &survey.connection;
    let saved = connection.save_release(host, release, size_bytes, output);
    saved.await.map_err(|unavailable| unavailable.why)?;
    Ok(archive)
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
