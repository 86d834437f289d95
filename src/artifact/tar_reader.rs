//! Reads a tar archive, and rejects everything that two tar programs could read differently.
//!
//! A host's tar may be GNU's, busybox's or another one. Where they differ (a name given twice, a
//! link with content, data after the end), the host would not unpack what ship has checked.
//! Everything also has a limit, because names are kept in memory and a few bytes of gzip can unpack
//! to a thousand times as many.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::cache::Hashed;
use crate::artifact::archive_fault::{Fault, printable};

const BLOCK_BYTES: usize = 512;
/// The smallest allocation of most file systems for a file.
const DISK_BLOCK_BYTES: u64 = 4096;
/// The longest path on Linux.
const PATH_BYTES_MAX: usize = 4096;
/// The size limit of a header that gives the next entry a longer name or other attributes.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// The permissions of owner, group and others to execute a file.
const EXECUTE_BITS: u32 = 0o111;
const ENTRIES_MAX: u32 = 1_000_000;
/// The size limit of the unpacked archive.
const BYTES_MAX: u64 = 64 << 30;
/// The offset of a byte that is set in the headers of incremental backups, which busybox reads as a
/// part of the name.
const INCREMENTAL_AT: usize = 345;
/// The offset of the flag that the map of a sparse file continues in another block.
const SPARSE_CONTINUES_AT: usize = 482;
const SPARSE_CONTINUES_IN_BLOCK_AT: usize = 504;

/// A reader of an archive, from its beginning to its end.
pub(super) struct StrictTarReader<R> {
    reader: R,
    bytes: u64,
    unpacked_bytes: u64,
    entries: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct TarEntry {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryType,
    /// Its target, if it is a link.
    pub(super) link: Option<Vec<u8>>,
    pub(super) is_executable: bool,
    pub(super) size_bytes: u64,
    /// The SHA-256 of the bytes in the archive.
    pub(super) sha256: [u8; 32],
    /// Its time of modification, in seconds since 1970.
    pub(super) mtime_s: i64,
}

/// The attributes that extension headers set for the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
}

