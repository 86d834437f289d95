//! A version by the name of a channel: looked up before anything else is done, so that the history
//! knows the version.

use super::args::InventoryArg;
use super::exit::Fail;
use super::{lookup, note};
use crate::artifact;
use crate::config::{ArtifactConfig, Overrides};

/// What the command line says, with a version in place of a channel.
pub(super) struct Resolved {
    /// The overrides; the version is that of the channel, if it was one.
    pub(super) overrides: Overrides,
    /// The channel that was asked.
    pub(super) channel: Option<String>,
}

impl Resolved {
    /// Why a deploy is made of this version, where nobody says.
    pub(super) fn cause(&self) -> Option<String> {
        let (version, channel) = (self.overrides.version.as_ref()?, self.channel.as_ref()?);
        Some(format!("deploy {version} ({channel})"))
    }
}

/// Looks up the version that is asked for by the command line, or else by the playbook, if it is a
/// channel's name.
///
/// Where the files are wrong nothing is looked up: whoever reads them next says so.
pub(super) async fn resolve(
    inventory: &InventoryArg,
    overrides: Overrides,
) -> Result<Resolved, Fail> {
    let chosen = lookup::inventory(inventory.inventory.clone())?;
    let Ok(project) = chosen.load(&overrides) else {
        return Ok(Resolved {
            overrides,
            channel: None,
        });
    };
    let (artifact, name) = (project.playbook.artifact, project.playbook.version);
    let Some(version) = look_up(&artifact, &name).await? else {
        return Ok(Resolved {
            overrides,
            channel: None,
        });
    };
    note(&format!("channel {name} is {version}"));
    Ok(Resolved {
        overrides: Overrides {
            version: Some(version),
            ..overrides
        },
        channel: Some(name),
    })
}

async fn look_up(artifact: &ArtifactConfig, name: &str) -> Result<Option<String>, Fail> {
    let Some(channel) = artifact.channels.get(name) else {
        return Ok(None);
    };
    let found = artifact::resolve(channel, artifact::RETRIES).await;
    let version = found
        .map_err(|why| Fail::refused(format!("error: channel {name} has no version: {why}")))?;
    if artifact.channels.contains_key(&version) {
        let message = format!(
            "error: channel {name} leads to {version}, which is a channel; it must say a version"
        );
        return Err(Fail::refused(message));
    }
    Ok(Some(version))
}
