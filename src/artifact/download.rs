//! Fetches an artifact by http or https into a temporary file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response, Url};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

use super::cache::Cache;
use super::error::ArtifactError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From one piece to the next.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const SIZE_BYTES_MAX: u64 = 16 << 30;

/// Something downloaded, which goes away unless it is copied.
pub(super) struct Download {
    file: Bytes,
    /// The last part of the URL's path.
    pub(super) name: String,
    /// The URL without what may be secret in it: user, password and query.
    pub(super) shown: String,
}

enum Bytes {
    New(NamedTempFile),
    /// They are in the cache since an earlier time.
    Kept(PathBuf),
}

impl Download {
    pub(super) fn path(&self) -> &Path {
        match &self.file {
            Bytes::New(file) => file.path(),
            Bytes::Kept(path) => path,
        }
    }
}

/// Downloads a URL, unless what it leads to is known by its SHA-256 and in the cache.
pub(super) async fn fetch(url: &str, sha256: Option<&str>, cache: &Cache) -> Result<Download, ArtifactError> {
    let wrong = |why: &str| ArtifactError::download("the artifact", why, "correct the URL in `source`");
    let url = Url::parse(url).map_err(|why| wrong(&format!("this is no URL: {why}")))?;
    let shown = without_secrets(&url);
    let name = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    if name.is_empty() {
        return Err(ArtifactError::download(&shown, "its path does not end in a file's name", "name the file itself"));
    }
    let name = name.to_owned();
    if let Some(path) = sha256.and_then(|sha256| cache.kept(sha256)) {
        return Ok(Download { file: Bytes::Kept(path), name, shown });
    }
    let response = request(&url, &shown).await?;
    let file = cache.temporary()?;
    save(response, &file, &shown, cache).await?;
    Ok(Download { file: Bytes::New(file), name, shown })
}

async fn request(url: &Url, shown: &str) -> Result<Response, ArtifactError> {
    let client = client().map_err(|why| ArtifactError::download(shown, &causes(&why), "see what TLS needs here"))?;
    let response = client.get(url.clone()).send().await.map_err(|why| failed(shown, &why))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let help = match status.as_u16() {
        404 | 410 => "correct the URL in `source`, or publish this version first",
        401 | 403 => "see that this machine may read it",
        _ => "try again later, or download it by hand and point `source` at the file",
    };
    Err(ArtifactError::download(shown, &format!("the server answers {status}"), help))
}

async fn save(mut response: Response, file: &NamedTempFile, shown: &str, cache: &Cache) -> Result<(), ArtifactError> {
    let reopened = file.reopen().map_err(|why| cache.error(&why))?;
    let mut writer = tokio::io::BufWriter::new(tokio::fs::File::from_std(reopened));
    let mut size_bytes: u64 = 0;
    while let Some(chunk) = response.chunk().await.map_err(|why| failed(shown, &why))? {
        size_bytes += chunk.len() as u64;
        if size_bytes > SIZE_BYTES_MAX {
            let why = format!("it is larger than {} GiB", SIZE_BYTES_MAX >> 30);
            return Err(ArtifactError::download(shown, &why, "see whether the URL is the right one"));
        }
        writer.write_all(&chunk).await.map_err(|why| cache.error(&why))?;
    }
    writer.flush().await.map_err(|why| cache.error(&why))
}

fn client() -> reqwest::Result<Client> {
    // Only the first call in a process does anything; whoever was first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
    // A machine without any root certificate can still fetch by http.
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}

fn failed(shown: &str, why: &reqwest::Error) -> ArtifactError {
    let help = if why.is_timeout() {
        "see whether the server is up and near; connecting may take 10s, and each piece 30s"
    } else {
        "see whether the server can be reached from here (curl -I), then try again"
    };
    ArtifactError::download(shown, &causes(why), help)
}

/// The error's last cause, which is the one that tells; reqwest's own text would show the whole URL.
fn causes(why: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = why;
    while let Some(source) = last.source() {
        last = source;
    }
    if why.is_timeout() { "it took too long".to_owned() } else { last.to_string() }
}

fn without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail for URLs without a host only, which have no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}
