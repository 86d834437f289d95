//! Floor 2: reads, packs, checks and caches the bytes of a release.
//!
//! Whatever `source` in the playbook is, hosts get one of two forms: a gzipped tar archive, or a
//! single file.
//!
//! | source | sent as |
//! |---|---|
//! | `.tar.gz`, `.tgz` | the same bytes |
//! | `.tar.zst`, `.tzst` | the same archive, gzipped: hosts need no zstd |
//! | a directory | a gzipped archive whose bytes depend on names, contents and execute permission alone; `.git` and `.ship` stay out |
//! | any other file | the same bytes |
//! | an http(s) or s3 URL | downloaded, then handled by its name |
//!
//! The cache stores artifacts under their SHA-256. An artifact gets that name only when it is
//! complete, checked and on disk.
//!
//! Names from a server or a checksum list are only compared, and never used as paths: a download is
//! stored under the digest of its URL, and after that under its own digest.

mod archive;
mod archive_fault;
mod cache;
mod channel;
mod checksums;
mod contents_digest;
mod download;
mod error;
mod fetch_error;
mod http;
mod http_cache;
mod pack;
mod partial;
mod patch;
mod patches;
mod s3;
mod signature;
mod tar_reader;
mod unpacked;
mod zstd;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use backon::ExponentialBuilder;
use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;

use crate::config::{ArtifactConfig, Source};
use crate::core::release::{Artifact, ArtifactForm};

pub use channel::{ChannelError, resolve};
pub use contents_digest::ReleaseContents;
pub use error::ArtifactError;
pub use http::RETRIES;
pub use patch::ReleasePatch;
pub use patches::Patches;

use archive::CheckedArchive;
use archive_fault::Fault;
use cache::{ArtifactWriter, Cache, Hashed};
use checksums::ListedChecksum;
use download::{Download, DownloadRequest};
use signature::RequiredSignature;
use unpacked::{ContentStore, UnpackedArtifact, Unpacking};
use zstd::ZstdReader;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub artifact: Artifact,
    /// The path of the bytes to send, in the cache.
    pub path: PathBuf,
    /// The disk space of the unpacked files in bytes, in addition to the archive; 0 for a single
    /// file.
    pub unpacked_bytes: u64,
    /// The digest of the unpacked files, which hosts keep instead of the artifact; `None` if the
    /// archive has sparse files.
    pub contents_sha256: Option<String>,
    /// The unpacked files.
    pub contents: ReleaseContents,
}

/// Reads or downloads an artifact, checks that it is complete and safe to unpack, and stores it in
/// `cache_dir`.
///
/// # Errors
/// If the source cannot be read or downloaded, is corrupt, would be unpacked outside its directory,
/// has another SHA-256 than the playbook or the checksum list gives, is not signed by the signer in
/// the playbook, or if the cache cannot be written.
pub async fn prepare(config: &ArtifactConfig, cache_dir: &Path) -> Result<Prepared, ArtifactError> {
    prepare_with(config, cache_dir, RETRIES).await
}

/// Like [`prepare`], with other pauses between retries.
///
/// # Errors
/// As for [`prepare`].
pub async fn prepare_with(
    config: &ArtifactConfig,
    cache_dir: &Path,
    retries: ExponentialBuilder,
) -> Result<Prepared, ArtifactError> {
    let (prepared, _) = prepare_in(cache_dir, config, retries, None).await?;
    Ok(prepared)
}

/// Like [`prepare`]. If hosts are expected to need the difference from an artifact `held`, it is
/// unpacked meanwhile, unless the new one is the same. The difference is then computed in the
/// background.
///
/// # Errors
/// As for [`prepare`].
pub async fn prepare_with_patch(
    config: &ArtifactConfig,
    cache_dir: &Path,
    held: Option<&Artifact>,
    patches: &Patches,
) -> Result<Prepared, ArtifactError> {
    let (prepared, pair) = prepare_in(cache_dir, config, RETRIES, held.cloned()).await?;
    if let Some((held, new)) = pair {
        patches.expect(held, &prepared.artifact, new);
    }
    Ok(prepared)
}

/// The artifact that hosts have, and the unpacked new one.
type UnpackedPair = (Unpacking, UnpackedArtifact);

/// Prepares an artifact. If it differs from the one that hosts have, and the difference is worth
/// computing, both are unpacked.
async fn prepare_in(
    cache_dir: &Path,
    config: &ArtifactConfig,
    retries: ExponentialBuilder,
    held: Option<Artifact>,
) -> Result<(Prepared, Option<UnpackedPair>), ArtifactError> {
    let cache = Cache::open(cache_dir)?;
    partial::remove_old(&cache);
    let name = match &config.source {
        Source::Path(path) => file_name(path, &http::source_name(&config.source))?,
        Source::Url(url) => download::file_name_of(url)?,
    };
    let checksum = checksums::find(config, &name, retries).await?;
    let signature = match &config.signature {
        Some(signature) => Some(signature::fetch(signature, &config.source, retries).await?),
        None => None,
    };
    let download = match &config.source {
        Source::Path(_) => None,
        Source::Url(url) => {
            let sha256 = config
                .sha256
                .as_deref()
                .or(checksum.as_ref().map(|checksum| checksum.sha256.as_str()));
            let request = DownloadRequest {
                url,
                sha256,
                as_published: signature.is_some(),
            };
            Some(download::fetch(request, &cache, retries).await?)
        }
    };
    let config = config.clone();
    in_background(move || {
        prepare_blocking(&PreparationRequest {
            config: &config,
            name,
            checksum,
            signature,
            download,
            cache: &cache,
            held,
        })
    })
    .await
}

