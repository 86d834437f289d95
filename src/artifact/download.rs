//! Downloads an artifact by http or https. A download that breaks off is resumed, and one that is
//! in the cache already is not repeated.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::cache::Cache;
use super::error::ArtifactError;
use super::partial::{self, Partial};
use super::recollection::{CacheEntry, Validators};
use super::web::{client, parsed, without_secrets};
use crate::artifact::trouble::FetchError;
use crate::config::hex;

const SIZE_BYTES_MAX: u64 = 16 << 30;
/// The limit of attempts, even if each of them makes progress.
const TRIES_MAX: u32 = 50;
/// A slower download is tried again after this time.
const SLOWEST: (u64, Duration) = (64 << 10, Duration::from_mins(1));

/// Something downloaded, which goes away unless it is copied.
pub(super) struct Download {
    file: Downloaded,
    memory: Memory,
}

enum Downloaded {
    New(Partial),
    /// They are in the cache already.
    Kept(PathBuf),
    /// The artifact made from the unchanged source is in the cache.
    KeptAsSent {
        path: PathBuf,
        source_sha256: String,
    },
}

/// Where ship records what a URL led to.
struct Memory {
    directory: PathBuf,
    key: String,
    validators: Option<Validators>,
}

#[derive(Clone, Copy)]
pub(super) struct DownloadRequest<'a> {
    pub(super) url: &'a str,
    /// Its SHA-256, where it is known.
    pub(super) sha256: Option<&'a str>,
    /// Whether the bytes themselves are needed, not only the artifact made of them.
    pub(super) as_published: bool,
}

impl Download {
    pub(super) fn path(&self) -> &Path {
        match &self.file {
            Downloaded::New(partial) => partial.path(),
            Downloaded::Kept(path) | Downloaded::KeptAsSent { path, .. } => path,
        }
    }

    /// The SHA-256 of what was published, where only what was made of it is kept.
    pub(super) fn transcoded_from(&self) -> Option<&str> {
        match &self.file {
            Downloaded::KeptAsSent { source_sha256, .. } => Some(source_sha256),
            Downloaded::New(_) | Downloaded::Kept(_) => None,
        }
    }