impl<R: Read> StrictTarReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            bytes: 0,
            unpacked_bytes: 0,
            entries: 0,
        }
    }

    /// The disk space of the entries so far: whole blocks, and one more for each entry.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// The next entry. Its content has been written to `content`. After the last entry, this checks
    /// that nothing follows.
    pub(super) fn next(&mut self, content: &mut impl Write) -> Result<Option<TarEntry>, Fault> {
        let mut extensions = Extensions::default();
        while let Some(header) = self.header()? {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(Fault::Refused(format!(
                    "it has more than {ENTRIES_MAX} entries"
                )));
            }
            match header.entry_type() {
                EntryType::GNULongName => set_once(&mut extensions.path, self.name(&header)?)?,
                EntryType::GNULongLink => set_once(&mut extensions.link, self.name(&header)?)?,
                EntryType::XHeader => extensions.read(&self.extension(&header)?)?,
                EntryType::XGlobalHeader => check_global(&self.extension(&header)?)?,
                _ => return self.entry(&header, extensions, content).map(Some),
            }
        }
        if extensions.path.is_some() || extensions.link.is_some() || extensions.size.is_some() {
            return Err(broken(
                "it ends between the name and the header of an entry",
            ));
        }
        self.check_end()?;
        Ok(None)
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let length = read_full(&mut self.reader, block).map_err(broken)?;
        if length == 0 || block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if length < BLOCK_BYTES {
            return Err(broken("it ends within a header"));
        }
        self.count(BLOCK_BYTES as u64)?;
        // The checksum is computed as if its own eight bytes were blanks.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => u32::from(b' '),
                _ => u32::from(*byte),
            })
            .sum();
        let is_gnu = header.as_gnu().is_some();
        let is_known =
            is_gnu || header.as_ustar().is_some() || header.as_bytes()[257..265] == [0; 8];
        if header.cksum().ok() != Some(sum) || !is_known {
            return Err(broken("a header is corrupt"));
        }
        if is_gnu && header.as_bytes()[INCREMENTAL_AT] != 0 {
            return Err(Fault::Refused("it is an incremental backup".to_owned()));
        }
        Ok(Some(header))
    }

    fn entry(
        &mut self,
        header: &Header,
        extensions: Extensions,
        content: &mut impl Write,
    ) -> Result<TarEntry, Fault> {
        let kind = header.entry_type();
        let path = extensions
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let refuse = |why: &str| {
            Err(Fault::Unsafe {
                entry: printable(&path),
                why: why.to_owned(),
            })
        };
        for name in [Some(&path), link.as_ref()].into_iter().flatten() {
            if name.len() > PATH_BYTES_MAX {
                return refuse(&format!(
                    "which has a name or link target longer than {PATH_BYTES_MAX} bytes"
                ));
            }
            if name.contains(&0) {
                return refuse("which has a NUL in its name or link target");
            }
        }
        let size = match extensions.size {
            None => header.entry_size().map_err(broken)?,
            Some(digits) => decimal(&digits).ok_or_else(|| broken("a size is not a number"))?,
        };
        let is_file = matches!(
            kind,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse
        );
        if !is_file && size != 0 {
            return refuse("which has content but is not a file");
        }
        let mut continues =
            kind == EntryType::GNUSparse && header.as_bytes()[SPARSE_CONTINUES_AT] != 0;
        while continues {
            let mut block = [0; BLOCK_BYTES];
            self.reader.read_exact(&mut block).map_err(broken)?;
            self.count(BLOCK_BYTES as u64)?;
            continues = block[SPARSE_CONTINUES_IN_BLOCK_AT] != 0;
        }
        let sha256 = self.copy_content(size, content)?;
        let on_disk = size
            .next_multiple_of(DISK_BLOCK_BYTES)
            .saturating_add(DISK_BLOCK_BYTES);
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(on_disk);
        Ok(TarEntry {
            path,
            kind,
            link,
            is_executable: header.mode().is_ok_and(|mode| mode & EXECUTE_BITS != 0),
            size_bytes: size,
            sha256,
            mtime_s: header.mtime().unwrap_or_default().cast_signed(),
        })
    }

    /// The content of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let size = header.entry_size().map_err(broken)?;
        if size > EXTENSION_BYTES_MAX {
            return Err(Fault::Refused(format!(
                "the attributes of an entry are longer than {EXTENSION_BYTES_MAX} bytes"
            )));
        }
        let mut content = Vec::new();
        let read = (&mut self.reader)
            .take(size)
            .read_to_end(&mut content)
            .map_err(broken)?;
        if read as u64 != size {
            return Err(broken("it ends within an entry"));
        }
        self.count(size)?;
        self.skip_padding(size)?;
        Ok(content)
    }

    /// A name that is too long for a header, without the NUL at its end.
    fn name(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let mut name = self.extension(header)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// Writes the content of an entry, and returns its SHA-256.
    fn copy_content(&mut self, size: u64, to: &mut impl Write) -> Result<[u8; 32], Fault> {
        self.count(size)?;
        let mut content = Hashed::new((&mut self.reader).take(size));
        if io::copy(&mut content, to).map_err(broken)? != size {
            return Err(broken("it ends within an entry"));
        }
        let sha256 = content.digest();
        self.skip_padding(size)?;
        Ok(sha256)
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), Fault> {
        let padding = size.next_multiple_of(BLOCK_BYTES as u64) - size;
        let skipped = io::copy(&mut (&mut self.reader).take(padding), &mut io::sink());
        if skipped.map_err(broken)? != padding {
            return Err(broken("it ends within an entry"));
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > BYTES_MAX {
            return Err(Fault::Refused(format!(
                "it is larger than {} GiB when unpacked",
                BYTES_MAX >> 30
            )));
        }
        Ok(())
    }

    /// Reads to the end, because the checksum of gzip comes last. Rejects data after the first
    /// empty block, because some tar programs continue there and others stop.
    fn check_end(&mut self) -> Result<(), Fault> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            match read_full(&mut self.reader, &mut chunk).map_err(broken)? {
                0 => return Ok(()),
                length if chunk[..length].iter().any(|byte| *byte != 0) => {
                    return Err(Fault::Refused("there is data after its end".to_owned()));
                }
                length => self.count(length as u64)?,
            }
        }
    }
}

impl Extensions {
    /// Adds POSIX attributes: lines of the form `LENGTH KEY=VALUE`.
    fn read(&mut self, content: &[u8]) -> Result<(), Fault> {
        for record in Records(content) {
            let (key, value) = record?;
            match key {
                b"path" => set_once(&mut self.path, value.to_vec())?,
                b"linkpath" => set_once(&mut self.link, value.to_vec())?,
                b"size" => set_once(&mut self.size, value.to_vec())?,
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(Fault::Refused(
                        "it has sparse files in a format that not every tar supports".to_owned(),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Rejects attributes for all entries, because some tar programs ignore them. Comments are allowed.
fn check_global(content: &[u8]) -> Result<(), Fault> {
    for record in Records(content) {
        let (key, _) = record?;
        if key != b"comment" {
            return Err(Fault::Refused(format!(
                "it sets `{}` for all its entries",
                String::from_utf8_lossy(key).escape_debug()
            )));
        }
    }
    Ok(())
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.split();
        if record.is_none() {
            self.0 = &[];
        }
        Some(record.ok_or_else(|| broken("the attributes of an entry are malformed")))
    }
}

impl<'a> Records<'a> {
    fn split(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let blank = self.0.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&self.0[..blank])?).ok()?;
        let record = self.0.get(blank + 1..length)?.strip_suffix(b"\n")?;
        self.0 = &self.0[length..];
        let equals = record.iter().position(|byte| *byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..]))
    }
}

/// Rejects a second value, because tar programs disagree about which one counts.
fn set_once(field: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), Fault> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Refused("an entry is named twice".to_owned())),
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err passes an owned value"
)]
fn broken(why: impl ToString) -> Fault {
    Fault::Broken(why.to_string())
}

/// Reads until the buffer is full or the input ends.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(length)
}