/// A private file in the cache, for an archive that is being received. It is removed when it is
/// dropped, or later if ship is killed.
///
/// # Errors
/// If the cache cannot be written.
pub fn temporary_file(cache_dir: &Path) -> Result<NamedTempFile, ArtifactError> {
    Cache::open(cache_dir)?.temporary()
}

/// Adds to the cache an archive that a host has made from the files of a release, if they are those
/// of its artifact.
///
/// # Errors
/// If the archive is corrupt or unsafe, has other files than `contents_sha256` describes, or if the
/// cache cannot be written. `shown` names the archive.
pub async fn keep_recovered(
    archive: NamedTempFile,
    shown: String,
    contents_sha256: String,
    cache_dir: PathBuf,
) -> Result<Artifact, ArtifactError> {
    in_background(move || {
        let cache = Cache::open(&cache_dir)?;
        let (mut writer, _) = copy_to_cache(archive.path(), &shown, &cache)?;
        let (checked, _) = check_archive(&mut writer, &shown, 0, &cache, Unpack::No)?;
        if checked.contents_sha256 != Some(contents_sha256) {
            return Err(ArtifactError::differs_from_release(&shown));
        }
        let (_, sha256, size_bytes) = cache.keep(writer)?;
        Ok(Artifact {
            form: ArtifactForm::TarGz,
            sha256,
            size_bytes,
            strip_components: 0,
        })
    })
    .await
}

/// Runs work that reads and writes files on a thread of its own.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ArtifactError::interrupted(&error.to_string()))?
}

struct PreparationRequest<'a> {
    config: &'a ArtifactConfig,
    /// The name of the source's file.
    name: String,
    checksum: Option<ListedChecksum>,
    signature: Option<RequiredSignature>,
    download: Option<Download>,
    cache: &'a Cache,
    /// The artifact that hosts have.
    held: Option<Artifact>,
}

/// The kind of a source. Files are distinguished by their names.
#[derive(Clone, Copy)]
enum SourceKind {
    Directory,
    TarGz,
    TarZst,
    File,
}

fn prepare_blocking(
    request: &PreparationRequest<'_>,
) -> Result<(Prepared, Option<UnpackedPair>), ArtifactError> {
    let PreparationRequest {
        config,
        name,
        cache,
        download,
        held,
        ..
    } = request;
    let shown = http::source_name(&config.source);
    let path = match (&config.source, download) {
        (_, Some(download)) => download.path(),
        (Source::Path(path), None) => path.as_path(),
        (Source::Url(_), None) => Path::new(""),
    };
    let kind = kind_of(path, name, &shown)?;
    let (mut writer, source_sha256) =
        match (kind, download.as_ref().and_then(Download::transcoded_from)) {
            (SourceKind::Directory, _) => {
                let writer = pack::pack(path, &shown, cache)?;
                let sha256 = writer.sha256();
                (writer, sha256)
            }
            // The artifact made from this source is in the cache.
            (_, Some(source_sha256)) => (
                copy_to_cache(path, &shown, cache)?.0,
                source_sha256.to_owned(),
            ),
            (SourceKind::TarZst, None) => transcode(path, &shown, cache)?,
            (SourceKind::TarGz | SourceKind::File, None) => copy_to_cache(path, &shown, cache)?,
        };
    request.verify(path, &shown, &source_sha256)?;
    let held = held
        .as_ref()
        .filter(|held| held.is_worth_comparing_to(&writer.sha256(), writer.size_bytes()))
        .and_then(|held| Unpacking::start(held, cache).ok());
    let unpack = if held.is_some() {
        Unpack::Yes
    } else {
        Unpack::No
    };
    let form = match kind {
        SourceKind::File => ArtifactForm::File(name.clone()),
        SourceKind::Directory => ArtifactForm::Directory,
        SourceKind::TarGz | SourceKind::TarZst => ArtifactForm::TarGz,
    };
    let (strip_components, (checked, unpacked)) = if matches!(kind, SourceKind::File) {
        (0, check_file(&mut writer, name, &shown, unpack)?)
    } else {
        let strip = config.strip_components;
        let checked = check_archive(&mut writer, &shown, strip, cache, unpack)?;
        (strip, checked)
    };
    let (path, sha256, size_bytes) = cache.keep(writer)?;
    if let Some(download) = download {
        download.save_record(&source_sha256, &sha256);
    }
    let prepared = Prepared {
        artifact: Artifact {
            form,
            sha256,
            size_bytes,
            strip_components,
        },
        path,
        unpacked_bytes: checked.unpacked_bytes,
        contents_sha256: checked.contents_sha256,
        contents: checked.contents,
    };
    Ok((prepared, held.zip(unpacked)))
}

