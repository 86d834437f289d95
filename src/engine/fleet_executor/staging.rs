//! Brings a release to a host: sends the difference from a release that the host has, or transfers
//! the artifact.

use std::sync::Arc;

use super::context::FleetContext;
use super::linked_host::LinkedHost;
use super::relay::{RelaySource, RelayedFile};
use super::script_run::run_script;
use crate::artifact::ReleasePatch;
use crate::config::Transport;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::release::patch::{PatchMethod, Transfer};
use crate::core::release::relay::Sender;
use crate::core::release::{Artifact, Definition};
use crate::engine::executor::ActionResult;
use crate::script::{self, ArtifactInput, HostContext, PatchFile, StageInput};

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
    let staged = ReleaseStaging::new(context, host, site, release)?;
    let _transfer = host.link.held().lock_transfer(staged.artifact()).await;
    let Some((base_dir, patch)) = staged.patch().await else {
        return Ok(staged.receive_whole().await?.finish(&staged, None));
    };
    let file = PatchFile {
        path: patch.path(),
        sha256: &patch.sha256,
        size_bytes: patch.size_bytes,
        listing_sha256: &patch.listing_sha256,
    };
    let received = staged
        .receive(ArtifactInput::Patched(&base_dir, file))
        .await;
    match received.result {
        ActionResult::Failed { error, .. } => {
            let whole = staged.receive_whole().await?;
            let sent_bytes = patch.size_bytes + whole.sent_bytes;
            Ok(Received {
                sent_bytes,
                ..whole
            }
            .finish(&staged, Some(error)))
        }
        _ => Ok(received.finish(&staged, None)),
    }
}

/// The result of a transfer to a host.
struct Received {
    result: ActionResult,
    sent_bytes: u64,
    /// The host that has sent the bytes; `None` for this machine.
    relayed_by: Option<HostId>,
    /// Why this machine has sent them after another host.
    direct_because: Option<String>,
}

impl Received {
    /// Adds the transfer to the result, unless this machine has sent the whole artifact, as usual.
    fn finish(self, staged: &ReleaseStaging<'_>, whole_because: Option<String>) -> ActionResult {
        let transfer = Transfer {
            sent_bytes: self.sent_bytes,
            artifact_bytes: staged.artifact().size_bytes,
            whole_because,
            relayed_by: self.relayed_by,
            direct_because: self.direct_because,
        };
        let is_usual = transfer.sent_bytes == transfer.artifact_bytes
            && transfer.relayed_by.is_none()
            && !transfer.has_failed_first();
        let mut result = self.result;
        if let ActionResult::Done(observation) = &mut result {
            observation.transfer = Some(transfer).filter(|_| !is_usual);
        }
        result
    }
}

/// A release, with everything that a host needs to stage it.
struct ReleaseStaging<'a> {
    context: &'a FleetContext,
    host: &'a LinkedHost,
    site: &'a HostContext,
    release: &'a ReleaseId,
    definition: &'a Definition,
    /// The archive that a host has made from its files, if that is sent instead of its artifact.
    recovered: Option<&'a Artifact>,
    secrets: Option<&'a [u8]>,
}

impl<'a> ReleaseStaging<'a> {
    fn new(
        context: &'a FleetContext,
        host: &'a LinkedHost,
        site: &'a HostContext,
        release: &'a ReleaseId,
    ) -> Result<Self, String> {
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
            host,
            site,
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
    async fn patch(&self) -> Option<(String, Arc<ReleasePatch>)> {
        let new = self.artifact();
        if !new.is_worth_patching() {
            return None;
        }
        let releases = self.context.releases();
        let held = self.host.link.held();
        let bases = held.bases(&self.context.service_dir(self.host), new);
        let base = bases
            .into_iter()
            .find(|base| releases.artifacts.join(&base.artifact.sha256).is_file())
            // What a host downloads is not to be sent from here.
            .filter(|base| self.pulled_from().is_none() || base.artifact == *new)?;
        let get = |method| {
            let patches = &releases.patches;
            patches.get(&base.artifact, new, method, &releases.artifacts)
        };
        let mut patch = get(PatchMethod::PartsOrZstd).await?;
        if patch.needs_zstd && !self.host.link.has_zstd().await {
            patch = get(PatchMethod::Parts).await?;
        }
        Some((base.dir, patch))
    }

    /// The URL from which hosts download the artifact.
    fn pulled_from(&self) -> Option<&'a str> {
        let (pulled, url) = self.context.releases().pulled.as_ref()?;
        (pulled == self.release).then_some(url.as_str())
    }