    /// Records the result, so that it need not be downloaded again.
    pub(super) fn remember(&self, source_sha256: &str, sent_sha256: &str) {
        let Memory {
            directory,
            key,
            validators: Some(validators),
        } = &self.memory
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

/// The last part of the URL's path.
pub(super) fn name_of(url: &str) -> Result<String, ArtifactError> {
    let shown = without_secrets(url);
    let parsed = Url::parse(url);
    let parsed = parsed.map_err(|why| {
        ArtifactError::download(
            "the artifact",
            &format!("this is no URL: {why}"),
            "correct the URL in `source`",
        )
    })?;
    let name = parsed.path().rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Err(ArtifactError::download(
            &shown,
            "its path does not end in a file's name",
            "name the file itself",
        ));
    }
    Ok(name.to_owned())
}

/// Downloads what a URL leads to, unless that is in the cache: known by its SHA-256, or by what the
/// server says.
pub(super) async fn fetch(
    wanted: DownloadRequest<'_>,
    cache: &Cache,
    retries: ExponentialBuilder,
) -> Result<Download, ArtifactError> {
    let shown = without_secrets(wanted.url);
    let key = hex(&Sha256::digest(wanted.url));
    let directory = partial::directory(cache)?;
    let known = kept(cache, &directory, &key, wanted.as_published);
    let memory = |validators| Memory {
        directory: directory.clone(),
        key: key.clone(),
        validators,
    };
    if let Some(sha256) = wanted.sha256 {
        if let Some(path) = cache.kept(sha256) {
            return Ok(Download {
                file: Downloaded::Kept(path),
                memory: memory(None),
            });
        }
        if let Some((known, file)) = known.filter(|(known, _)| known.source_sha256 == sha256) {
            let validators = Some(known.validators);
            return Ok(Download {
                file,
                memory: memory(validators),
            });
        }
        // The server would only say that it is what is not meant.
        let (partial, validators) =
            download(wanted.url, &shown, None, &directory, &key, cache, retries).await?;
        let partial = partial.ok_or_else(|| {
            ArtifactError::download(&shown, "the server sends nothing", "try again")
        })?;
        return Ok(Download {
            file: Downloaded::New(partial),
            memory: memory(Some(validators)),
        });
    }
    let condition = known.as_ref().map(|(known, _)| &known.validators);
    let (partial, validators) = download(
        wanted.url, &shown, condition, &directory, &key, cache, retries,
    )
    .await?;
    let file = match (partial, known) {
        (Some(partial), _) => Downloaded::New(partial),
        (None, Some((_, file))) => file,
        (None, None) => {
            return Err(ArtifactError::download(
                &shown,
                "the server sends nothing",
                "try again",
            ));
        }
    };
    Ok(Download {
        file,
        memory: memory(Some(validators)),
    })
}

/// The artifact that the URL led to last time, if it is still in the cache.
fn kept(
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
    let path = cache.kept(&known.sent_sha256)?;
    let source_sha256 = known.source_sha256.clone();
    let file = if is_same {
        Downloaded::Kept(path)
    } else {
        Downloaded::KeptAsSent {
            path,
            source_sha256,
        }
    };
    Some((known, file))
}

/// The whole of it; `None` where it is what it was by `condition`.
async fn download(
    url: &str,
    shown: &str,
    condition: Option<&Validators>,
    directory: &Path,
    key: &str,
    cache: &Cache,
    retries: ExponentialBuilder,
) -> Result<(Option<Partial>, Validators), ArtifactError> {
    let error = |trouble: FetchError| ArtifactError::download(shown, &trouble.why, trouble.help);
    let client = client().map_err(error)?;
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
        let trouble = match attempt.carry_out().await {
            Ok(Got::All(validators)) => return Ok((Some(partial.whole()), validators)),
            Ok(Got::Unchanged) => return Ok((None, condition.cloned().unwrap_or_default())),
            Err(Broken::Cache(why)) => return Err(cache.error(&why)),
            Err(Broken::Web(trouble)) => trouble,
        };
        tries += 1;
        if partial.length() > before {
            delays = retries.build();
        }
        let delay = delays
            .next()
            .filter(|_| trouble.is_passing && tries < TRIES_MAX);
        let Some(delay) = delay else {
            let trouble = trouble.after(tries);
            return Err(match partial.length() {
                0 => error(trouble),
                bytes => {
                    let why = format!("{}; {bytes} bytes have come so far", trouble.why);
                    error(FetchError { why, ..trouble })
                }
            });
        };
        tracing::debug!(
            shown,
            why = trouble.why,
            bytes = partial.length(),
            "a download broke off"
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

enum Got {
    All(Validators),
    Unchanged,
}

enum Broken {
    Web(FetchError),
    Cache(std::io::Error),
}

impl From<FetchError> for Broken {
    fn from(trouble: FetchError) -> Self {
        Broken::Web(trouble)
    }
}

impl From<reqwest::Error> for Broken {
    fn from(why: reqwest::Error) -> Self {
        Broken::Web(why.into())
    }
}

impl From<std::io::Error> for Broken {
    fn from(why: std::io::Error) -> Self {
        Broken::Cache(why)
    }
}

impl DownloadAttempt<'_> {
    async fn carry_out(&mut self) -> Result<Got, Broken> {
        // As it lies there: ranges of something compressed on the way would not fit.
        let mut request = self
            .client
            .get(parsed(self.url)?)
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
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Got::Unchanged),
            StatusCode::PARTIAL_CONTENT if self.partial.tag().is_some() => {
                if start_of(response.headers()) != Some(self.partial.length()) {
                    self.partial.begin(None)?;
                    return Err(FetchError::passing(
                        "the server sends another part than it was asked for",
                    )
                    .into());
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.partial.tag().is_some() => {
                self.partial.begin(None)?;
                return Err(FetchError::status(status).passes().into());
            }
            StatusCode::OK => self.partial.begin(validators.strong(response.headers()))?,
            _ if status.is_success() => {
                let help = "give the URL of the file itself";
                return Err(
                    FetchError::lasting(format!("the server answers {status}"), help).into(),
                );
            }
            _ => return Err(FetchError::status(status).into()),
        }
        self.save(response).await?;
        Ok(Got::All(validators))
    }

    /// Writes the body, and keeps the part that has arrived when it breaks off.
    async fn save(&mut self, mut response: Response) -> Result<(), Broken> {
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
                break Err(FetchError::lasting(why, "see whether the URL is the right one").into());
            };
            room = left;
            writer.write(&chunk).await?;
            bytes += length;
            if since.elapsed() > SLOWEST.1 {
                if bytes < SLOWEST.0 {
                    break Err(FetchError::passing(format!(
                        "no more than {bytes} bytes came in a minute"
                    ))
                    .into());
                }
                (since, bytes) = (Instant::now(), 0);
            }
        };
        self.partial.take(writer).await?;
        ended
    }
}

/// Where a part begins: `bytes 100-199/200`.
fn start_of(headers: &HeaderMap) -> Option<u64> {
    let range = headers
        .get(CONTENT_RANGE)?
        .to_str()
        .ok()?
        .trim()
        .strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}