impl PreparationRequest<'_> {
    /// Checks the SHA-256 and the signature. `actual` is the SHA-256 of the bytes that were copied,
    /// so later changes to the file have no effect.
    fn verify(&self, path: &Path, shown: &str, actual: &str) -> Result<(), ArtifactError> {
        if let Some(expected) = self
            .config
            .sha256
            .as_ref()
            .filter(|expected| *expected != actual)
        {
            return Err(ArtifactError::wrong_digest(shown, expected, actual));
        }
        if let Some(ListedChecksum { sha256, list }) = self
            .checksum
            .as_ref()
            .filter(|checksum| checksum.sha256 != actual)
        {
            return Err(ArtifactError::differs_from_list(
                shown, list, sha256, actual,
            ));
        }
        let Some(signature) = &self.signature else {
            return Ok(());
        };
        if signature.verify(path, shown)? != actual {
            return Err(ArtifactError::changed(shown, &self.name));
        }
        Ok(())
    }
}

/// The file name, which must be valid on every host and in every message.
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
    // Opening a named pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(ArtifactError::not_a_file(shown));
    }
    let lower = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    match () {
        () if ends(&[".tar.gz", ".tgz"]) => Ok(SourceKind::TarGz),
        () if ends(&[".tar.zst", ".tzst"]) => Ok(SourceKind::TarZst),
        // As a single file, such an archive would never be unpacked.
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

/// Copies a file to the cache, and returns its SHA-256.
fn copy_to_cache(
    path: &Path,
    shown: &str,
    cache: &Cache,
) -> Result<(ArtifactWriter, String), ArtifactError> {
    let mut writer = cache.new_writer()?;
    copy(&mut open(path, shown)?, &mut writer).map_err(|why| match why {
        CopyError::Read(why) => ArtifactError::unreadable(shown, &why),
        CopyError::Write(why) => cache.error(&why),
    })?;
    let sha256 = writer.sha256();
    Ok((writer, sha256))
}

/// Converts a zstd archive to a gzip archive, and returns the SHA-256 of the former.
fn transcode(
    path: &Path,
    shown: &str,
    cache: &Cache,
) -> Result<(ArtifactWriter, String), ArtifactError> {
    let mut source = Hashed::new(open(path, shown)?);
    let mut gzip = pack::gzip(cache.new_writer()?);
    copy(&mut ZstdReader::new(BufReader::new(&mut source)), &mut gzip).map_err(
        |why| match why {
            CopyError::Read(why) => ArtifactError::invalid_archive(shown, "zstd", &why.to_string()),
            CopyError::Write(why) => cache.error(&why),
        },
    )?;
    let writer = gzip.finish().map_err(|why| cache.error(&why))?;
    Ok((writer, source.sha256()))
}

/// Whether the unpacked files of an artifact are needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unpack {
    Yes,
    No,
}

/// A checked artifact, and its unpacked files if they are needed and could be kept.
type Checked = (CheckedArchive, Option<UnpackedArtifact>);

/// Checks a single file.
fn check_file(
    writer: &mut ArtifactWriter,
    name: &str,
    shown: &str,
    unpack: Unpack,
) -> Result<Checked, ArtifactError> {
    if writer.size_bytes() == 0 {
        return Err(ArtifactError::empty(shown, 0));
    }
    let sha256 = writer.digest();
    let checked = CheckedArchive::of_file(name, writer.size_bytes(), sha256);
    let file = (unpack == Unpack::Yes).then(|| writer.reopen().ok());
    let unpacked = file
        .flatten()
        .map(|file| UnpackedArtifact::of_file(checked.contents.clone(), sha256, file));
    Ok((checked, unpacked))
}

/// Checks an archive. Meanwhile, it is written to disk.
fn check_archive(
    writer: &mut ArtifactWriter,
    shown: &str,
    strip_components: u32,
    cache: &Cache,
    unpack: Unpack,
) -> Result<Checked, ArtifactError> {
    let file = writer.reopen().map_err(|why| cache.error(&why))?;
    let tar = MultiGzDecoder::new(BufReader::new(file));
    let store = (unpack == Unpack::Yes).then(|| ContentStore::create(cache).ok());
    let mut store = store.flatten();
    let checked = cache.sync_during(writer, || match &mut store {
        Some(store) => archive::check(tar, strip_components, store),
        None => archive::check(tar, strip_components, &mut io::sink()),
    });
    let checked = checked.map_err(|fault| match fault {
        Fault::Broken(why) => ArtifactError::invalid_archive(shown, "gzip", &why),
        Fault::Refused(why) => ArtifactError::ambiguous_archive(shown, &why),
        Fault::Unsafe { entry, why } => ArtifactError::unsafe_entry(shown, &entry, &why),
        Fault::Empty => ArtifactError::empty(shown, strip_components),
    })?;
    let unpacked = store.and_then(|store| store.finish(&checked).ok());
    Ok((checked, unpacked))
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Like `std::io::copy`, but the error distinguishes the two sides.
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
