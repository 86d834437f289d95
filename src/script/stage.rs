//! Transfers a release to a host.

use std::path::Path;
use std::time::Duration;

use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};
use super::relay::RelayedFrom;
use crate::core::ids::ReleaseId;
use crate::core::release::{Artifact, ArtifactForm, Definition};

/// The slowest connection for which a transfer has enough time.
const BYTES_PER_SECOND: u64 = 64 * 1024;
/// How long a host waits for the server from which it pulls, before the host retries or fails.
const SERVER_WAIT: Duration = Duration::from_secs(20);
const SERVER_TRIES: u32 = 2;
/// The unit of `ulimit -f`.
const BLOCK_BYTES: u64 = 512;

/// What a host receives for a release, and from where.
#[derive(Clone, Copy)]
pub struct StageInput<'a> {
    pub artifact: ArtifactInput<'a>,
    /// The host that sends the file of the artifact or of the difference; `None` if this machine
    /// does.
    pub relayed_from: Option<RelayedFrom<'a>>,
    /// The directory in which the host keeps that file, so that it can send it to other hosts.
    pub keep_in: Option<&'a str>,
    /// The text with the digest [`Definition::secrets_sha256`].
    pub secrets: Option<&'a [u8]>,
}

/// How a host gets the bytes of a release.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ArtifactInput<'a> {
    /// From this machine, which sends the file.
    Pushed(&'a Path),
    /// From this machine, which sends the file: the second value describes it. A host has made it
    /// from the files of the release.
    Recovered(&'a Path, &'a Artifact),
    /// From this URL, which may contain secrets and is therefore sent on the script's input.
    Pulled(&'a str),
    /// From another release on the host, in this directory, and from this machine, which sends the
    /// difference.
    Patched(&'a str, PatchFile<'a>),
}

/// The difference between two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchFile<'a> {
    pub path: &'a Path,
    /// The SHA-256 of the file, in lower-case hex.
    pub sha256: &'a str,
    pub size_bytes: u64,
    /// The digest of the files of the new release, as `ReleaseContents::listing_sha256` computes
    /// it.
    pub listing_sha256: &'a str,
}

/// A release that a host holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRelease {
    /// Its directory on the host.
    pub dir: String,
    pub artifact: Artifact,
}

impl HeldRelease {
    /// A release of the service, which the host has reported.
    pub fn new(service_dir: &str, release: &ReleaseId, definition: &Definition) -> Self {
        Self {
            dir: format!("{service_dir}/releases/{release}"),
            artifact: definition.artifact.clone(),
        }
    }
}

/// Transfers a release to a host: it is received, verified and unpacked under a temporary name, and
/// renamed when complete. If the host already has it, the input is not read. Leftovers of earlier
/// attempts are removed.
///
pub fn stage(
    context: &HostContext,
    definition: &Definition,
    release: &ReleaseId,
    received: &StageInput<'_>,
) -> Script {
    let secrets = CountedLines::new(received.secrets.unwrap_or_default());
    let artifact = match received.artifact {
        ArtifactInput::Recovered(_, artifact) => artifact,
        ArtifactInput::Pushed(_) | ArtifactInput::Pulled(_) | ArtifactInput::Patched(..) => {
            &definition.artifact
        }
    };
    let (file, times) = match &artifact.form {
        ArtifactForm::TarGz => ("", ""),
        ArtifactForm::Directory => ("", "m"),
        ArtifactForm::File(name) => (last_component(name), ""),
    };
    let definition_json = serde_json::to_string(definition).unwrap_or_default();
    let mut input = Input {
        head: [definition_json.as_bytes(), b"\n", &secrets.bytes].concat(),
        file: None,
    };
    let mut deadline = LOCK_WAIT * 2 + WORK * 3 + transfer_time(artifact.size_bytes);
    let text = Text::changing(context, "stage").marking_proven(context);
    let text = match received.artifact {
        ArtifactInput::Pushed(path) | ArtifactInput::Recovered(path, _) => received
            .receive(text, path, artifact.size_bytes, &mut input)
            .add(include_str!("sh/push.sh")),
        ArtifactInput::Pulled(url) => {
            input.head.extend(escape_url(url).bytes().chain([b'\n']));
            deadline += SERVER_WAIT * SERVER_TRIES;
            limit_output(text, artifact.size_bytes)
                .set("SERVER_WAIT", SERVER_WAIT.as_secs())
                .set("SERVER_TRIES", SERVER_TRIES)
                .add(include_str!("sh/pull.sh"))
        }
        ArtifactInput::Patched(held_dir, patch) => received
            .receive(text, patch.path, patch.size_bytes, &mut input)
            .set("HELD", held_dir)
            .set("PATCH_SIZE", patch.size_bytes)
            .set("PATCH_SHA256", patch.sha256)
            .set("CONTENTS", patch.listing_sha256)
            .add(include_str!("sh/patch.sh")),
    };
    text.set("SHARED_DIRS", definition.shared_dirs.join(" "))
        .set("RELEASE", release)
        .set("SHA256", &artifact.sha256)
        .set("SIZE", artifact.size_bytes)
        .set("STRIP", artifact.strip_components)
        .set("FILE", file)
        .set("TIMES", times)
        .set(
            "SECRETS_SHA256",
            definition.secrets_sha256.as_deref().unwrap_or_default(),
        )
        .set("SECRETS_LINES", secrets.count)
        .set("SECRETS_END", secrets.end)
        .add(include_str!("sh/read_stdin.sh"))
        .add(include_str!("sh/stage.sh"))
        .script(input, deadline)
}

