//! Brings a release to a host: copies the files of a release with the same artifact there, or
//! transfers the artifact.

use super::context::{FleetContext, LinkedHost};
use super::script_run::run_script;
use crate::core::ids::ReleaseId;
use crate::core::release::{Artifact, Definition};
use crate::engine::executor::ActionResult;
use crate::script::{self, ArtifactInput, HostContext, Script};

/// Stages a release on a host.
///
/// # Errors
/// If the release is not known, or its artifact or its secrets are missing on this machine.
pub(super) async fn stage(
    context: &FleetContext,
    host: &LinkedHost,
    site: &HostContext,
    release: &ReleaseId,
) -> Result<ActionResult, String> {
    let staged = ReleaseStaging::new(context, release)?;
    let _transfer = host.link.held().lock_transfer(staged.artifact()).await;
    if let Some(copy) = staged.copy_script(host, site) {
        match run_script(context, host, &copy).await {
            ActionResult::Failed { error, .. } => {
                let name = &host.site.target.name;
                tracing::info!(host = %name, "{error}; ship transfers the artifact instead");
            }
            result => return Ok(result),
        }
    }
    Ok(run_script(context, host, &staged.transfer_script(site)?).await)
}

/// A release, with everything that a host needs to stage it.
struct ReleaseStaging<'a> {
    context: &'a FleetContext,
    release: &'a ReleaseId,
    definition: &'a Definition,
    /// The archive that a host has made from its files, if that is sent instead of its artifact.
    recovered: Option<&'a Artifact>,
    secrets: Option<&'a [u8]>,
}

impl<'a> ReleaseStaging<'a> {
    fn new(context: &'a FleetContext, release: &'a ReleaseId) -> Result<Self, String> {
        let definition = context.definition(release)?;
        let secrets = match &definition.secrets_sha256 {
            None => None,
            Some(digest) => Some(context.releases().secrets.get(digest).ok_or_else(|| {
                format!(
                    "the secrets of version {} have changed in the playbook, and the host does not \
                     have the old ones; deploy that version again with its secrets",
                    definition.version
                )
            })?),
        };
        Ok(Self {
            context,
            release,
            definition,
            recovered: context.releases().recovered.get(release),
            secrets: secrets.map(Vec::as_slice),
        })
    }

    /// What is sent to the host.
    fn artifact(&self) -> &'a Artifact {
        self.recovered.unwrap_or(&self.definition.artifact)
    }

    /// The script that copies the files of another release on the host; `None` if the host is not
    /// known to hold one with the same artifact, or the copy could not be verified, or is not worth
    /// the time.
    fn copy_script(&self, host: &LinkedHost, site: &HostContext) -> Option<Script> {
        let listing = self.context.releases().listings.get(self.release)?;
        let artifact = Some(self.artifact()).filter(|artifact| artifact.is_worth_copying())?;
        let held = host.link.held().find(artifact)?;
        Some(self.script(site, ArtifactInput::Copied(&held, listing)))
    }

    /// The script that receives or downloads the artifact.
    fn transfer_script(&self, site: &HostContext) -> Result<Script, String> {
        let releases = self.context.releases();
        let path = releases.artifacts.join(&self.artifact().sha256);
        if !path.is_file() {
            return Err(format!(
                "version {} is not on the host, and its artifact is missing from {}; deploy that \
                 version again",
                self.definition.version,
                path.display()
            ));
        }
        let pulled = releases.pulled.as_ref();
        let pulled = pulled.filter(|(pulled, _)| pulled == self.release);
        let source = match (self.recovered, pulled) {
            (Some(recovered), _) => ArtifactInput::Recovered(&path, recovered),
            (None, Some((_, url))) => ArtifactInput::Pulled(url),
            (None, None) => ArtifactInput::Pushed(&path),
        };
        Ok(self.script(site, source))
    }

    fn script(&self, site: &HostContext, source: ArtifactInput<'_>) -> Script {
        script::stage(site, self.definition, self.release, source, self.secrets)
    }
}
