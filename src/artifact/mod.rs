//! Floor 2: the bytes of a release: read, packed, checked, cached.
//!
//! Whatever a playbook's `source` is, hosts get one of two forms: a gzipped tar archive, or a
//! single file.
//!
//! | source | sent as |
//! |---|---|
//! | `.tar.gz`, `.tgz` | the same bytes |
//! | `.tar.zst`, `.tzst` | the same archive, gzipped: hosts need no zstd |
//! | a directory | a gzipped archive whose bytes depend on names, contents and execute permission alone; `.git` and `.ship` stay out |
//! | any other file | the same bytes |
//! | an http(s) or s3 URL | what its name says, downloaded |
//!
//! What is sent is kept in a cache by its SHA-256; it gets that name only when it is whole, checked
//! and on the disk.
//!
//! Names from without, of a server or of a list, are compared and never used as paths: a download
//! lies under the digest of its URL until it lies under its own.

mod archive;
mod cache;
mod channel;
mod download;
mod error;
mod fault;
mod pack;
mod partial;
mod recollection;
mod s3;
mod signature;
mod sums;
mod tape;
mod trouble;
mod web;
mod zstd;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use backon::ExponentialBuilder;
use flate2::read::MultiGzDecoder;

use crate::config::{ArtifactConfig, Source};
use crate::core::release::{Artifact, ArtifactForm};

pub use channel::{ChannelError, resolve};
pub use error::ArtifactError;
pub use web::RETRIES;

use cache::{ArtifactWriter, Cache, Hashed};
use download::{Download, DownloadRequest};
use signature::RequiredSignature;
use sums::ListedChecksum;
use zstd::ZstdReader;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub artifact: Artifact,
    /// The bytes to send, in the cache.
    pub path: PathBuf,
    /// Disk space of the unpacked files in addition to the archive; 0 for a single file.
    pub unpacked_bytes: u64,
}

/// Reads or downloads an artifact, proves that it is whole and safe to unpack, and keeps it in
/// `cache_dir`.
///
/// # Errors
/// When the source cannot be had, is broken, would be unpacked outside its directory, has another
/// SHA-256 than the playbook or the list beside it says, or is not signed by whom the playbook
/// names, and when the cache cannot be written.
pub async fn prepare(config: &ArtifactConfig, cache_dir: &Path) -> Result<Prepared, ArtifactError> {
    prepare_with(config, cache_dir, RETRIES).await
}

/// [`prepare`], tried again in another way where a server does not answer as it should.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_with(
    config: &ArtifactConfig,
    cache_dir: &Path,
    retries: ExponentialBuilder,
) -> Result<Prepared, ArtifactError> {
    let cache = Cache::open(cache_dir)?;
    partial::sweep(&cache);
    let name = match &config.source {
        Source::Path(path) => file_name(path, &web::shown(&config.source))?,
        Source::Url(url) => download::name_of(url)?,
    };
    let sum = sums::look_up(config, &name, retries).await?;
    let demand = match &config.signature {
        Some(signature) => Some(signature::demand(signature, &config.source, retries).await?),
        None => None,
    };
    let download = match &config.source {
        Source::Path(_) => None,
        Source::Url(url) => {
            let sha256 = config
                .sha256
                .as_deref()
                .or(sum.as_ref().map(|sum| sum.sha256.as_str()));
            let wanted = DownloadRequest {
                url,
                sha256,
                as_published: demand.is_some(),
            };
            Some(download::fetch(wanted, &cache, retries).await?)
        }
    };
    let config = config.clone();
    let working = tokio::task::spawn_blocking(move || {
        prepare_here(&PreparationRequest {
            config: &config,
            name,
            sum,
            demand,
            download,
            cache: &cache,
        })
    });
    working
        .await
        .map_err(|stopped| ArtifactError::stopped(&stopped.to_string()))?
}

/// The artifact to prepare, with everything that is needed for it.
struct PreparationRequest<'a> {
    config: &'a ArtifactConfig,
    /// The name of the source's file.
    name: String,
    sum: Option<ListedChecksum>,
    demand: Option<RequiredSignature>,
    download: Option<Download>,
    cache: &'a Cache,
}

/// How a source is treated: by its name, unless it is a directory.
#[derive(Clone, Copy)]
enum SourceKind {
    Directory,
    TarGz,
    TarZst,
    File,
}

fn prepare_here(order: &PreparationRequest<'_>) -> Result<Prepared, ArtifactError> {
    let PreparationRequest {
        config,
        name,
        cache,
        download,
        ..
    } = order;
    let shown = web::shown(&config.source);
    let path = match (&config.source, download) {
        (_, Some(download)) => download.path(),
        (Source::Path(path), None) => path.as_path(),
        (Source::Url(_), None) => Path::new(""),
    };
    let kind = kind_of(path, name, &shown)?;
    let (mut draft, source_sha256) =
        match (kind, download.as_ref().and_then(Download::transcoded_from)) {
            (SourceKind::Directory, _) => {
                let draft = pack::pack(path, &shown, cache)?;
                let sha256 = draft.sha256();
                (draft, sha256)
            }
            // What it was made into is at hand.
            (_, Some(source_sha256)) => (copied(path, &shown, cache)?.0, source_sha256.to_owned()),
            (SourceKind::TarZst, None) => transcoded(path, &shown, cache)?,
            (SourceKind::TarGz | SourceKind::File, None) => copied(path, &shown, cache)?,
        };
    order.refuse_what_is_not_meant(path, &shown, &source_sha256)?;
    let (form, strip_components, unpacked_bytes) = if matches!(kind, SourceKind::File) {
        if draft.size_bytes() == 0 {
            return Err(ArtifactError::empty(&shown, 0));
        }
        (ArtifactForm::File(name.clone()), 0, 0)
    } else {
        let unpacked_bytes = check_archive(&mut draft, &shown, config.strip_components, cache)?;
        let form = if matches!(kind, SourceKind::Directory) {
            ArtifactForm::Directory
        } else {
            ArtifactForm::TarGz
        };
        (form, config.strip_components, unpacked_bytes)
    };
    let (path, sha256, size_bytes) = cache.keep(draft)?;
    if let Some(download) = download {
        download.remember(&source_sha256, &sha256);
    }
    Ok(Prepared {
        artifact: Artifact {
            form,
            sha256,
            size_bytes,
            strip_components,
        },
        path,
        unpacked_bytes,
    })
}

