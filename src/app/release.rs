//! Builds a release from the playbook: its artifact, its secrets and its id.
//!
//! Artifacts are kept in the state directory, so that a rollback can stage them again. Secrets are
//! not kept there: they are read when they are needed and stored only on the hosts.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::error::{Error, Internal};
use super::prepared_artifacts::PreparedArtifacts;
use crate::artifact::ReleaseContents;
use crate::config::{Diagnostic, Diagnostics, Fetch, Project, ServiceConfig, Source};
use crate::core::ids::ReleaseId;
use crate::core::policy::revision::RevisionRecord;
use crate::core::release::{Artifact, Definition};
use crate::script::env_file::env_file;
use crate::store::{Access, StateDir, Store};
use crate::{artifact, config};

/// A release that is ready to be staged.
#[derive(Clone)]
pub struct Release {
    pub id: ReleaseId,
    pub definition: Definition,
    /// `None` if there are no secrets, or they are not known.
    pub secrets: Option<SecretsFile>,
    /// Size of the unpacked files; 0 if unknown.
    pub unpacked_bytes: u64,
    /// The digest of the unpacked files; `None` if it is not known.
    pub contents_sha256: Option<String>,
    /// The URL from which each host downloads the artifact; `None` if ship copies it to the hosts.
    /// It does not affect the release id.
    pub pulled_from: Option<String>,
}

/// The file with the secrets for the hosts. It is never written on this machine.
#[derive(Clone)]
pub struct SecretsFile {
    pub sha256: String,
    pub file: Vec<u8>,
}

impl Release {
    /// Fetches the artifact into the state directory, reads the secrets, and computes the release
    /// id.
    pub(crate) async fn prepare(
        project: &Project,
        state_dir: &StateDir,
        artifacts: &PreparedArtifacts,
        held: Option<&Artifact>,
    ) -> Result<Self, Error> {
        let playbook = &project.playbook;
        let scratch = scratch(state_dir)?;
        let cache = scratch.as_ref().map_or_else(
            || state_dir.artifacts(),
            |scratch| scratch.path().to_owned(),
        );
        // What a host downloads is not to be sent from here.
        let held = held.filter(|_| playbook.artifact.fetch != Fetch::Pull);
        let prepared = artifacts
            .prepare(&playbook.artifact, &cache, held)
            .await
            .map_err(|error| Error::from(error.diagnostics(&playbook.artifact)))?;
        check_shared_dirs(&playbook.service, &prepared.contents)?;
        let secrets = SecretsFile::read(&playbook.service)?;
        let digest = secrets.as_ref().map(|secrets| secrets.sha256.clone());
        let artifact::Prepared {
            unpacked_bytes,
            contents_sha256,
            ..
        } = prepared;
        let definition = config::definition(playbook, prepared.artifact, digest);
        let pulled_from = match (playbook.artifact.fetch, &playbook.artifact.source) {
            (Fetch::Pull, Source::Url(url)) => Some(url.clone()),
            _ => None,
        };
        Ok(Self {
            id: config::release_id(&definition),
            definition,
            secrets,
            unpacked_bytes,
            contents_sha256,
            pulled_from,
        })
    }

    /// Bytes that a host needs while it unpacks the release.
    pub fn size_on_host(&self) -> u64 {
        self.definition
            .artifact
            .size_bytes
            .saturating_add(self.unpacked_bytes)
    }

    /// A release of the history. Its secrets are known only if they have not changed since its
    /// deploy.
    pub fn from_history(project: &Project, record: &RevisionRecord) -> Self {
        let definition = &record.definition;
        let present = SecretsFile::read(&project.playbook.service).ok().flatten();
        let secrets =
            present.filter(|present| definition.secrets_sha256.as_ref() == Some(&present.sha256));
        Self {
            id: record.release.clone(),
            definition: definition.clone(),
            secrets,
            unpacked_bytes: 0,
            contents_sha256: record.contents_sha256.clone(),
            pulled_from: None,
        }
    }
}

