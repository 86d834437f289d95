//! From the playbook to a release that can be staged: its bytes, its secrets and its name.
//!
//! Artifacts are kept under the state directory, so that a rollback can bring one to a host that
//! lacks it. Secrets are not: they are read when they are needed, and lie only on the hosts.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::error::{Error, Internal};
use crate::config::{Fetch, Project, Source};
use crate::core::ids::ReleaseId;
use crate::core::release::Definition;
use crate::script::env_file::env_file;
use crate::store::{Access, StateDir, Store};
use crate::{artifact, config};

/// A release that lies ready on this machine.
#[derive(Clone)]
pub struct Release {
    pub id: ReleaseId,
    pub definition: Definition,
    /// The secrets' file as the hosts get it, in memory only; `None` where there are none, or they
    /// are not known.
    pub secrets: Option<SecretsFile>,
    /// What its files take when they are unpacked, in bytes; 0 where that is not known.
    pub unpacked_bytes: u64,
    /// The URL from which each host downloads it; `None` where it is sent to them. It is no part of
    /// what the release is.
    pub pulled_from: Option<String>,
}

/// A secrets' file as the hosts get it. It is never written on this machine.
#[derive(Clone)]
pub struct SecretsFile {
    pub sha256: String,
    pub file: Vec<u8>,
}

impl Release {
    /// Reads what the playbook names, keeps it under the state directory, and gives the whole its
    /// name.
    pub(crate) async fn prepare(project: &Project, place: &StateDir) -> Result<Self, Error> {
        let playbook = &project.playbook;
        let scratch = scratch(place)?;
        let cache = scratch
            .as_ref()
            .map_or_else(|| place.artifacts(), |scratch| scratch.path().to_owned());
        let prepared = artifact::prepare(&playbook.artifact, &cache)
            .await
            .map_err(|error| Error::from(error.diagnostics(&playbook.artifact)))?;
        let secrets = SecretsFile::read(&playbook.service)?;
        let digest = secrets.as_ref().map(|secrets| secrets.sha256.clone());
        let unpacked_bytes = prepared.unpacked_bytes;
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
            pulled_from,
        })
    }

    /// What a host needs in bytes while it unpacks the release.
    pub fn size_on_host(&self) -> u64 {
        self.definition
            .artifact
            .size_bytes
            .saturating_add(self.unpacked_bytes)
    }

    /// A release of the history. Its secrets are known if they are still those that the playbook
    /// names.
    pub fn of_history(project: &Project, id: &ReleaseId, definition: &Definition) -> Self {
        let present = SecretsFile::read(&project.playbook.service).ok().flatten();
        let secrets =
            present.filter(|present| definition.secrets_sha256.as_ref() == Some(&present.sha256));
        Self {
            id: id.clone(),
            definition: definition.clone(),
            secrets,
            unpacked_bytes: 0,
            pulled_from: None,
        }
    }
}

/// A directory for artifacts where the state directory cannot be written: enough for who only wants
/// to know what is in them.
fn scratch(place: &StateDir) -> Result<Option<TempDir>, Error> {
    let is_writable =
        place.make(Access::OwnerOnly).is_ok() && tempfile::tempfile_in(place.artifacts()).is_ok();
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

/// Removes from this machine what no revision of any fleet and service needs any more.
pub fn forget_unused(place: &StateDir, store: &dyn Store) {
    let Ok(definitions) = store.definitions() else {
        return;
    };
    let needed: BTreeSet<_> = definitions
        .iter()
        .map(|(_, definition)| definition.artifact.sha256.clone())
        .collect();
    for entry in std::fs::read_dir(place.artifacts())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Anything else is a file in the making: another ship may be at it.
        let is_artifact = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_artifact && !needed.contains(&name) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}
