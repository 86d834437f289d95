//! The SHA-256 of a source, by a list in the format of `sha256sum`.

use std::path::Path;

use backon::ExponentialBuilder;

use super::error::ArtifactError;
use super::web::{SmallDocument, shown, small};
use crate::config::{ArtifactConfig, Source, Sums};

const LIST_BYTES_MAX: u64 = 1 << 20;
/// The default name of the list.
const USUAL_NAME: &str = "SHA256SUMS";

/// What a checksum list says about a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListedChecksum {
    pub(super) sha256: String,
    /// The list's path or URL, for messages.
    pub(super) list: String,
}

/// Looks for the SHA-256 of the source, whose file has this name; `None` where nobody has to say
/// it.
pub(super) async fn look_up(
    config: &ArtifactConfig,
    name: &str,
    retries: ExponentialBuilder,
) -> Result<Option<ListedChecksum>, ArtifactError> {
    let (list, is_required) = match &config.sums {
        Sums::Nowhere => return Ok(None),
        Sums::Beside if config.sha256.is_some() || is_directory(&config.source) => return Ok(None),
        Sums::Beside => (config.source.sibling(USUAL_NAME), false),
        Sums::At(list) => (list.clone(), true),
    };
    if is_required && is_directory(&config.source) {
        return Err(ArtifactError::sums(
            "a directory has no SHA-256 of its own",
            "pack it, or leave out `sha256sums`",
        ));
    }
    let place = shown(&list);
    let bytes = match small(&list, LIST_BYTES_MAX, retries).await {
        Ok(SmallDocument::Bytes(bytes)) => bytes,
        Ok(SmallDocument::Absent(_)) if !is_required => return Ok(None),
        Ok(SmallDocument::Absent(why)) => {
            return Err(no_list(&place, &why, "publish it, or correct `sha256sums`"));
        }
        Err(trouble) => {
            let help = "try again later; `sha256sums = false` does without";
            return Err(no_list(&place, &trouble.why, help));
        }
    };
    match read(&bytes, name) {
        Ok(sha256) => Ok(Some(ListedChecksum {
            sha256,
            list: place,
        })),
        Err(ChecksumFault::TwoSums) => Err(ArtifactError::sums(
            &format!("{place} has two different SHA-256 for {name}"),
            "keep the line that is right",
        )),
        Err(_) if !is_required => Ok(None),
        Err(ChecksumFault::NotListed) => Err(ArtifactError::sums(
            &format!("{place} does not list {name}"),
            "add its line (`sha256sum FILE`), or correct `sha256sums`",
        )),
        Err(ChecksumFault::NoList) => Err(ArtifactError::sums(
            &format!("{place} is no list of SHA-256 sums"),
            "write it with `sha256sum FILE… >SHA256SUMS`",
        )),
    }
}

fn is_directory(source: &Source) -> bool {
    matches!(source, Source::Path(path) if path.is_dir())
}

fn no_list(place: &str, why: &str, help: &str) -> ArtifactError {
    ArtifactError::sums(&format!("cannot read the checksums {place}: {why}"), help)
}

#[derive(Debug, PartialEq, Eq)]
enum ChecksumFault {
    NoList,
    NotListed,
    TwoSums,
}

/// What a list says of a name. Lines that are no sums, as of a signature around them, are passed
/// over.
fn read(bytes: &[u8], name: &str) -> Result<String, ChecksumFault> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().filter_map(line).collect();
    if lines.is_empty() {
        return Err(ChecksumFault::NoList);
    }
    let mut sums = lines
        .iter()
        .filter(|(_, file)| Path::new(file) == Path::new(name))
        .map(|(sha256, _)| sha256);
    let first = sums.next().ok_or(ChecksumFault::NotListed)?;
    if sums.any(|other| other != first) {
        Err(ChecksumFault::TwoSums)
    } else {
        Ok(first.clone())
    }
}

/// `DIGEST  NAME`, or `DIGEST *NAME`; the name may begin with `./`.
fn line(line: &str) -> Option<(String, &str)> {
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
    fn a_list_is_read_as_sha256sum_writes_it() {
        let (a, b) = ("aB".repeat(32), "cd".repeat(32));
        let list = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n{a}  app.tar.gz\r\n{b} *./tool\n{b}  \
             dir/app.tar.gz\n"
        );
        assert_eq!(read(list.as_bytes(), "app.tar.gz"), Ok("ab".repeat(32)));
        assert_eq!(read(list.as_bytes(), "tool"), Ok(b.clone()));
        assert_eq!(read(list.as_bytes(), "ool"), Err(ChecksumFault::NotListed));
        assert_eq!(
            read(b"<html>no such page</html>", "tool"),
            Err(ChecksumFault::NoList)
        );
        assert_eq!(
            read("ä".repeat(64).as_bytes(), "tool"),
            Err(ChecksumFault::NoList)
        );
        let twice = format!("{a}  tool\n{b}  tool\n");
        assert_eq!(read(twice.as_bytes(), "tool"), Err(ChecksumFault::TwoSums));
    }
}
