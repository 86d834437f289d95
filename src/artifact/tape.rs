//! Reads a tar archive, and refuses everything that two tars could read differently.
//!
//! A host's tar may be GNU's, busybox's or another: where they differ (a name given twice, a link
//! with content, words after the end), what was judged here would not be what is unpacked there.
//! Everything has a bound, too: a name is kept in memory, and a few bytes of gzip unpack to a
//! thousand times as many.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::artifact::fault::{Fault, shown};

const BLOCK_BYTES: usize = 512;
/// The least that most file systems allot to a file.
const DISK_BLOCK_BYTES: u64 = 4096;
/// The longest path on Linux.
const PATH_BYTES_MAX: usize = 4096;
/// The limit of a header that gives the next entry a longer name or other attributes.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: u32 = 1_000_000;
/// Limits the unpacked archive.
const BYTES_MAX: u64 = 64 << 30;
/// In a header that is not ustar's, whether it is one of an incremental backup: busybox takes that
/// for a part of the name.
const INCREMENTAL_AT: usize = 345;
/// The offset of the flag that says whether the map of a sparse file continues in another block.
const SPARSE_GOES_ON_AT: usize = 482;
const SPARSE_GOES_ON_IN_BLOCK_AT: usize = 504;

/// An archive, read from its beginning to its end.
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
    /// Where it leads, if it is a link.
    pub(super) link: Option<Vec<u8>>,
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Announced {
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

    /// Disk space of the entries so far: whole blocks, and one more for each entry.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// The next entry; its content is passed over. After the last one, that nothing follows is
    /// checked to the end.
    pub(super) fn next(&mut self) -> Result<Option<TarEntry>, Fault> {
        let mut announced = Announced::default();
        while let Some(header) = self.header()? {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(Fault::Refused(format!(
                    "it has more than {ENTRIES_MAX} entries"
                )));
            }
            match header.entry_type() {
                EntryType::GNULongName => once(&mut announced.path, self.name(&header)?)?,
                EntryType::GNULongLink => once(&mut announced.link, self.name(&header)?)?,
                EntryType::XHeader => announced.read(&self.extension(&header)?)?,
                EntryType::XGlobalHeader => refuse_global(&self.extension(&header)?)?,
                _ => return self.entry(&header, announced).map(Some),
            }
        }
        if announced.path.is_some() || announced.link.is_some() || announced.size.is_some() {
            return Err(broken("it ends after the name of an entry"));
        }
        self.refuse_more()?;
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
        // The checksum's own eight bytes count as blanks.
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
            return Err(broken("a header is damaged"));
        }
        if is_gnu && header.as_bytes()[INCREMENTAL_AT] != 0 {
            return Err(Fault::Refused("it is an incremental backup".to_owned()));
        }
        Ok(Some(header))
    }

    fn entry(&mut self, header: &Header, announced: Announced) -> Result<TarEntry, Fault> {
        let kind = header.entry_type();
        let path = announced
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = announced
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let refuse = |why: &str| {
            Err(Fault::Unsafe {
                entry: shown(&path),
                why: why.to_owned(),
            })
        };
        for name in [Some(&path), link.as_ref()].into_iter().flatten() {
            if name.len() > PATH_BYTES_MAX {
                return refuse(&format!(
                    "whose name, or that of what it links to, is longer than {PATH_BYTES_MAX} bytes"
                ));
            }
            if name.contains(&0) {
                return refuse("whose name, or that of what it links to, has a NUL in it");
            }
        }
        let size = match announced.size {
            None => header.entry_size().map_err(broken)?,
            Some(digits) => decimal(&digits).ok_or_else(|| broken("a size is no number"))?,
        };
        let is_file = matches!(
            kind,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse
        );
        if !is_file && size != 0 {
            return refuse("which has content but is no file");
        }
        let mut goes_on = kind == EntryType::GNUSparse && header.as_bytes()[SPARSE_GOES_ON_AT] != 0;
        while goes_on {
            let mut block = [0; BLOCK_BYTES];
            self.reader.read_exact(&mut block).map_err(broken)?;
            self.count(BLOCK_BYTES as u64)?;
            goes_on = block[SPARSE_GOES_ON_IN_BLOCK_AT] != 0;
        }
        self.skip(size)?;
        let on_disk = size
            .next_multiple_of(DISK_BLOCK_BYTES)
            .saturating_add(DISK_BLOCK_BYTES);
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(on_disk);
        Ok(TarEntry { path, kind, link })
    }

    /// The content of a header that is about the next entry.
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

    /// A name too long for a header: to its end, which is a NUL.
    fn name(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let mut name = self.extension(header)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn skip(&mut self, size: u64) -> Result<(), Fault> {
        self.count(size)?;
        let skipped = io::copy(&mut (&mut self.reader).take(size), &mut io::sink());
        if skipped.map_err(broken)? != size {
            return Err(broken("it ends within an entry"));
        }
        self.skip_padding(size)
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
                "unpacked it is larger than {} GiB",
                BYTES_MAX >> 30
            )));
        }
        Ok(())
    }

    /// Reads to the end, for the checksum comes last. Some tars go on after one empty block, others
    /// do not.
    fn refuse_more(&mut self) -> Result<(), Fault> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            match read_full(&mut self.reader, &mut chunk).map_err(broken)? {
                0 => return Ok(()),
                length if chunk[..length].iter().any(|byte| *byte != 0) => {
                    return Err(Fault::Refused("something follows after its end".to_owned()));
                }
                length => self.count(length as u64)?,
            }
        }
    }
}

impl Announced {
    /// Takes in attributes as POSIX has them: lines `LENGTH KEY=VALUE`.
    fn read(&mut self, content: &[u8]) -> Result<(), Fault> {
        for record in Records(content) {
            let (key, value) = record?;
            match key {
                b"path" => once(&mut self.path, value.to_vec())?,
                b"linkpath" => once(&mut self.link, value.to_vec())?,
                b"size" => once(&mut self.size, value.to_vec())?,
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(Fault::Refused(
                        "it has sparse files in a form that not every tar knows".to_owned(),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Refuses attributes for all entries that matter, since some tars ignore them.
fn refuse_global(content: &[u8]) -> Result<(), Fault> {
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
        Some(record.ok_or_else(|| broken("the attributes of an entry make no sense")))
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

/// Refuses a second value, since tars disagree about which one counts.
fn once(field: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), Fault> {
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
    reason = "it is what map_err hands over"
)]
fn broken(why: impl ToString) -> Fault {
    Fault::Broken(why.to_string())
}

/// Reads until the buffer is full, or nothing is left.
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