    /// Receives or downloads the whole artifact.
    async fn receive_whole(&self) -> Result<Received, String> {
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
        let input = match (self.recovered, self.pulled_from()) {
            (Some(recovered), _) => ArtifactInput::Recovered(&path, recovered),
            (None, Some(url)) => ArtifactInput::Pulled(url),
            (None, None) => ArtifactInput::Pushed(&path),
        };
        Ok(self.receive(input).await)
    }

    /// Receives a file from another host if hosts pass it on, and otherwise from this machine.
    async fn receive(&self, input: ArtifactInput<'_>) -> Received {
        let Some(file) = self.relayed_file(input) else {
            return self
                .receive_from(&Sender::ControlMachine, input, None)
                .await;
        };
        let relay = self.context.relay();
        let hosts = self.context.group_size(&file.group, self.sent_bytes(input));
        let mut transfer = relay.begin(&file, hosts).await;
        let keep_in = relay.prepare_server(self.host, self.site, &file).await;
        let keep_in = keep_in.as_deref();
        let mut received = self.receive_from(&transfer.sender, input, keep_in).await;
        if let (Sender::Host(host), ActionResult::Failed { error, .. }) =
            (transfer.sender.clone(), &received.result)
        {
            let direct_because = Some(error.clone());
            drop(transfer);
            transfer = relay.begin_from_control(&file);
            received = self.receive_from(&transfer.sender, input, keep_in).await;
            received.direct_because = direct_because;
            if matches!(received.result, ActionResult::Failed { .. }) {
                relay.forgive(&file, &host);
            }
        }
        if matches!(received.result, ActionResult::Done(_)) {
            if keep_in.is_some() {
                relay.add_server(&file, &self.host.site.target.name);
            }
            transfer.succeed();
        }
        received
    }

    async fn receive_from(
        &self,
        sender: &Sender,
        artifact: ArtifactInput<'_>,
        keep_in: Option<&str>,
    ) -> Received {
        let (source, relayed_by) = match sender {
            Sender::ControlMachine => (None, None),
            Sender::Host(host) => (self.context.relay().source(host), Some(host.clone())),
        };
        let input = StageInput {
            artifact,
            relayed_from: source.as_ref().map(RelaySource::relayed_from),
            keep_in,
            secrets: self.secrets,
        };
        let result = match &relayed_by {
            Some(host) if source.is_none() => ActionResult::Failed {
                error: format!("the host {host} does not send files any more"),
                observation: None,
            },
            _ => {
                let script = script::stage(self.site, self.definition, self.release, &input);
                run_script(self.context, self.host, &script).await
            }
        };
        Received {
            result,
            sent_bytes: self.sent_bytes(artifact),
            relayed_by,
            direct_because: None,
        }
    }

    fn sent_bytes(&self, input: ArtifactInput<'_>) -> u64 {
        match input {
            ArtifactInput::Patched(_, patch) => patch.size_bytes,
            _ => self.artifact().size_bytes,
        }
    }

    /// The file, if hosts pass it on. One that a host downloads comes from its server, and a host
    /// that is this machine has no sshd for others.
    fn relayed_file(&self, input: ArtifactInput<'_>) -> Option<RelayedFile> {
        if self.host.site.target.transport == Transport::Local {
            return None;
        }
        let sha256 = match input {
            ArtifactInput::Pulled(_) => return None,
            ArtifactInput::Patched(_, patch) => patch.sha256,
            ArtifactInput::Pushed(_) | ArtifactInput::Recovered(..) => &self.artifact().sha256,
        };
        let relaying = &self.context.releases().relaying;
        let group = relaying.group_of(&self.host.site.labels, self.sent_bytes(input))?;
        Some(RelayedFile {
            group,
            sha256: sha256.to_owned(),
        })
    }
}
