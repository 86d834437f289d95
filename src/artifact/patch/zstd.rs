//! Compresses a file with an old one as its dictionary, for programs that were compiled again: their
//! bytes differ everywhere, but not by much.

use std::fs::File;
use std::io::{self, Seek};
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use super::blocks::UnpackedFile;
use crate::artifact::cache::Cache;
use crate::config::remove_secrets;

/// The largest file: zstd needs several times its size as memory.
const COMPRESSED_MAX_BYTES: u64 = 128 << 20;
const LEVEL: &str = "-12";

/// Compresses `new` for a host that has `held`; `None` if they are too large.
///
/// # Errors
/// If zstd is not installed or fails, or the cache cannot be written.
pub(super) fn compress(
    held: &UnpackedFile<'_>,
    new: &UnpackedFile<'_>,
    cache: &Cache,
) -> io::Result<Option<File>> {
    if held.size_bytes.max(new.size_bytes) > COMPRESSED_MAX_BYTES {
        return Ok(None);
    }
    let (held, new) = (copy(held, cache)?, copy(new, cache)?);
    let mut compressed = tempfile::tempfile_in(cache.directory())?;
    let mut patch_from = std::ffi::OsString::from("--patch-from=");
    patch_from.push(held.path());
    let mut command = Command::new("zstd");
    remove_secrets(&mut command);
    let output = command
        .args(["-q", LEVEL, "-c"])
        .arg(patch_from)
        .arg(new.path())
        .stdin(Stdio::null())
        .stdout(compressed.try_clone()?)
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("zstd: {}", printed.trim())));
    }
    compressed.rewind()?;
    Ok(Some(compressed))
}

fn copy(file: &UnpackedFile<'_>, cache: &Cache) -> io::Result<NamedTempFile> {
    let mut copy = cache.temporary().map_err(io::Error::other)?;
    io::copy(&mut file.part(0, file.size_bytes), &mut copy)?;
    Ok(copy)
}