impl<'a> From<ArtifactInput<'a>> for StageInput<'a> {
    /// The file comes from this machine, and the release has no secrets.
    fn from(artifact: ArtifactInput<'a>) -> Self {
        Self {
            artifact,
            relayed_from: None,
            keep_in: None,
            secrets: None,
        }
    }
}

impl StageInput<'_> {
    /// Adds what receives a file of this machine, from here or from another host.
    fn receive(&self, text: Text, path: &Path, size_bytes: u64, input: &mut Input) -> Text {
        let text = text
            .set("KEEP_IN", self.keep_in.unwrap_or_default())
            .add(include_str!("sh/receive.sh"));
        match self.relayed_from {
            None => {
                input.file = Some(path.to_owned());
                text.add(include_str!("sh/from_control.sh"))
            }
            Some(from) => {
                input.head.extend(from.input());
                from.set(limit_output(text, size_bytes))
                    .add(include_str!("sh/from_host.sh"))
            }
        }
    }
}

/// Lets the script limit a file that it receives to this size.
fn limit_output(text: Text, size_bytes: u64) -> Text {
    text.set("BLOCKS_MAX", size_bytes.div_ceil(BLOCK_BYTES) + 1)
        .add(include_str!("sh/limit_output.sh"))
}

/// The time in which even the slowest connection transfers that many bytes.
pub(super) fn transfer_time(size_bytes: u64) -> Duration {
    Duration::from_secs(size_bytes / BYTES_PER_SECOND)
}

/// Escapes a URL for the configuration files of curl and wget.
fn escape_url(url: &str) -> String {
    let needs_escape = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
    url.chars()
        .map(|c| {
            if needs_escape(c) && c.is_ascii() {
                format!("%{:02X}", u32::from(c))
            } else {
                c.into()
            }
        })
        .collect()
}

/// The last component of a path, which cannot lead to another directory.
fn last_component(name: &str) -> &str {
    Path::new(name)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("artifact")
}

/// Text with the number of lines that a shell must read.
struct CountedLines {
    bytes: Vec<u8>,
    count: usize,
    /// The format with which the script prints the last line.
    end: &'static str,
}

impl CountedLines {
    fn new(text: &[u8]) -> Self {
        let mut bytes = text.to_vec();
        let is_open = text.last().is_some_and(|last| *last != b'\n');
        if is_open {
            bytes.push(b'\n');
        }
        let count = bytes.split(|b| *b == b'\n').count() - 1;
        Self {
            bytes,
            count,
            end: if is_open { "%s" } else { "%s\\n" },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::script::stage::*;

    #[test]
    fn single_file_stays_in_its_directory() {
        assert_eq!(last_component("server"), "server");
        assert_eq!(last_component("../../etc/passwd"), "passwd");
        assert_eq!(last_component(".."), "artifact");
        assert_eq!(last_component(""), "artifact");
    }

    #[test]
    fn url_is_escaped_for_curl_and_wget() {
        assert_eq!(
            escape_url("https://a.org/b?c=%20d[1]{2}"),
            "https://a.org/b?c=%20d[1]{2}"
        );
        assert_eq!(
            escape_url("https://a.org/b?c=\"\nurl = \\x"),
            "https://a.org/b?c=%22%0Aurl%20=%20%5Cx"
        );
    }

    #[test]
    fn counted_lines_match_the_reads_of_a_shell() {
        let lines = |text: &str| {
            let lines = CountedLines::new(text.as_bytes());
            (
                lines.count,
                lines.end,
                String::from_utf8(lines.bytes).expect("text"),
            )
        };
        assert_eq!(lines(""), (0, "%s\\n", String::new()));
        assert_eq!(lines("a\nb\n"), (2, "%s\\n", "a\nb\n".into()));
        assert_eq!(lines("a\nb"), (2, "%s", "a\nb\n".into()));
    }
}
