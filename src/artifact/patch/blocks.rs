//! Finds the parts of a new file in the files of an earlier release.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::Path;

use fastcdc::v2020::{Error as ChunkError, StreamCDC};

use crate::artifact::unpacked::UnpackedArtifact;
use crate::core::release::patch::{FileEdit, HeldOffset, Match, push_joined};

/// The sizes of chunks in bytes: the smallest, the average and the largest.
const CHUNK_BYTES: (usize, usize, usize) = (2 << 10, 8 << 10, 32 << 10);
/// How many bytes are compared at once.
const COMPARED_BYTES: usize = 32 << 10;

/// A file of an unpacked artifact.
#[derive(Clone, Copy)]
pub(super) struct UnpackedFile<'a> {
    pub(super) artifact: &'a UnpackedArtifact,
    pub(super) path: &'a Path,
    pub(super) sha256: &'a [u8; 32],
    pub(super) size_bytes: u64,
}

impl<'a> UnpackedFile<'a> {
    pub(super) fn part(&self, offset: u64, length: u64) -> impl Read + 'a + use<'a> {
        self.artifact.part(self.sha256, offset, length)
    }

    /// Fills the buffer from an offset.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.part(offset, buffer.len() as u64).read_exact(buffer)
    }

    fn chunks(&self) -> StreamCDC<impl Read + '_> {
        let (min, average, max) = CHUNK_BYTES;
        StreamCDC::new(self.part(0, self.size_bytes), min, average, max)
    }
}

/// The chunks of the files that a host has, by their hashes. The borders of a chunk depend on the
/// bytes around them, so that bytes are found again at other offsets.
pub(super) struct BlockIndex<'a> {
    files: Vec<UnpackedFile<'a>>,
    /// Computed when it is needed.
    chunks: Option<HashMap<u64, HeldOffset>>,
}

impl<'a> BlockIndex<'a> {
    pub(super) fn new(files: Vec<UnpackedFile<'a>>) -> Self {
        Self {
            files,
            chunks: None,
        }
    }

    /// A file, by its number in a match.
    pub(super) fn file(&self, number: usize) -> Option<&UnpackedFile<'a>> {
        self.files.get(number)
    }

    /// The file that is most likely to be an earlier version of this one: the one whose parts it
    /// has, that at the same path, or the only one.
    pub(super) fn most_similar(
        &self,
        new: &UnpackedFile<'_>,
        edit: &FileEdit,
    ) -> Option<&UnpackedFile<'a>> {
        let part = edit.parts.iter().find_map(|part| part.held);
        let number = edit.base.or(part.map(|held| held.file));
        let same_path = || self.files.iter().find(|file| file.path == new.path);
        let only = || self.files.first().filter(|_| self.files.len() == 1);
        number
            .and_then(|number| self.files.get(number))
            .or_else(same_path)
            .or_else(only)
    }

    /// The ranges of a file that are in the files of the index, in the order of their offsets.
    pub(super) fn find(&mut self, new: &UnpackedFile<'_>) -> io::Result<Vec<Match>> {
        let same_path = self.files.iter().position(|file| file.path == new.path);
        let mut matches = match same_path {
            Some(number) => self.blocks_in_place(new, number)?,
            None => Vec::new(),
        };
        let found_bytes: u64 = matches.iter().map(|found| found.length).sum();
        if found_bytes < new.size_bytes / 8 * 7 {
            matches = self.matching_chunks(new, same_path)?;
        }
        self.extend(new, &mut matches)?;
        Ok(matches)
    }

    /// The blocks that are at the same offsets of a file. This takes little time, and suffices if
    /// nothing was inserted or removed.
    fn blocks_in_place(&self, new: &UnpackedFile<'_>, number: usize) -> io::Result<Vec<Match>> {
        let mut matches = Vec::new();
        let Some(held) = self.files.get(number) else {
            return Ok(matches);
        };
        let (mut here, mut there) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        let (mut new_part, mut held_part) =
            (new.part(0, new.size_bytes), held.part(0, held.size_bytes));
        let whole_blocks = new.size_bytes.min(held.size_bytes) / COMPARED_BYTES as u64;
        for block in 0..whole_blocks {
            new_part.read_exact(&mut here)?;
            held_part.read_exact(&mut there)?;
            if here == there {
                let offset = block * COMPARED_BYTES as u64;
                push_joined(
                    &mut matches,
                    Match {
                        at: offset,
                        length: COMPARED_BYTES as u64,
                        held: HeldOffset {
                            file: number,
                            offset,
                        },
                    },
                );
            }
        }
        Ok(matches)
    }

    fn chunk_offsets(&self) -> io::Result<HashMap<u64, HeldOffset>> {
        let mut chunks = HashMap::new();
        for (number, file) in self.files.iter().enumerate() {
            for chunk in file.chunks() {
                let chunk = chunk.map_err(io_error)?;
                chunks.entry(hash(&chunk.data)).or_insert(HeldOffset {
                    file: number,
                    offset: chunk.offset,
                });
            }
        }
        Ok(chunks)
    }

    fn matching_chunks(
        &mut self,
        new: &UnpackedFile<'_>,
        same_path: Option<usize>,
    ) -> io::Result<Vec<Match>> {
        let chunks = match self.chunks.take() {
            Some(chunks) => chunks,
            None => self.chunk_offsets()?,
        };
        let chunks = &*self.chunks.insert(chunks);
        let mut matches: Vec<Match> = Vec::new();
        let mut buffer = Vec::new();
        for chunk in new.chunks() {
            let chunk = chunk.map_err(io_error)?;
            let at = chunk.offset;
            let next = matches
                .last()
                .filter(|last| last.end() == at)
                .map(|last| HeldOffset {
                    file: last.held.file,
                    offset: last.held.offset + last.length,
                });
            let in_place = same_path.map(|file| HeldOffset { file, offset: at });
            let mut held = None;
            for likely in [next, in_place].into_iter().flatten() {
                if held.is_none() && has(&self.files, likely, &chunk.data, &mut buffer)? {
                    held = Some(likely);
                }
            }
            if held.is_none()
                && let Some(known) = chunks.get(&hash(&chunk.data))
                && has(&self.files, *known, &chunk.data, &mut buffer)?
            {
                held = Some(*known);
            }
            let Some(held) = held else { continue };
            push_joined(
                &mut matches,
                Match {
                    at,
                    length: chunk.data.len() as u64,
                    held,
                },
            );
        }
        Ok(matches)
    }

    /// Extends matches over the borders of chunks, as far as the bytes are equal.
    fn extend(&self, new: &UnpackedFile<'_>, matches: &mut [Match]) -> io::Result<()> {
        let mut end = 0;
        for number in 0..matches.len() {
            let limit = matches
                .get(number + 1)
                .map_or(new.size_bytes, |next| next.at);
            let Some(found) = matches.get_mut(number) else {
                break;
            };
            let Some(file) = self.files.get(found.held.file) else {
                continue;
            };
            let before = common_suffix(new, file, found, found.at - end)?;
            found.at -= before;
            found.held.offset -= before;
            found.length += before;
            found.length += common_prefix(new, file, found, limit - found.end())?;
            end = found.end();
        }
        Ok(())
    }
}