impl PreparationRequest<'_> {
    /// The digest is that of the very bytes that were copied: whoever changes the file meanwhile
    /// changes nothing here.
    fn refuse_what_is_not_meant(
        &self,
        path: &Path,
        shown: &str,
        actual: &str,
    ) -> Result<(), ArtifactError> {
        if let Some(expected) = self
            .config
            .sha256
            .as_ref()
            .filter(|expected| *expected != actual)
        {
            return Err(ArtifactError::wrong_digest(shown, expected, actual));
        }
        if let Some(ListedChecksum { sha256, list }) =
            self.sum.as_ref().filter(|sum| sum.sha256 != actual)
        {
            return Err(ArtifactError::differs_from_list(
                shown, list, sha256, actual,
            ));
        }
        let Some(demand) = &self.demand else {
            return Ok(());
        };
        if demand.verify(path, shown)? != actual {
            return Err(ArtifactError::changing(shown, &self.name));
        }
        Ok(())
    }
}

/// A name that is valid on every host and in every message.
fn file_name(path: &Path, shown: &str) -> Result<String, ArtifactError> {
    let name = path.file_name().unwrap_or_default().to_str();
    name.filter(|name| !name.chars().any(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| ArtifactError::bad_name(shown))
}

fn kind_of(path: &Path, name: &str, shown: &str) -> Result<SourceKind, ArtifactError> {
    let metadata = fs::metadata(path).map_err(|why| ArtifactError::unreadable(shown, &why))?;
    if metadata.is_dir() {
        return Ok(SourceKind::Directory);
    }
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err(ArtifactError::no_file(shown));
    }
    let lower = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    match () {
        () if ends(&[".tar.gz", ".tgz"]) => Ok(SourceKind::TarGz),
        () if ends(&[".tar.zst", ".tzst"]) => Ok(SourceKind::TarZst),
        // As a single file it would lie on the hosts unpacked by nobody.
        () if ends(&[
            ".tar",
            ".tar.xz",
            ".txz",
            ".tar.bz2",
            ".tbz2",
            ".tar.lz",
            ".tar.lzma",
            ".tar.lz4",
        ]) =>
        {
            Err(ArtifactError::unknown_archive(shown))
        }
        () => Ok(SourceKind::File),
    }
}

fn open(path: &Path, shown: &str) -> Result<File, ArtifactError> {
    File::open(path).map_err(|why| ArtifactError::unreadable(shown, &why))
}

/// The bytes of a file, and their SHA-256.
fn copied(
    path: &Path,
    shown: &str,
    cache: &Cache,
) -> Result<(ArtifactWriter, String), ArtifactError> {
    let mut draft = cache.draft()?;
    copy(&mut open(path, shown)?, &mut draft).map_err(|why| match why {
        CopyError::Read(why) => ArtifactError::unreadable(shown, &why),
        CopyError::Write(why) => cache.error(&why),
    })?;
    let sha256 = draft.sha256();
    Ok((draft, sha256))
}

/// A zstd archive as a gzip archive, and the SHA-256 of the former.
fn transcoded(
    path: &Path,
    shown: &str,
    cache: &Cache,
) -> Result<(ArtifactWriter, String), ArtifactError> {
    let mut source = Hashed::new(open(path, shown)?);
    let mut gzip = pack::gzip(cache.draft()?);
    copy(&mut ZstdReader::new(BufReader::new(&mut source)), &mut gzip).map_err(
        |why| match why {
            CopyError::Read(why) => ArtifactError::broken(shown, "zstd", &why.to_string()),
            CopyError::Write(why) => cache.error(&why),
        },
    )?;
    let draft = gzip.finish().map_err(|why| cache.error(&why))?;
    Ok((draft, source.sha256()))
}

/// Returns how many bytes its files take when they are unpacked.
fn check_archive(
    draft: &mut ArtifactWriter,
    shown: &str,
    strip_components: u32,
    cache: &Cache,
) -> Result<u64, ArtifactError> {
    let file = draft.reopen().map_err(|why| cache.error(&why))?;
    archive::check(MultiGzDecoder::new(BufReader::new(file)), strip_components).map_err(|fault| {
        match fault {
            crate::artifact::fault::Fault::Broken(why) => {
                ArtifactError::broken(shown, "gzip", &why)
            }
            crate::artifact::fault::Fault::Refused(why) => ArtifactError::refused(shown, &why),
            crate::artifact::fault::Fault::Unsafe { entry, why } => {
                ArtifactError::unsafe_entry(shown, &entry, &why)
            }
            crate::artifact::fault::Fault::Empty => ArtifactError::empty(shown, strip_components),
        }
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
            Ok(length) => writer
                .write_all(chunk.get(..length).unwrap_or_default())
                .map_err(CopyError::Write)?,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(CopyError::Read(why)),
        }
    }
}
