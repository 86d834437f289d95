//! Finds the SHA-256 of a source in a list in the format of `sha256sum`.

use std::path::Path;

use backon::ExponentialBuilder;

use super::error::ArtifactError;
use super::http::{SmallDocument, fetch_small, source_name};
use crate::config::{ArtifactConfig, Source, Sums};

const LIST_BYTES_MAX: u64 = 1 << 20;
/// The default name of the list.
const DEFAULT_NAME: &str = "SHA256SUMS";

/// The entry of a checksum list for a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListedChecksum {
    pub(super) sha256: String,
    /// The list's path or URL, for messages.
    pub(super) list: String,
}

/// Finds the SHA-256 of the source, whose file is called `name`. Returns `None` if no list exists and
/// none is required.
pub(super) async fn find(
    config: &ArtifactConfig,
    name: &str,
    retries: ExponentialBuilder,
) -> Result<Option<ListedChecksum>, ArtifactError> {
    let (list, is_required) = match &config.sums {
        Sums::Disabled => return Ok(None),
        Sums::Beside if config.sha256.is_some() || is_directory(&config.source) => return Ok(None),
        Sums::Beside => (config.source.sibling(DEFAULT_NAME), false),
        Sums::At(list) => (list.clone(), true),
    };
    if is_required && is_directory(&config.source) {
        return Err(ArtifactError::checksums(
            "a directory cannot have a SHA-256",
            "pack it, or remove `sha256sums`",
        ));
    }
    let location = source_name(&list);
    let bytes = match fetch_small(&list, LIST_BYTES_MAX, retries).await {
        Ok(SmallDocument::Bytes(bytes)) => bytes,
        Ok(SmallDocument::Absent(_)) if !is_required => return Ok(None),
        Ok(SmallDocument::Absent(why)) => {
            return Err(unreadable_list(
                &location,
                &why,
                "publish it, or correct `sha256sums`",
            ));
        }
        Err(error) => {
            let help = "retry later, or set `sha256sums = false` to deploy without checksums";
            return Err(unreadable_list(&location, &error.why, help));
        }
    };
    match find_digest(&bytes, name) {
        Ok(sha256) => Ok(Some(ListedChecksum {
            sha256,
            list: location,
        })),
        Err(ChecksumFault::Ambiguous) => Err(ArtifactError::checksums(
            &format!("{location} lists two different SHA-256 digests for {name}"),
            "keep only the correct line",
        )),
        Err(_) if !is_required => Ok(None),
        Err(ChecksumFault::NotListed) => Err(ArtifactError::checksums(
            &format!("{location} does not list {name}"),
            "add the output of `sha256sum FILE`, or correct `sha256sums`",
        )),
        Err(ChecksumFault::NotAList) => Err(ArtifactError::checksums(
            &format!("{location} is not a list of SHA-256 checksums"),
            "create it with `sha256sum FILE… >SHA256SUMS`",
        )),
    }
}

fn is_directory(source: &Source) -> bool {
    matches!(source, Source::Path(path) if path.is_dir())
}

fn unreadable_list(location: &str, why: &str, help: &str) -> ArtifactError {
    ArtifactError::checksums(
        &format!("cannot read the checksums {location}: {why}"),
        help,
    )
}

#[derive(Debug, PartialEq, Eq)]
enum ChecksumFault {
    NotAList,
    NotListed,
    Ambiguous,
}

/// Finds the digest of a name in a list. Other lines, such as a signature around the list, are
/// ignored.
fn find_digest(bytes: &[u8], name: &str) -> Result<String, ChecksumFault> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().filter_map(parse_line).collect();
    if lines.is_empty() {
        return Err(ChecksumFault::NotAList);
    }
    let mut sums = lines
        .iter()
        .filter(|(_, file)| Path::new(file) == Path::new(name))
        .map(|(sha256, _)| sha256);
    let first = sums.next().ok_or(ChecksumFault::NotListed)?;
    if sums.any(|other| other != first) {
        Err(ChecksumFault::Ambiguous)
    } else {
        Ok(first.clone())
    }
}

/// Parses `DIGEST  NAME` or `DIGEST *NAME`; the name may start with `./`.
fn parse_line(line: &str) -> Option<(String, &str)> {
    const DIGITS: usize = 64;
    let (sha256, rest) = line.split_at_checked(DIGITS)?;
    let name = rest
        .strip_prefix("  ")
        .or_else(|| rest.strip_prefix(" *"))?;
    let is_sum = sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sum.then(|| {
        (
            sha256.to_ascii_lowercase(),
            name.trim_end_matches('\r').trim_start_matches("./"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_list_is_parsed_as_sha256sum_writes_it() {
        let (a, b) = ("aB".repeat(32), "cd".repeat(32));
        let list = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n{a}  app.tar.gz\r\n{b} *./tool\n{b}  \
             dir/app.tar.gz\n"
        );
        assert_eq!(
            find_digest(list.as_bytes(), "app.tar.gz"),
            Ok("ab".repeat(32))
        );
        assert_eq!(find_digest(list.as_bytes(), "tool"), Ok(b.clone()));
        assert_eq!(
            find_digest(list.as_bytes(), "ool"),
            Err(ChecksumFault::NotListed)
        );
        assert_eq!(
            find_digest(b"<html>no such page</html>", "tool"),
            Err(ChecksumFault::NotAList)
        );
        assert_eq!(
            find_digest("ä".repeat(64).as_bytes(), "tool"),
            Err(ChecksumFault::NotAList)
        );
        let twice = format!("{a}  tool\n{b}  tool\n");
        assert_eq!(
            find_digest(twice.as_bytes(), "tool"),
            Err(ChecksumFault::Ambiguous)
        );
    }
}
