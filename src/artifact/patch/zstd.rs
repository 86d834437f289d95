//! Compresses a file with an old one as its dictionary, for programs that were compiled again: their
//! bytes differ everywhere, but not by much.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use super::blocks::UnpackedFile;
use crate::artifact::cache::Cache;
use crate::config::remove_secrets;

/// The largest file: zstd needs several times its size as memory.
const COMPRESSED_MAX_BYTES: u64 = 128 << 20;
/// Shows in little time whether the files are similar.
const FAST_LEVEL: &str = "-3";
const SMALL_LEVEL: &str = "-12";
/// The largest file that is compressed as far as `SMALL_LEVEL` does, in about two seconds.
const SMALL_LEVEL_MAX_BYTES: u64 = 32 << 20;

/// The result of an attempt to compress a file.
pub(super) enum Compression {
    Done(File),
    /// The compressed file would have about this size in bytes.
    TooLarge(u64),
    /// The file or the old one is too large.
    NotTried,
}

/// Compresses `new` for a host that has `held` to fewer than `limit_bytes`.
///
/// # Errors
/// If zstd is not installed or fails, or the cache cannot be written.
pub(super) fn compress(
    held: &UnpackedFile<'_>,
    new: &UnpackedFile<'_>,
    limit_bytes: u64,
    cache: &Cache,
) -> io::Result<Compression> {
    let size_bytes = held.size_bytes.max(new.size_bytes);
    if size_bytes > COMPRESSED_MAX_BYTES {
        return Ok(Compression::NotTried);
    }
    let (held, new) = (copy(held, cache)?, copy(new, cache)?);
    let fast = run(FAST_LEVEL, held.path(), new.path(), cache)?;
    let fast_bytes = fast.metadata()?.len();
    if fast_bytes >= limit_bytes {
        return Ok(Compression::TooLarge(fast_bytes));
    }
    if size_bytes > SMALL_LEVEL_MAX_BYTES {
        return Ok(Compression::Done(fast));
    }
    run(SMALL_LEVEL, held.path(), new.path(), cache).map(Compression::Done)
}

fn run(level: &str, held: &Path, new: &Path, cache: &Cache) -> io::Result<File> {
    let mut compressed = tempfile::tempfile_in(cache.directory())?;
    let mut patch_from = OsString::from("--patch-from=");
    patch_from.push(held);
    let mut command = Command::new("zstd");
    remove_secrets(&mut command);
    let output = command
        .args(["-q", level, "-c"])
        .arg(patch_from)
        .arg(new)
        .stdin(Stdio::null())
        .stdout(compressed.try_clone()?)
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("zstd: {}", printed.trim())));
    }
    compressed.rewind()?;
    Ok(compressed)
}

fn copy(file: &UnpackedFile<'_>, cache: &Cache) -> io::Result<NamedTempFile> {
    let mut copy = cache.temporary().map_err(io::Error::other)?;
    io::copy(&mut file.part(0, file.size_bytes), &mut copy)?;
    Ok(copy)
}
