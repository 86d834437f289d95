//! Makes HTTP requests, with retries, and keeps secrets in URLs out of messages.
//!
//! Up to ten redirects are followed. Redirects from https to http are refused: anyone on the
//! network could change the response, and user and password would be sent in the clear.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, Url};
use tokio::time::{sleep, timeout};

use crate::artifact::fetch_error::FetchError;
use crate::config::Source;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for the next bytes of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 10;
/// The time limit of a small download, with all its attempts.
const SMALL_DEADLINE: Duration = Duration::from_secs(30);
const SMALL_RETRIES_MAX: usize = 2;

/// The pauses between retries of temporary failures: half a second, doubling each time. The sixth
/// consecutive attempt without progress is the last one.
pub const RETRIES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_max_delay(Duration::from_secs(30))
    .with_max_times(5);

/// Parses a URL. An s3 URL becomes a presigned URL.
pub(super) fn parse_url(text: &str) -> Result<Url, FetchError> {
    let help = "correct the URL in the playbook";
    let url = Url::parse(text)
        .map_err(|why| FetchError::permanent(format!("it is not a valid URL: {why}"), help))?;
    if url.scheme() == "s3" {
        return super::s3::presigned_url(&url);
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
            .redirect(Policy::custom(check_redirect))
            .retry(reqwest::retry::never())
    };
    // A machine without root certificates can still download over HTTP.
    let made = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build());
    made.map_err(|why| FetchError {
        help: "check the TLS configuration of this machine",
        ..FetchError::from(why)
    })
}

fn check_redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_https = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if was_https && attempt.url().scheme() != "https" {
        return attempt.error("it redirects from https to http, which ship does not follow");
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}

/// Removes user, password and query from a URL.
pub(super) fn without_secrets(text: &str) -> String {
    let Ok(mut shown) = Url::parse(text) else {
        return "the URL".to_owned();
    };
    // These fail only for URLs without a host, which have no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Formats a source for messages, without secrets.
pub(super) fn source_name(source: &Source) -> String {
    match source {
        Source::Path(path) => path.display().to_string(),
        Source::Url(text) => without_secrets(text),
    }
}

/// A small document, read whole.
pub(super) enum SmallDocument {
    Bytes(Vec<u8>),
    /// It does not exist; the text is the reason.
    Absent(String),
}

/// Reads a file or URL of at most `limit` bytes.
pub(super) async fn fetch_small(
    source: &Source,
    limit: u64,
    retries: ExponentialBuilder,
) -> Result<SmallDocument, FetchError> {
    match source {
        Source::Path(path) => small_file(path, limit),
        Source::Url(text) => {
            let response = timeout(SMALL_DEADLINE, small_download(text, limit, retries)).await;
            response.unwrap_or_else(|_| {
                let help = "check that the server is up";
                Err(FetchError::permanent(
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
        // Opening a named pipe would wait for its writer, and the error of reading a directory is
        // not helpful.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match std::fs::metadata(path).and_then(|_| read(path)) {
        Ok(bytes) => check_size(bytes, limit),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            Ok(SmallDocument::Absent("the file does not exist".to_owned()))
        }
        Err(why) => Err(FetchError::permanent(
            why.to_string(),
            "make it readable for the user who runs ship",
        )),
    }
}

fn check_size(bytes: Vec<u8>, limit: u64) -> Result<SmallDocument, FetchError> {
    if bytes.len() as u64 > limit {
        let why = format!("it is larger than {} KiB", limit >> 10);
        return Err(FetchError::permanent(
            why,
            "check that this is the right file",
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
        // A signature expires, so each attempt is signed again.
        let url = parse_url(text)?;
        let error = match small_attempt(&client, url, limit).await {
            Err(error) => error,
            result => return result,
        };
        match delays.next().filter(|_| error.is_retryable) {
            Some(delay) => sleep(delay).await,
            None => return Err(error.after_attempts(attempts)),
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
        let error = FetchError::status(status);
        let is_absent = status.is_client_error() && !error.is_retryable;
        return if is_absent {
            Ok(SmallDocument::Absent(error.why))
        } else {
            Err(error)
        };
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            break;
        }
    }
    check_size(bytes, limit)
}
