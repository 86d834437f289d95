//! Bringing a release to a host.

use std::path::Path;
use std::time::Duration;

use super::site::{Input, LOCK_WAIT, Script, Site, Text, WORK};
use crate::core::names::ReleaseId;
use crate::core::release::{ArtifactForm, Definition};

/// The slowest line that a transfer is given time for.
const BYTES_PER_SECOND: u64 = 64 * 1024;

/// Brings a release to a host: received, verified and unpacked under a temporary name, and renamed when whole. Where
/// it already is, the input is not read. What earlier attempts have left goes.
///
/// `artifact` is the file that is sent, as [`Definition::artifact`] describes it; `secrets` is the text that has the
/// digest [`Definition::secrets_sha256`].
pub fn stage(
    site: &Site,
    definition: &Definition,
    release: &ReleaseId,
    artifact: &Path,
    secrets: Option<&[u8]>,
) -> Script {
    let secrets = Lines::of(secrets.unwrap_or_default());
    let file = match &definition.artifact.form {
        ArtifactForm::TarGz => "",
        ArtifactForm::File(name) => plain_name(name),
    };
    let transfer = Duration::from_secs(definition.artifact.size_bytes / BYTES_PER_SECOND);
    Text::acting(site, "stage")
        .set("RELEASE", release)
        .set("SHA256", &definition.artifact.sha256)
        .set("SIZE", definition.artifact.size_bytes)
        .set("STRIP", definition.artifact.strip_components)
        .set("FILE", file)
        .set("SECRETS_SHA256", definition.secrets_sha256.as_deref().unwrap_or_default())
        .set("SECRETS_LINES", secrets.count)
        .set("SECRETS_END", secrets.end)
        .add(include_str!("sh/take.sh"))
        .add(include_str!("sh/stage.sh"))
        .script(Input { head: secrets.bytes, file: Some(artifact.to_owned()) }, LOCK_WAIT * 2 + WORK * 3 + transfer)
}

/// The last part of a path: a name can lead nowhere else.
fn plain_name(name: &str) -> &str {
    Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or("artifact")
}

/// Text in the form in which a shell can read exactly this much of it: whole lines, counted.
struct Lines {
    bytes: Vec<u8>,
    count: usize,
    /// How the last one is to be printed.
    end: &'static str,
}

impl Lines {
    fn of(text: &[u8]) -> Self {
        let mut bytes = text.to_vec();
        let is_open = text.last().is_some_and(|last| *last != b'\n');
        if is_open {
            bytes.push(b'\n');
        }
        let count = bytes.split(|b| *b == b'\n').count() - 1;
        Self { bytes, count, end: if is_open { "%s" } else { "%s\\n" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_file_never_leaves_its_directory() {
        assert_eq!(plain_name("server"), "server");
        assert_eq!(plain_name("../../etc/passwd"), "passwd");
        assert_eq!(plain_name(".."), "artifact");
        assert_eq!(plain_name(""), "artifact");
    }

    #[test]
    fn lines_are_counted_as_a_shell_reads_them() {
        let lines = |text: &str| {
            let lines = Lines::of(text.as_bytes());
            (lines.count, lines.end, String::from_utf8(lines.bytes).expect("text"))
        };
        assert_eq!(lines(""), (0, "%s\\n", String::new()));
        assert_eq!(lines("a\nb\n"), (2, "%s\\n", "a\nb\n".into()));
        assert_eq!(lines("a\nb"), (2, "%s", "a\nb\n".into()));
    }
}