/// Refuses a shared directory that would hide files of the artifact.
fn check_shared_dirs(service: &ServiceConfig, contents: &ReleaseContents) -> Result<(), Error> {
    /// Files that a message names.
    const NAMED_MAX: usize = 3;
    let mut found = Vec::new();
    for dir in &service.shared_dirs {
        let hidden = contents.hidden_by(Path::new(&dir.value));
        if hidden.is_empty() {
            continue;
        }
        let shown = hidden.iter().take(NAMED_MAX);
        let mut names: Vec<_> = shown
            .map(|path| format!("`{}`", path.display().to_string().escape_debug()))
            .collect();
        if hidden.len() > NAMED_MAX {
            names.push(format!("{} more", hidden.len() - NAMED_MAX));
        }
        let message = format!(
            "the shared directory `{}` would hide files of the artifact: {}",
            dir.value,
            names.join(", ")
        );
        let help = "leave these files out of the artifact, or share another directory";
        found.push(Diagnostic::at(&dir.place, message).help(help));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Diagnostics::from(found).into())
    }
}

/// An earlier release whose artifact is needed.
pub struct ArtifactRequest<'a> {
    pub state_dir: &'a StateDir,
    pub definition: &'a Definition,
    /// The files as they were for its deploy, if these are known and still valid.
    pub project: Option<Project>,
}

/// Fetches the artifact of an earlier release from its source, unless the state directory has it.
pub(crate) async fn fetch_artifact(request: ArtifactRequest<'_>) -> Result<(), String> {
    let wanted = &request.definition.artifact.sha256;
    let artifacts = request.state_dir.artifacts();
    let path = artifacts.join(wanted);
    if path.is_file() {
        return Ok(());
    }
    let path = path.display();
    let Some(project) = &request.project else {
        return Err(format!(
            "it is not in {path}, and the history has no valid playbook of that version"
        ));
    };
    let config = &project.playbook.artifact;
    match artifact::prepare(config, &artifacts).await {
        Ok(prepared) if prepared.artifact.sha256 == *wanted => Ok(()),
        Ok(_) => Err(format!(
            "it is not in {path}, and its source has other bytes now"
        )),
        Err(error) => {
            let error = error.diagnostics(config).render(false);
            let error = error.lines().next().unwrap_or_default();
            let error = error.trim_start_matches("error: ");
            Err(format!(
                "it is not in {path}, and its source fails: {error}"
            ))
        }
    }
}

/// A temporary directory for artifacts, if the state directory is not writable. It is sufficient
/// for verbs that only inspect the artifact.
fn scratch(state_dir: &StateDir) -> Result<Option<TempDir>, Error> {
    let is_writable = state_dir.make(Access::OwnerOnly).is_ok()
        && tempfile::tempfile_in(state_dir.artifacts()).is_ok();
    if is_writable {
        return Ok(None);
    }
    let made = tempfile::Builder::new().prefix("ship-").tempdir();
    made.map(Some)
        .map_err(|why| Internal::NoTemporaryDirectory(why).into())
}

impl SecretsFile {
    fn read(service: &config::ServiceConfig) -> Result<Option<Self>, Error> {
        let secrets = config::read_secrets(service, |name| std::env::var_os(name))?;
        Ok((!secrets.is_empty()).then(|| {
            let file = env_file(secrets.expose()).into_bytes();
            Self {
                sha256: config::hex(&Sha256::digest(&file)),
                file,
            }
        }))
    }
}

/// Removes artifacts that no revision of any service needs any more, in any of the stores.
pub fn remove_unused_artifacts(state_dir: &StateDir, stores: &[&dyn Store]) {
    let definitions: Result<Vec<_>, _> = stores.iter().map(|it| it.definitions()).collect();
    let Ok(definitions) = definitions else {
        return;
    };
    let needed: BTreeSet<_> = definitions
        .iter()
        .flatten()
        .map(|(_, definition)| definition.artifact.sha256.clone())
        .collect();
    for entry in std::fs::read_dir(state_dir.artifacts())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Any other name is a file that another ship process may be writing.
        let is_artifact = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_artifact && !needed.contains(&name) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}
