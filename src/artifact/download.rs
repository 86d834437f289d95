//! Downloads an artifact over HTTP or HTTPS. Interrupted downloads are resumed, and artifacts in
//! the cache are not downloaded again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::cache::Cache;
use super::error::ArtifactError;
use super::http::{client, parse_url, without_secrets};
use super::http_cache::{CacheEntry, Validators};
use super::partial::{self, Partial};
use crate::artifact::fetch_error::FetchError;
use crate::config::hex;

const SIZE_BYTES_MAX: u64 = 16 << 30;
/// The limit of attempts. It applies even if each of them makes progress.
const TRIES_MAX: u32 = 50;
/// A download that receives fewer bytes than this in this time is interrupted and retried.
const RATE_MIN: (u64, Duration) = (64 << 10, Duration::from_mins(1));

/// A downloaded file, which is removed when it is dropped.
pub(super) struct Download {
    file: Downloaded,
    record: DownloadRecord,
}

enum Downloaded {
    New(Partial),
    /// The file is in the cache already.
    Cached(PathBuf),
    /// The artifact made from the unchanged source is in the cache.
    CachedTranscoded {
        path: PathBuf,
        source_sha256: String,
    },
}

/// Where ship records the result of a download.
struct DownloadRecord {
    directory: PathBuf,
    key: String,
    validators: Option<Validators>,
}

#[derive(Clone, Copy)]
pub(super) struct DownloadRequest<'a> {
    pub(super) url: &'a str,
    /// The expected SHA-256, if it is known.
    pub(super) sha256: Option<&'a str>,
    /// Whether the published bytes are needed, not only the artifact made from them.
    pub(super) as_published: bool,
}

impl Download {
    pub(super) fn path(&self) -> &Path {
        match &self.file {
            Downloaded::New(partial) => partial.path(),
            Downloaded::Cached(path) | Downloaded::CachedTranscoded { path, .. } => path,
        }
    }

    /// The SHA-256 of the published file, if only the artifact made from it is in the cache.
    pub(super) fn transcoded_from(&self) -> Option<&str> {
        match &self.file {
            Downloaded::CachedTranscoded { source_sha256, .. } => Some(source_sha256),
            Downloaded::New(_) | Downloaded::Cached(_) => None,
        }
    }

    /// Records the result, so that the next deploy does not download it again.
    pub(super) fn save_record(&self, source_sha256: &str, sent_sha256: &str) {
        let DownloadRecord {
            directory,
            key,
            validators: Some(validators),
        } = &self.record
        else {
            return;
        };
        let (source_sha256, sent_sha256) = (source_sha256.to_owned(), sent_sha256.to_owned());
        CacheEntry {
            validators: validators.clone(),
            source_sha256,
            sent_sha256,
        }
        .write(directory, key);
    }
}

/// The last component of the URL's path.
pub(super) fn file_name_of(url: &str) -> Result<String, ArtifactError> {
    let shown = without_secrets(url);
    let parsed = Url::parse(url);
    let parsed = parsed.map_err(|why| {
        ArtifactError::download(
            "the artifact",
            &format!("it is not a valid URL: {why}"),
            "correct the URL in `source`",
        )
    })?;
    let name = parsed.path().rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Err(ArtifactError::download(
            &shown,
            "its path does not end with a file name",
            "use the URL of the file itself",
        ));
    }
    Ok(name.to_owned())
}

/// Downloads a URL, unless the cache contains the file: it has the expected SHA-256, or the server
/// responds that it is unchanged.
pub(super) async fn fetch(
    request: DownloadRequest<'_>,
    cache: &Cache,
    retries: ExponentialBuilder,
) -> Result<Download, ArtifactError> {
    let shown = without_secrets(request.url);
    let key = hex(&Sha256::digest(request.url));
    let directory = partial::directory(cache)?;
    let known = cached(cache, &directory, &key, request.as_published);
    let record = |validators| DownloadRecord {
        directory: directory.clone(),
        key: key.clone(),
        validators,
    };
    if let Some(sha256) = request.sha256 {
        if let Some(path) = cache.find(sha256) {
            return Ok(Download {
                file: Downloaded::Cached(path),
                record: record(None),
            });
        }
        if let Some((known, file)) = known.filter(|(known, _)| known.source_sha256 == sha256) {
            let validators = Some(known.validators);
            return Ok(Download {
                file,
                record: record(validators),
            });
        }
        // The request has no condition, because a 304 would only mean that the file still has the
        // wrong SHA-256.
        let (partial, validators) =
            download(request.url, &shown, None, &directory, &key, cache, retries).await?;
        let partial = partial.ok_or_else(|| {
            ArtifactError::download(&shown, "the server returned no content", "try again")
        })?;
        return Ok(Download {
            file: Downloaded::New(partial),
            record: record(Some(validators)),
        });
    }
    let condition = known.as_ref().map(|(known, _)| &known.validators);
    let (partial, validators) = download(
        request.url,
        &shown,
        condition,
        &directory,
        &key,
        cache,
        retries,
    )
    .await?;
    let file = match (partial, known) {
        (Some(partial), _) => Downloaded::New(partial),
        (None, Some((_, file))) => file,
        (None, None) => {
            return Err(ArtifactError::download(
                &shown,
                "the server returned no content",
                "try again",
            ));
        }
    };
    Ok(Download {
        file,
        record: record(Some(validators)),
    })
}

/// The artifact of the previous download of this URL, if it is still in the cache.
fn cached(
    cache: &Cache,
    directory: &Path,
    key: &str,
    as_published: bool,
) -> Option<(CacheEntry, Downloaded)> {
    let known = CacheEntry::read(directory, key)?;
    let is_same = known.source_sha256 == known.sent_sha256;
    if as_published && !is_same {
        return None;
    }
    let path = cache.find(&known.sent_sha256)?;
    let source_sha256 = known.source_sha256.clone();
    let file = if is_same {
        Downloaded::Cached(path)
    } else {
        Downloaded::CachedTranscoded {
            path,
            source_sha256,
        }
    };
    Some((known, file))
}

