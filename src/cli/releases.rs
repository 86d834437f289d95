//! From the playbook to a release that can be staged: its bytes, its secrets and its name.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::exit::{Exit, Fail};
use super::session::Session;
use crate::core::names::ReleaseId;
use crate::core::release::Definition;
use crate::script::env_file::env_file;
use crate::{artifact, config};

/// A release that lies ready on this machine.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) id: ReleaseId,
    pub(super) definition: Definition,
}

impl Release {
    /// Reads what the playbook names, keeps it under the state directory, and gives the whole its name.
    pub(super) async fn prepare(session: &Session) -> Result<Self, Fail> {
        let playbook = &session.project.playbook;
        let prepared = artifact::prepare(&playbook.artifact, &session.place.artifacts())
            .await
            .map_err(|error| Fail::refused(format!("error: {error}")))?;
        let secrets = config::read_secrets(&playbook.service, |name| std::env::var_os(name))?;
        let secrets = (!secrets.is_empty()).then(|| env_file(secrets.expose()));
        let digest = secrets.as_ref().map(|text| hex(&Sha256::digest(text)));
        let definition = config::definition(playbook, prepared.artifact, digest);
        let id = config::release_id(&definition);
        if let Some(text) = secrets {
            keep_secrets(&session.place.secrets(), &id, text.as_bytes())
                .map_err(|error| Fail::new(Exit::Internal, format!("error: cannot keep the secrets: {error}")))?;
        }
        Ok(Self { id, definition })
    }
}

/// Secrets are kept for their owner alone, so that a rollback brings back those of its revision.
fn keep_secrets(dir: &Path, release: &ReleaseId, text: &[u8]) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = dir.join(format!(".{release}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(release.as_str()))
}

/// Removes from this machine what no revision of any fleet and service needs any more.
pub(super) fn forget_unused(session: &Session) {
    let Ok(definitions) = session.store.definitions() else { return };
    let artifacts: BTreeSet<_> = definitions.iter().map(|(_, definition)| definition.artifact.sha256.clone()).collect();
    let secrets: BTreeSet<_> = definitions.iter().map(|(release, _)| release.to_string()).collect();
    for (dir, needed) in [(session.place.artifacts(), artifacts), (session.place.secrets(), secrets)] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Files in the making begin with a dot: another ship may be at them.
            if !name.starts_with('.') && !needed.contains(&name) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        drop(write!(text, "{byte:02x}"));
        text
    })
}
