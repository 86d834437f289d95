//! Brings a release to a host: sends the difference from a release that the host has, or transfers
//! the artifact.

use std::sync::Arc;

use super::context::{FleetContext, LinkedHost};
use super::script_run::run_script;
use crate::artifact::ReleasePatch;
use crate::core::ids::ReleaseId;
use crate::core::release::patch::{PatchMethod, Transfer};
use crate::core::release::{Artifact, Definition};
use crate::engine::executor::ActionResult;
use crate::script::{self, ArtifactInput, HostContext, PatchFile, Script};

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
    let Some((base_dir, patch)) = staged.patch(host).await else {
        return Ok(run_script(context, host, &staged.transfer_script(site)?).await);
    };
    let file = PatchFile {
        path: patch.path(),
        sha256: &patch.sha256,
        size_bytes: patch.size_bytes,
        listing_sha256: &patch.listing_sha256,
    };
    let mut transfer = Transfer {
        sent_bytes: patch.size_bytes,
        artifact_bytes: staged.artifact().size_bytes,
        whole_because: None,
    };
    let script = staged.script(site, ArtifactInput::Patched(&base_dir, file));
    let mut result = run_script(context, host, &script).await;
    if let ActionResult::Failed { error, .. } = result {
        transfer.sent_bytes += transfer.artifact_bytes;
        transfer.whole_because = Some(error);
        result = run_script(context, host, &staged.transfer_script(site)?).await;
    }
    if let ActionResult::Done(observation) = &mut result {
        observation.transfer = Some(transfer);
    }
    Ok(result)
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

    /// The difference from a release on the host, and the directory of that release; `None` if the
    /// host is not known to have one from which few bytes differ.
    async fn patch(&self, host: &LinkedHost) -> Option<(String, Arc<ReleasePatch>)> {
        let new = self.artifact();
        if !new.is_worth_patching() {
            return None;
        }
        let releases = self.context.releases();
        let bases = host.link.held().bases(&self.context.service_dir(host), new);
        let base = bases
            .into_iter()
            .find(|base| releases.artifacts.join(&base.artifact.sha256).is_file())
            // What a host downloads is not to be sent from here.
            .filter(|base| self.pulled_from().is_none() || base.artifact == *new)?;
        let patches = self.context.patches();
        let get = |method| patches.get(&base.artifact, new, method, &releases.artifacts);
        let mut patch = get(PatchMethod::PartsOrZstd).await?;
        if patch.needs_zstd && !host.link.has_zstd().await {
            patch = get(PatchMethod::Parts).await?;
        }
        Some((base.dir, patch)).filter(|(_, patch)| new.is_worth_replacing_by(patch.size_bytes))
    }

    /// The URL from which hosts download the artifact.
    fn pulled_from(&self) -> Option<&'a str> {
        let (pulled, url) = self.context.releases().pulled.as_ref()?;
        (pulled == self.release).then_some(url.as_str())
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
        let source = match (self.recovered, self.pulled_from()) {
            (Some(recovered), _) => ArtifactInput::Recovered(&path, recovered),
            (None, Some(url)) => ArtifactInput::Pulled(url),
            (None, None) => ArtifactInput::Pushed(&path),
        };
        Ok(self.script(site, source))
    }

    fn script(&self, site: &HostContext, source: ArtifactInput<'_>) -> Script {
        script::stage(site, self.definition, self.release, source, self.secrets)
    }
}
