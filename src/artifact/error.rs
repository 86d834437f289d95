//! Errors of preparing an artifact, with hints.

use std::io;

use crate::config::{ArtifactConfig, Diagnostic, Diagnostics};

/// An error and the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {help}")]
pub struct ArtifactError {
    message: String,
    help: String,
    key: Key,
}

/// The key of the playbook that the error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Source,
    Sha256,
    Checksums,
    Signature,
}

impl ArtifactError {
    /// The error, with the name of the file.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn help(&self) -> &str {
        &self.help
    }

    /// The error as a diagnostic that shows the line of the playbook.
    pub fn diagnostics(&self, config: &ArtifactConfig) -> Diagnostics {
        let place = match self.key {
            Key::Source => &config.places.source,
            Key::Sha256 => &config.places.sha256,
            Key::Checksums => &config.places.sums,
            Key::Signature => &config.places.signature,
        };
        let place = place.as_ref().or(config.places.source.as_ref());
        match place {
            // The line is not shown if it may contain a password.
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
                "build it first, or correct `source`: it is relative to the playbook's directory"
            }
            io::ErrorKind::PermissionDenied => "make it readable for the user who runs ship",
            _ => "check the disk, then retry",
        };
        Self::new(format!("cannot read the artifact {shown}: {why}"), help)
    }

    pub(super) fn differs_from_release(shown: &str) -> Self {
        Self::new(
            format!("the files of {shown} are not those that were deployed"),
            "deploy the version again from its artifact",
        )
    }

    pub(super) fn bad_name(shown: &str) -> Self {
        Self::new(
            format!(
                "the artifact {} has a name that is not valid UTF-8 text",
                shown.escape_debug()
            ),
            "rename it without control characters such as line breaks",
        )
    }

    pub(super) fn not_a_file(shown: &str) -> Self {
        Self::new(
            format!("the artifact {shown} is neither a file nor a directory"),
            "point `source` at an archive, a directory or a single file",
        )
    }

    pub(super) fn unknown_archive(shown: &str) -> Self {
        Self::new(
            format!("the artifact {shown} is an archive in a format that ship does not support"),
            "pack it as .tar.gz or .tar.zst, or point `source` at the directory itself",
        )
    }

    pub(super) fn invalid_archive(shown: &str, compression: &str, why: &str) -> Self {
        Self::new(
            format!(
                "the artifact {shown} is not a valid {compression} tar archive (truncated or corrupt): {why}"
            ),
            "build or download it again; check it with `tar -tf`",
        )
    }

    pub(super) fn ambiguous_archive(shown: &str, why: &str) -> Self {
        Self::new(
            format!(
                "the artifact {shown} is not an archive that every tar reads in the same way: {why}"
            ),
            "pack it again with `tar -C DIR -czf … .`",
        )
    }

    pub(super) fn unsafe_entry(shown: &str, entry: &str, why: &str) -> Self {
        Self::new(
            format!("the artifact {shown} contains `{entry}`, {why}"),
            "pack it from within its own directory with `tar -C DIR -czf … .`, with relative links \
             that stay inside",
        )
    }

    pub(super) fn empty(shown: &str, strip_components: u32) -> Self {
        if strip_components == 0 {
            Self::new(
                format!("the artifact {shown} is empty"),
                "check that the build succeeded",
            )
        } else {
            Self::new(
                format!(
                    "with strip_components = {strip_components}, nothing of the artifact {shown} \
                         is left"
                ),
                "lower `strip_components`; `tar -tf` shows the depth of its files",
            )
        }
    }

    pub(super) fn changed(shown: &str, file: &str) -> Self {
        Self::new(
            format!("`{file}` in the artifact {shown} changed while it was read"),
            "wait until the process that writes to it has finished, then retry",
        )
    }

    pub(super) fn special_file(shown: &str, file: &str) -> Self {
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
            "the artifact {shown} has the wrong SHA-256: expected {expected}, found {actual}"
        );

        let help =
            "if the artifact is correct, set `sha256` to the second value; otherwise get it again";
        Self {
            key: Key::Sha256,
            ..Self::new(message, help)
        }
    }

    pub(super) fn differs_from_list(shown: &str, list: &str, expected: &str, actual: &str) -> Self {
        let message = format!(
            "the artifact {shown} has the wrong SHA-256: {list} lists {expected}, found {actual}"
        );
        let help =
            "if one of the two was just replaced, retry; otherwise publish both again, together";
        Self {
            key: Key::Checksums,
            ..Self::new(message, help)
        }
    }

    pub(super) fn checksums(message: &str, help: &str) -> Self {
        Self {
            key: Key::Checksums,
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
                "free space on that disk, then retry"
            }
            _ => "make that directory writable for the user who runs ship",
        };
        Self::new(
            format!("cannot store the artifact in {directory}: {why}"),
            help,
        )
    }

    pub(super) fn interrupted(why: &str) -> Self {
        Self::new(
            format!("preparing the artifact was interrupted: {why}"),
            "retry",
        )
    }
}
