//! Floor 2: the bytes of a release: read, packed, checked, kept.
//!
//! Whatever a playbook's `source` is, hosts get one of two forms: a gzipped tar archive, or a single file.
//!
//! | source | sent as |
//! |---|---|
//! | `.tar.gz`, `.tgz` | the same bytes |
//! | `.tar.zst`, `.tzst` | the same archive, gzipped: hosts need no zstd |
//! | a directory | a gzipped archive whose bytes depend on names, contents and execute permission alone; `.git` and `.ship` stay out |
//! | any other file | the same bytes |
//! | an http(s) URL | what its name says, downloaded |
//!
//! What is sent is kept in a cache by its SHA-256; it gets that name only when it is whole, checked and on the disk.

mod archive;
mod cache;
mod download;
mod error;
mod pack;
mod tape;
mod zstd;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::config::{ArtifactConfig, Source};
use crate::core::release::{Artifact, ArtifactForm};

pub use error::ArtifactError;

use cache::{Cache, Draft, Hashed};
use download::Download;
use zstd::ZstdReader;

/// What is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its form, digest and size.
    pub artifact: Artifact,
    /// The bytes to send, in the cache.
    pub path: PathBuf,
}

/// Reads or downloads an artifact, proves that it is whole and safe to unpack, and keeps it in `cache_dir`.
///
/// # Errors
/// When the source cannot be had, is broken, would be unpacked outside its directory or has another SHA-256 than the
/// playbook says, and when the cache cannot be written.
pub async fn prepare(config: &ArtifactConfig, cache_dir: &Path) -> Result<Prepared, ArtifactError> {
    let cache = Cache::open(cache_dir)?;
    let download = match &config.source {
        Source::Path(_) => None,
        Source::Url(url) => Some(download::fetch(url, config.sha256.as_deref(), &cache).await?),
    };
    let config = config.clone();
    let working = tokio::task::spawn_blocking(move || prepare_here(&config, download.as_ref(), &cache));
    working.await.map_err(|stopped| ArtifactError::stopped(&stopped.to_string()))?
}

/// How a source is to be treated: by its name, but that a directory is a directory.
#[derive(Clone, Copy)]
enum Kind {
    Directory,
    TarGz,
    TarZst,
    File,
}

fn prepare_here(
    config: &ArtifactConfig,
    download: Option<&Download>,
    cache: &Cache,
) -> Result<Prepared, ArtifactError> {
    let (path, shown) = match (&config.source, download) {
        (_, Some(download)) => (download.path(), download.shown.clone()),
        (Source::Path(path), None) => (path.as_path(), path.display().to_string()),
        (Source::Url(url), None) => (Path::new(""), url.clone()),
    };
    let name = match download {
        Some(download) => download.name.clone(),
        None => file_name(path, &shown)?,
    };
    let kind = kind_of(path, &name, &shown)?;
    let (mut draft, source_sha256) = match kind {
        Kind::Directory => {
            let draft = pack::pack(path, &shown, cache)?;
            let sha256 = draft.sha256();
            (draft, sha256)
        }
        Kind::TarZst => transcoded(path, &shown, cache)?,
        Kind::TarGz | Kind::File => copied(path, &shown, cache)?,
    };
    if let Some(expected) = config.sha256.as_ref().filter(|expected| **expected != source_sha256) {
        return Err(ArtifactError::wrong_digest(&shown, expected, &source_sha256));
    }
    let (form, strip_components) = if matches!(kind, Kind::File) {
        if draft.size_bytes() == 0 {
            return Err(ArtifactError::empty(&shown, 0));
        }
        (ArtifactForm::File(name), 0)
    } else {
        check_archive(&mut draft, &shown, config.strip_components, cache)?;
        (ArtifactForm::TarGz, config.strip_components)
    };
    let (path, sha256, size_bytes) = cache.keep(draft)?;
    Ok(Prepared { artifact: Artifact { form, sha256, size_bytes, strip_components }, path })
}

/// A name that every host and every message can bear.
fn file_name(path: &Path, shown: &str) -> Result<String, ArtifactError> {
    let name = path.file_name().unwrap_or_default().to_str();
    name.filter(|name| !name.chars().any(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| ArtifactError::bad_name(shown))
}

fn kind_of(path: &Path, name: &str, shown: &str) -> Result<Kind, ArtifactError> {
    let metadata = fs::metadata(path).map_err(|why| ArtifactError::unreadable(shown, &why))?;
    if metadata.is_dir() {
        return Ok(Kind::Directory);
    }
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err(ArtifactError::no_file(shown));
    }
    let lower = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    match () {
        () if ends(&[".tar.gz", ".tgz"]) => Ok(Kind::TarGz),
        () if ends(&[".tar.zst", ".tzst"]) => Ok(Kind::TarZst),
        // As a single file it would lie on the hosts unpacked by nobody.
        () if ends(&[".tar", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.lz", ".tar.lzma", ".tar.lz4"]) => {
            Err(ArtifactError::unknown_archive(shown))
        }
        () => Ok(Kind::File),
    }
}

fn open(path: &Path, shown: &str) -> Result<File, ArtifactError> {
    File::open(path).map_err(|why| ArtifactError::unreadable(shown, &why))
}

/// The bytes of a file, and their SHA-256.
fn copied(path: &Path, shown: &str, cache: &Cache) -> Result<(Draft, String), ArtifactError> {
    let mut draft = cache.draft()?;
    copy(&mut open(path, shown)?, &mut draft).map_err(|why| match why {
        CopyError::Read(why) => ArtifactError::unreadable(shown, &why),
        CopyError::Write(why) => cache.error(&why),
    })?;
    let sha256 = draft.sha256();
    Ok((draft, sha256))
}

/// A zstd archive as a gzip archive, and the SHA-256 of the former.
fn transcoded(path: &Path, shown: &str, cache: &Cache) -> Result<(Draft, String), ArtifactError> {
    let mut source = Hashed::new(open(path, shown)?);
    let mut gzip = pack::gzip(cache.draft()?);
    copy(&mut ZstdReader::new(BufReader::new(&mut source)), &mut gzip).map_err(|why| match why {
        CopyError::Read(why) => ArtifactError::broken(shown, "zstd", &why.to_string()),
        CopyError::Write(why) => cache.error(&why),
    })?;
    let draft = gzip.finish().map_err(|why| cache.error(&why))?;
    Ok((draft, source.sha256()))
}

fn check_archive(draft: &mut Draft, shown: &str, strip_components: u32, cache: &Cache) -> Result<(), ArtifactError> {
    let file = draft.reopen().map_err(|why| cache.error(&why))?;
    archive::check(MultiGzDecoder::new(BufReader::new(file)), strip_components).map_err(|fault| match fault {
        archive::Fault::Broken(why) => ArtifactError::broken(shown, "gzip", &why),
        archive::Fault::Refused(why) => ArtifactError::refused(shown, &why),
        archive::Fault::Unsafe { entry, why } => ArtifactError::unsafe_entry(shown, &entry, &why),
        archive::Fault::Empty => ArtifactError::empty(shown, strip_components),
    })
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// `std::io::copy`, but that it says which side failed.
fn copy(reader: &mut impl Read, writer: &mut impl Write) -> Result<(), CopyError> {
    const CHUNK_BYTES: usize = 64 * 1024;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => writer.write_all(chunk.get(..length).unwrap_or_default()).map_err(CopyError::Write)?,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(CopyError::Read(why)),
        }
    }
}
