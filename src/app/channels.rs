//! Resolves a channel to a version, before everything else, so that the history records the
//! version.

use std::sync::Arc;

use super::environment::{Environment, Reading};
use super::error::{Error, Refused};
use super::notice::Notice;
use crate::artifact;
use crate::config::{ArtifactConfig, Overrides};

/// The overrides of the command line, with a version in place of a channel.
pub struct Resolved {
    pub overrides: Overrides,
    /// The channel that was resolved.
    pub channel: Option<String>,
}

impl Resolved {
    /// The default reason of a deploy.
    pub fn reason(&self) -> Option<String> {
        let (version, channel) = (self.overrides.version.as_ref()?, self.channel.as_ref()?);
        Some(format!("deploy {version} ({channel})"))
    }
}

/// Resolves the version of the command line, or else of the playbook, if it is the name of a
/// channel.
///
/// Invalid files are not an error here: the session that reads them next reports it.
pub(crate) async fn resolve(
    env: &Arc<dyn Environment>,
    overrides: Overrides,
) -> Result<Resolved, Error> {
    let project = match env.read_files(&overrides, Reading::Strict) {
        Ok(files) => files.project,
        Err(Error::Files(_)) => {
            return Ok(Resolved {
                overrides,
                channel: None,
            });
        }
        Err(error) => return Err(error),
    };
    let (artifact, name) = (project.playbook.artifact, project.playbook.version);
    let Some(version) = look_up(&artifact, &name).await? else {
        return Ok(Resolved {
            overrides,
            channel: None,
        });
    };
    env.notify(&Notice::ChannelResolved {
        channel: name.clone(),
        version: version.clone(),
    });
    Ok(Resolved {
        overrides: Overrides {
            version: Some(version),
            ..overrides
        },
        channel: Some(name),
    })
}

async fn look_up(artifact: &ArtifactConfig, name: &str) -> Result<Option<String>, Error> {
    let Some(channel) = artifact.channels.get(name) else {
        return Ok(None);
    };
    let found = artifact::resolve(channel, artifact::RETRIES).await;
    let channel = name.to_owned();
    let version = found.map_err(|why| Refused::NoVersion {
        channel: channel.clone(),
        why: why.to_string(),
    })?;
    if artifact.channels.contains_key(&version) {
        return Err(Refused::ChannelOfChannel { channel, version }.into());
    }
    Ok(Some(version))
}
