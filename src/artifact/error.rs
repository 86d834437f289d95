//! Why there is no artifact to send.

use std::io;

use crate::config::{ArtifactConfig, Diagnostic, Diagnostics};

/// What is wrong with an artifact, and what to try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct ArtifactError {
    message: String,
    help: String,
    key: Key,
}

/// The key of the playbook to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Source,
    Sha256,
    Sums,
    Signature,
}

impl ArtifactError {
    /// What is wrong, naming the file.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn help(&self) -> &str {
        &self.help
    }

    /// The same as a report on the playbook's line.
    pub fn diagnostics(&self, config: &ArtifactConfig) -> Diagnostics {
        let place = match self.key {
            Key::Source => &config.places.source,
            Key::Sha256 => &config.places.sha256,
            Key::Sums => &config.places.sums,
            Key::Signature => &config.places.signature,
        };
        let place = place.as_ref().or(config.places.source.as_ref());
        match place {
            // The line is not shown where it may hold a password.
            Some(place) if config.source.may_hold_secrets() => {
                let diagnostic =
                    Diagnostic::line(place.path(), place.line(), place.column(), &self.message);
                diagnostic.help(&self.help).into()
            }
            Some(place) => Diagnostic::at(place, &self.message).help(&self.help).into(),
            None => Diagnostic::file("artifact", &self.message)
                .help(&self.help)
                .into(),
        }
    }

    fn new(message: String, help: impl Into<String>) -> Self {
        Self {
            message,
            help: help.into(),
            key: Key::Source,
        }
    }

    pub(super) fn unreadable(shown: &str, why: &io::Error) -> Self {
        let help = match why.kind() {
            io::ErrorKind::NotFound => {
                "build it first, or correct `source`: it is found from the playbook's directory"
            }
            io::ErrorKind::PermissionDenied => "make it readable for the user that runs ship",
            _ => "see whether the disk is well, then try again",
        };
        Self::new(format!("cannot read the artifact {shown}: {why}"), help)
    }

    pub(super) fn bad_name(shown: &str) -> Self {
        Self::new(
            format!(
                "the artifact {} has a name that is not plain text",
                shown.escape_debug()
            ),
            "rename it, without line breaks and the like",
        )
    }

    pub(super) fn no_file(shown: &str) -> Self {
        Self::new(
            format!("the artifact {shown} is neither a file nor a directory"),
            "point `source` at an archive, a directory or a single file",
        )
    }

    pub(super) fn unknown_archive(shown: &str) -> Self {
        Self::new(
            format!("the artifact {shown} is an archive of a kind that ship does not unpack"),
            "pack it as .tar.gz or .tar.zst, or point `source` at the directory itself",
        )
    }

    pub(super) fn broken(shown: &str, compression: &str, why: &str) -> Self {
        Self::new(
            format!("the artifact {shown} is no whole {compression} tar archive: {why}"),
            "build or download it again; `tar -tf` should list it to the end",
        )
    }

    pub(super) fn refused(shown: &str, why: &str) -> Self {
        Self::new(
            format!("the artifact {shown} is an archive that ship does not send: {why}"),
            "pack it anew (tar -C DIR -czf … .)",
        )
    }

    pub(super) fn unsafe_entry(shown: &str, entry: &str, why: &str) -> Self {
        Self::new(
            format!("the artifact {shown} holds `{entry}`, {why}"),
            "pack it from within its own directory (tar -C DIR -czf … .), with relative links \
             that stay inside",
        )
    }

    pub(super) fn empty(shown: &str, strip_components: u32) -> Self {
        if strip_components == 0 {
            Self::new(
                format!("the artifact {shown} is empty"),
                "see whether the build that makes it has succeeded",
            )
        } else {
            Self::new(
                format!(
                    "with strip_components = {strip_components} nothing is left of the artifact \
                     {shown}"
                ),
                "lower `strip_components`; `tar -tf` shows how deep its files lie",
            )
        }
    }

    pub(super) fn changing(shown: &str, file: &str) -> Self {
        Self::new(
            format!("`{file}` in the artifact {shown} changed while it was read"),
            "let whatever writes to it end, then try again",
        )
    }

    pub(super) fn special(shown: &str, file: &str) -> Self {
        Self::new(
            format!(
                "`{file}` in the artifact {shown} is neither a file, a directory nor a symbolic \
                 link"
            ),
            "remove it, or point `source` at a directory without it",
        )
    }

    pub(super) fn wrong_digest(shown: &str, expected: &str, actual: &str) -> Self {
        let message = format!(
            "the artifact {shown} is not the one meant: its SHA-256 is {actual}, not {expected}"
        );
        let help = "if the artifact is right, put the first of the two into `sha256`; if it is \
                    not, get it again";
        Self {
            key: Key::Sha256,
            ..Self::new(message, help)
        }
    }

    pub(super) fn differs_from_list(shown: &str, list: &str, expected: &str, actual: &str) -> Self {
        let message = format!(
            "the artifact {shown} is not the one meant: its SHA-256 is {actual}, but {list} says \
             {expected}"
        );
        let help =
            "if one of the two was replaced just now, try again; else publish both anew, together";
        Self {
            key: Key::Sums,
            ..Self::new(message, help)
        }
    }

    pub(super) fn sums(message: &str, help: &str) -> Self {
        Self {
            key: Key::Sums,
            ..Self::new(message.to_owned(), help)
        }
    }

    pub(super) fn signature(message: &str, help: &str) -> Self {
        Self {
            key: Key::Signature,
            ..Self::new(message.to_owned(), help)
        }
    }

    pub(super) fn download(shown: &str, why: &str, help: &str) -> Self {
        Self::new(format!("cannot download {shown}: {why}"), help)
    }

    pub(super) fn cache(directory: &str, why: &io::Error) -> Self {
        let help = match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on that disk, then try again"
            }
            _ => "make that directory writable for the user that runs ship",
        };
        Self::new(
            format!("cannot keep the artifact in {directory}: {why}"),
            help,
        )
    }

    pub(super) fn stopped(why: &str) -> Self {
        Self::new(
            format!("reading the artifact was cut short: {why}"),
            "try again",
        )
    }
}