/// Downloads the complete file; `None` if it is unchanged according to `condition`.
async fn download(
    url: &str,
    shown: &str,
    condition: Option<&Validators>,
    directory: &Path,
    key: &str,
    cache: &Cache,
    retries: ExponentialBuilder,
) -> Result<(Option<Partial>, Validators), ArtifactError> {
    let to_error = |error: FetchError| ArtifactError::download(shown, &error.why, error.help);
    let client = client().map_err(to_error)?;
    let mut partial = Partial::open(directory, key, cache)?;
    let (mut tries, mut delays) = (0, retries.build());
    loop {
        let before = partial.length();
        let mut attempt = DownloadAttempt {
            client: &client,
            url,
            condition,
            partial: &mut partial,
        };
        let error = match attempt.run().await {
            Ok(Fetched::All(validators)) => return Ok((Some(partial.into_complete()), validators)),
            Ok(Fetched::Unchanged) => return Ok((None, condition.cloned().unwrap_or_default())),
            Err(DownloadFault::Cache(why)) => return Err(cache.error(&why)),
            Err(DownloadFault::Fetch(error)) => error,
        };
        tries += 1;
        if partial.length() > before {
            delays = retries.build();
        }
        let delay = delays
            .next()
            .filter(|_| error.is_retryable && tries < TRIES_MAX);
        let Some(delay) = delay else {
            let fault = error.after_attempts(tries);
            return Err(match partial.length() {
                0 => to_error(fault),
                bytes => {
                    let why = format!("{}; {bytes} bytes received so far", fault.why);
                    to_error(FetchError { why, ..fault })
                }
            });
        };
        tracing::debug!(
            shown,
            why = error.why,
            bytes = partial.length(),
            "download interrupted"
        );
        sleep(delay).await;
    }
}

struct DownloadAttempt<'a> {
    client: &'a Client,
    url: &'a str,
    condition: Option<&'a Validators>,
    partial: &'a mut Partial,
}

enum Fetched {
    All(Validators),
    Unchanged,
}

enum DownloadFault {
    Fetch(FetchError),
    Cache(std::io::Error),
}

impl From<FetchError> for DownloadFault {
    fn from(error: FetchError) -> Self {
        DownloadFault::Fetch(error)
    }
}

impl From<reqwest::Error> for DownloadFault {
    fn from(why: reqwest::Error) -> Self {
        DownloadFault::Fetch(why.into())
    }
}

impl From<std::io::Error> for DownloadFault {
    fn from(why: std::io::Error) -> Self {
        DownloadFault::Cache(why)
    }
}

impl DownloadAttempt<'_> {
    async fn run(&mut self) -> Result<Fetched, DownloadFault> {
        // Compression is off, because the ranges of a compressed response would not match.
        let mut request = self
            .client
            .get(parse_url(self.url)?)
            .header(ACCEPT_ENCODING, "identity");
        let mut is_conditional = false;
        if let Some(tag) = self.partial.tag() {
            request = request
                .header(RANGE, format!("bytes={}-", self.partial.length()))
                .header(IF_RANGE, tag);
        } else if let Some(condition) = self.condition {
            for (name, value) in condition.conditions() {
                request = request.header(name, value);
                is_conditional = true;
            }
        }
        let response = request.send().await?;
        let status = response.status();
        let validators = Validators::of(response.headers());
        match status {
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Fetched::Unchanged),
            StatusCode::PARTIAL_CONTENT if self.partial.tag().is_some() => {
                if range_start(response.headers()) != Some(self.partial.length()) {
                    self.partial.restart(None)?;
                    return Err(FetchError::retryable(
                        "the server returned another range than requested",
                    )
                    .into());
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.partial.tag().is_some() => {
                self.partial.restart(None)?;
                return Err(FetchError::status(status).into_retryable().into());
            }
            StatusCode::OK => self
                .partial
                .restart(validators.strong(response.headers()))?,
            _ if status.is_success() => {
                let help = "use the URL of the file itself";
                return Err(
                    FetchError::permanent(format!("the server returned {status}"), help).into(),
                );
            }
            _ => return Err(FetchError::status(status).into()),
        }
        self.save(response).await?;
        Ok(Fetched::All(validators))
    }

    /// Writes the body. If the download is interrupted, the part that has arrived is kept.
    async fn save(&mut self, mut response: Response) -> Result<(), DownloadFault> {
        let mut writer = self.partial.writer().await?;
        let mut room = SIZE_BYTES_MAX.saturating_sub(self.partial.length());
        let (mut since, mut bytes) = (Instant::now(), 0);
        let ended = loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(why) => break Err(why.into()),
            };
            let length = chunk.len() as u64;
            let Some(left) = room.checked_sub(length) else {
                let why = format!("it is larger than {} GiB", SIZE_BYTES_MAX >> 30);
                break Err(FetchError::permanent(why, "check the URL").into());
            };
            room = left;
            writer.write(&chunk).await?;
            bytes += length;
            if since.elapsed() > RATE_MIN.1 {
                if bytes < RATE_MIN.0 {
                    break Err(FetchError::retryable(format!(
                        "received only {bytes} bytes in a minute"
                    ))
                    .into());
                }
                (since, bytes) = (Instant::now(), 0);
            }
        };
        self.partial.finish_write(writer).await?;
        ended
    }
}

/// The start of a range: 100 for `bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers
        .get(CONTENT_RANGE)?
        .to_str()
        .ok()?
        .trim()
        .strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}
