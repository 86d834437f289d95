//! Makes requests to a web server, with retries, and without showing the secrets in a URL.
//!
//! Redirects are followed, up to ten; from https to http they are refused: what was to be had over
//! a proven connection would come over one that anybody can change, and a user and a password would
//! go with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, Url};
use tokio::time::{sleep, timeout};

use crate::artifact::trouble::FetchError;
use crate::config::Source;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for the next bytes of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 10;
/// The time limit of a small download, with all its attempts.
const SMALL_DEADLINE: Duration = Duration::from_secs(30);
const SMALL_RETRIES_MAX: usize = 2;

/// When something is tried again that may go well the next time: after half a second, then after
/// twice as long each time. It is given up after six attempts in a row that come to nothing.
pub const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_max_delay(Duration::from_secs(30))
    .with_max_times(5);

/// Parses a URL. An s3 URL becomes a signed URL.
pub(super) fn parsed(text: &str) -> Result<Url, FetchError> {
    let help = "correct the URL in the playbook";
    let url = Url::parse(text)
        .map_err(|why| FetchError::lasting(format!("this is no URL: {why}"), help))?;
    if url.scheme() == "s3" {
        return super::s3::signed(&url);
    }
    Ok(url)
}

/// Creates a client. Only the first call in a process sets the crypto provider.
pub(super) fn client() -> Result<Client, FetchError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("ship/", env!("CARGO_PKG_VERSION"));
    let builder = || {
        Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(agent)
    };
    let builder = || {
        builder()
            .redirect(Policy::custom(redirected))
            .retry(reqwest::retry::never())
    };
    // A machine without any root certificate can still fetch by http.
    let made = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build());
    made.map_err(|why| FetchError {
        help: "see what TLS needs here",
        ..FetchError::from(why)
    })
}

fn redirected(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_https = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if was_https && attempt.url().scheme() != "https" {
        return attempt.error("it is redirected from https to http, which is not followed");
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("it is redirected too often");
    }
    attempt.follow()
}

/// Removes user, password and query from a URL.
pub(super) fn without_secrets(text: &str) -> String {
    let Ok(mut shown) = Url::parse(text) else {
        return "the URL".to_owned();
    };
    // These fail for URLs without a host only, which have no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Formats a source for messages, without secrets.
pub(super) fn shown(source: &Source) -> String {
    match source {
        Source::Path(path) => path.display().to_string(),
        Source::Url(text) => without_secrets(text),
    }
}

/// A small document, read whole.
pub(super) enum SmallDocument {
    Bytes(Vec<u8>),
    /// It does not exist; the text says so.
    Absent(String),
}

/// Reads something of no more than `limit` bytes, a file or what a URL leads to.
pub(super) async fn small(
    source: &Source,
    limit: u64,
    retries: ExponentialBuilder,
) -> Result<SmallDocument, FetchError> {
    match source {
        Source::Path(path) => small_file(path, limit),
        Source::Url(text) => {
            let asked = timeout(SMALL_DEADLINE, small_download(text, limit, retries)).await;
            asked.unwrap_or_else(|_| {
                let help = "see whether the server is up and near";
                Err(FetchError::lasting(
                    format!("no answer within {}s", SMALL_DEADLINE.as_secs()),
                    help,
                ))
            })
        }
    }
}

fn small_file(path: &Path, limit: u64) -> Result<SmallDocument, FetchError> {
    let read = |path: &Path| {
        let file = File::open(path)?;
        // Opening a pipe would wait for whoever writes to it; reading a directory says nothing that
        // helps.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match std::fs::metadata(path).and_then(|_| read(path)) {
        Ok(bytes) => limited(bytes, limit),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            Ok(SmallDocument::Absent("there is no such file".to_owned()))
        }
        Err(why) => Err(FetchError::lasting(
            why.to_string(),
            "make it readable for the user that runs ship",
        )),
    }
}

fn limited(bytes: Vec<u8>, limit: u64) -> Result<SmallDocument, FetchError> {
    if bytes.len() as u64 > limit {
        let why = format!("it is larger than {} KiB", limit >> 10);
        return Err(FetchError::lasting(
            why,
            "see whether this is the right file",
        ));
    }
    Ok(SmallDocument::Bytes(bytes))
}

async fn small_download(
    text: &str,
    limit: u64,
    retries: ExponentialBuilder,
) -> Result<SmallDocument, FetchError> {
    let client = client()?;
    let mut delays = retries.build().take(SMALL_RETRIES_MAX);
    let mut attempts = 0;
    loop {
        attempts += 1;
        // What is signed is signed for a while only: anew for each attempt.
        let url = parsed(text)?;
        let trouble = match small_attempt(&client, url, limit).await {
            Err(trouble) => trouble,
            answered => return answered,
        };
        match delays.next().filter(|_| trouble.is_passing) {
            Some(delay) => sleep(delay).await,
            None => return Err(trouble.after(attempts)),
        }
    }
}

async fn small_attempt(client: &Client, url: Url, limit: u64) -> Result<SmallDocument, FetchError> {
    let mut response: Response = client
        .get(url)
        .header("cache-control", "no-cache")
        .send()
        .await?;
    let status = response.status();
    if !status.is_success() {
        let trouble = FetchError::status(status);
        let is_absent = status.is_client_error() && !trouble.is_passing;
        return if is_absent {
            Ok(SmallDocument::Absent(trouble.why))
        } else {
            Err(trouble)
        };
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            break;
        }
    }
    limited(bytes, limit)
}