/// Whether the bytes are at this place of a file.
fn has(
    files: &[UnpackedFile<'_>],
    held: HeldOffset,
    bytes: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    let Some(file) = files.get(held.file) else {
        return Ok(false);
    };
    if held.offset + bytes.len() as u64 > file.size_bytes {
        return Ok(false);
    }
    buffer.resize(bytes.len(), 0);
    file.read(held.offset, buffer)?;
    Ok(buffer == bytes)
}

/// The number of equal bytes after a match, at most `limit`.
fn common_prefix(
    new: &UnpackedFile<'_>,
    held: &UnpackedFile<'_>,
    found: &Match,
    limit: u64,
) -> io::Result<u64> {
    let held_end = found.held.offset + found.length;
    let limit = limit.min(held.size_bytes.saturating_sub(held_end));
    let mut equal = 0;
    while equal < limit {
        let length = block_length(limit - equal);
        let (here, there) = (
            read_block(new, found.end() + equal, length)?,
            read_block(held, held_end + equal, length)?,
        );
        let same = here.iter().zip(&there).take_while(|(a, b)| a == b).count();
        equal += same as u64;
        if same < length {
            break;
        }
    }
    Ok(equal)
}

/// The number of equal bytes before a match, at most `limit`.
fn common_suffix(
    new: &UnpackedFile<'_>,
    held: &UnpackedFile<'_>,
    found: &Match,
    limit: u64,
) -> io::Result<u64> {
    let limit = limit.min(found.held.offset);
    let mut equal = 0;
    while equal < limit {
        let length = block_length(limit - equal);
        let back = equal + length as u64;
        let (here, there) = (
            read_block(new, found.at - back, length)?,
            read_block(held, found.held.offset - back, length)?,
        );
        let pairs = here.iter().rev().zip(there.iter().rev());
        let same = pairs.take_while(|(a, b)| a == b).count();
        equal += same as u64;
        if same < length {
            break;
        }
    }
    Ok(equal)
}

fn block_length(left: u64) -> usize {
    usize::try_from(left).map_or(COMPARED_BYTES, |left| left.min(COMPARED_BYTES))
}

fn read_block(file: &UnpackedFile<'_>, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut block = vec![0; length];
    file.read(offset, &mut block)?;
    Ok(block)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn io_error(error: ChunkError) -> io::Error {
    match error {
        ChunkError::IoError(why) => why,
        other => io::Error::other(other.to_string()),
    }
}
