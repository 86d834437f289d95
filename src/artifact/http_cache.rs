//! The result of the previous download of a URL: how the server identified the file, and the
//! artifact made from it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use reqwest::header::{ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

use crate::trust::private_file;

/// The response headers with which a server identifies a version of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// The result of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CacheEntry {
    #[serde(flatten)]
    pub(super) validators: Validators,
    /// The SHA-256 of the downloaded bytes.
    pub(super) source_sha256: String,
    /// The SHA-256 of the artifact made from them.
    pub(super) sent_sha256: String,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        }
    }

    /// The strong validator, which is required to resume a download.
    pub(super) fn strong(&self, headers: &HeaderMap) -> Option<String> {
        let etag = self.etag.clone().filter(|etag| etag.starts_with('"'));
        etag.or_else(|| {
            self.last_modified
                .clone()
                .filter(|modified| is_long_ago(modified, headers))
        })
    }

    /// The request headers with which the server returns the file only if it has changed.
    pub(super) fn conditions(&self) -> Vec<(reqwest::header::HeaderName, &str)> {
        let pairs = [
            (IF_NONE_MATCH, &self.etag),
            (IF_MODIFIED_SINCE, &self.last_modified),
        ];
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect()
    }
}

/// Dates have a resolution of one second: within the first minute, the file may have changed while
/// its date stayed the same (RFC 9110, 8.8.2.2).
fn is_long_ago(modified: &str, headers: &HeaderMap) -> bool {
    const MARGIN_S: i64 = 60;
    let parse = |text: &str| {
        jiff::fmt::rfc2822::parse(text)
            .ok()
            .map(|date| date.timestamp().as_second())
    };
    let answered = headers
        .get(reqwest::header::DATE)
        .and_then(|date| parse(date.to_str().ok()?));
    answered
        .zip(parse(modified))
        .is_some_and(|(answered, modified)| answered - modified >= MARGIN_S)
}

impl CacheEntry {
    /// Reads the entry of a key. An unreadable entry is ignored.
    pub(super) fn read(directory: &Path, key: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(format!("{key}.known"))).ok()?).ok()
    }

    /// Writes the entry. If that fails, the next deploy downloads again.
    pub(super) fn write(&self, directory: &Path, key: &str) {
        let path = directory.join(format!("{key}.known"));
        // Written under another name first, because a partial entry would be worse than none.
        let write = |temporary: &Path| {
            private_file()
                .write(true)
                .create(true)
                .truncate(true)
                .open(temporary)?
                .write_all(&serde_json::to_vec(self)?)?;
            fs::rename(temporary, &path)
        };
        if let Err(why) = write(&directory.join(format!("{key}.known-{}", std::process::id()))) {
            tracing::debug!(%why, "cannot record a download");
        }
    }
}
