//! Copies the files of a release from a host that has them, if neither this machine nor the source
//! has its artifact.

use std::io;

use super::notice::Notice;
use super::session::Session;
use super::survey::Survey;
use crate::artifact;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::release::{Artifact, Definition};
use crate::remote::SavedOutput;

/// Hosts from which ship tries to copy a release.
const HOSTS_TRIED_MAX: usize = 5;
/// How much larger than its artifact the archive of a host may be: hosts compress in other ways.
const ARCHIVE_FACTOR_MAX: u64 = 2;
const ARCHIVE_SURPLUS_BYTES_MAX: u64 = 16 << 20;
const NO_HOST: &str = "no reachable host has its files";

/// Why files were not copied from a host.
enum CopyFailure {
    /// The host could not send them, or has other files.
    Host(String),
    /// This machine could not store them.
    Here(String),
}

/// Checks that the files of a release could be copied from a host, without copying them.
///
/// # Errors
/// Why that is impossible.
pub(super) fn check(session: &Session, survey: &Survey, release: &ReleaseId) -> Result<(), String> {
    contents_digest(session, release)?;
    let host = hosts_with(survey, release).next();
    host.map(drop).ok_or_else(|| NO_HOST.to_owned())
}

/// Copies the files of a release from a host that has them unchanged, and describes the archive.
///
/// # Errors
/// Why no host could send them, or this machine could not store them.
pub(super) async fn copy_from_hosts(
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
        let digest = contents_sha256.clone();
        match copy_from_host(session, survey, host, (release, definition), digest).await {
            Ok(artifact) => return Ok(artifact),
            Err(CopyFailure::Here(why)) => return Err(why),
            Err(CopyFailure::Host(why)) => session.env.notify(&Notice::NotRecovered(why)),
        }
    }
    Err(match tried {
        0 => NO_HOST.to_owned(),
        1 => "the host that has its files cannot send them unchanged".to_owned(),
        _ => format!("none of {tried} hosts that have its files can send them unchanged"),
    })
}

/// Saves an archive of the release from a host, and keeps it if its files have this digest.
async fn copy_from_host(
    session: &Session,
    survey: &Survey,
    host: &HostId,
    (release, definition): (&ReleaseId, &Definition),
    contents_sha256: String,
) -> Result<Artifact, CopyFailure> {
    let cache = session.state_dir.artifacts();
    let shown_cache = cache.display().to_string();
    let cannot_write =
        |why: &io::Error| CopyFailure::Here(format!("cannot write to {shown_cache}: {why}"));
    let archive = artifact::temporary_file(&cache)
        .map_err(|error| CopyFailure::Here(error.message().to_owned()))?;
    let file = archive.reopen().map_err(|why| cannot_write(&why))?;
    let size_bytes = definition.artifact.size_bytes;
    let bytes_max = size_bytes
        .saturating_mul(ARCHIVE_FACTOR_MAX)
        .saturating_add(ARCHIVE_SURPLUS_BYTES_MAX);
    let mut output = SavedOutput::new(file, bytes_max);
    let connection = &survey.connection;
    let saved = connection.save_release(host, release, size_bytes, &mut output);
    match (saved.await, output.write_error()) {
        (_, Some(why)) => return Err(cannot_write(why)),
        (Err(unavailable), None) => return Err(CopyFailure::Host(unavailable.why)),
        (Ok(()), None) => {}
    }
    let shown = format!("version {} on {host}", definition.version);
    artifact::keep_recovered(archive, shown, contents_sha256, cache)
        .await
        .map_err(|error| CopyFailure::Host(error.message().to_owned()))
}

/// The reachable hosts that have a release.
fn hosts_with<'a>(survey: &'a Survey, release: &'a ReleaseId) -> impl Iterator<Item = &'a HostId> {
    let hosts = survey.preflight.fleet.hosts.iter();
    hosts
        .filter(|(_, host)| host.is_reachable() && host.releases.contains(release))
        .map(|(name, _)| name)
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
