//! Which parts of a file a host copies from the files that it has, and which are sent to it.

use serde::{Deserialize, Serialize};

use crate::core::ids::HostId;

/// A host needs one process for each part, in the time of which a network sends this many bytes.
const PART_MIN_BYTES: u64 = 16 << 10;
/// The largest number of parts of one file.
const PARTS_MAX: usize = 256;

/// How a host received a release, if it had an earlier one or hosts pass releases on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub sent_bytes: u64,
    /// The size of the artifact.
    pub artifact_bytes: u64,
    /// Why the whole artifact was sent after the difference, if the host could not use that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_because: Option<String>,
    /// The host that sent the bytes; `None` for the control machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relayed_by: Option<HostId>,
    /// Why the control machine sent the bytes after another host, if that could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_because: Option<String>,
}

impl Transfer {
    /// Why the first attempts failed, in the words of the host.
    pub fn reasons_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.whole_because
            .iter_mut()
            .chain(&mut self.direct_because)
    }

    /// Whether the host could not use the difference, or could not receive it from another host.
    pub fn has_failed_first(&self) -> bool {
        self.whole_because.is_some() || self.direct_because.is_some()
    }
}

/// How the difference between two files is expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchMethod {
    /// As parts of the old file and new bytes, which coreutils assemble.
    Parts,
    /// As parts, or compressed with the old file as the dictionary if that is much less. Both
    /// machines need zstd.
    PartsOrZstd,
}

/// A range of a new file whose bytes a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The offset in the new file, in bytes.
    pub at: u64,
    pub length: u64,
    pub held: HeldOffset,
}

/// A place in the files that a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldOffset {
    /// The index of the file in the list of the caller.
    pub file: usize,
    /// In bytes.
    pub offset: u64,
}

impl Match {
    /// The offset of the first byte after the match.
    pub fn end(&self) -> u64 {
        self.at + self.length
    }

    /// Whether `next` continues this match in both files.
    fn is_continued_by(&self, next: &Self) -> bool {
        next.at == self.end()
            && next.held.file == self.held.file
            && next.held.offset == self.held.offset + self.length
    }
}

/// How a host makes a file from the files that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEdit {
    /// The index of the file whose copy is edited; `None` to begin with an empty file.
    pub base: Option<usize>,
    /// What is written over the copy, in the order of the offsets.
    pub parts: Vec<Part>,
    /// The size of the new file.
    pub size_bytes: u64,
}

/// A range of the new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The offset in the new file, in bytes.
    pub at: u64,
    pub length: u64,
    /// Where the host has the bytes; `None` if they are sent.
    pub held: Option<HeldOffset>,
}

impl FileEdit {
    /// The edit with the fewest bytes to send, of those that have few enough parts. `matches` are in
    /// the order of their offsets and do not overlap.
    pub fn from_matches(matches: &[Match], size_bytes: u64) -> Self {
        let mut min_bytes = PART_MIN_BYTES;
        loop {
            let edit = Self::from_long_matches(matches, min_bytes, size_bytes);
            if edit.parts.len() <= PARTS_MAX {
                return edit;
            }
            min_bytes = min_bytes.saturating_mul(2);
        }
    }

    fn from_long_matches(matches: &[Match], min_bytes: u64, size_bytes: u64) -> Self {
        let mut long = Vec::new();
        for found in matches {
            push_joined(&mut long, *found);
        }
        long.retain(|found| found.length >= min_bytes);
        let base = file_with_most_bytes_in_place(&long);
        let mut parts = Vec::new();
        let mut end = 0;
        for found in &long {
            push_sent(&mut parts, end, found.at);
            if !(found.held.offset == found.at && base == Some(found.held.file)) {
                parts.push(Part {
                    at: found.at,
                    length: found.length,
                    held: Some(found.held),
                });
            }
            end = found.end();
        }
        push_sent(&mut parts, end, size_bytes);
        Self {
            base,
            parts,
            size_bytes,
        }
    }

    /// The number of bytes that are sent.
    pub fn sent_bytes(&self) -> u64 {
        let sent = self.parts.iter().filter(|part| part.held.is_none());
        sent.map(|part| part.length).sum()
    }

    /// Whether it saves enough to be preferred to sending the file.
    pub fn is_worth_it(&self) -> bool {
        self.sent_bytes() <= self.size_bytes / 2
    }
}

/// Adds a match, or extends the last one if the match continues it.
pub fn push_joined(matches: &mut Vec<Match>, next: Match) {
    match matches.last_mut() {
        Some(last) if last.is_continued_by(&next) => last.length += next.length,
        _ => matches.push(next),
    }
}

/// The file whose copy already has the most bytes in their places.
fn file_with_most_bytes_in_place(matches: &[Match]) -> Option<usize> {
    let in_place = |file: usize| -> u64 {
        let own = matches
            .iter()
            .filter(|found| found.held.file == file && found.held.offset == found.at);
        own.map(|found| found.length).sum()
    };
    let files = matches
        .iter()
        .filter(|found| found.held.offset == found.at)
        .map(|found| found.held.file);
    files.max_by_key(|file| in_place(*file))
}

fn push_sent(parts: &mut Vec<Part>, at: u64, end: u64) {
    if end > at {
        parts.push(Part {
            at,
            length: end - at,
            held: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    fn found(at: u64, length: u64, offset: u64) -> Match {
        Match {
            at: at * KIB,
            length: length * KIB,
            held: HeldOffset {
                file: 0,
                offset: offset * KIB,
            },
        }
    }

    fn part(at: u64, length: u64, offset: Option<u64>) -> Part {
        Part {
            at: at * KIB,
            length: length * KIB,
            held: offset.map(|offset| HeldOffset {
                file: 0,
                offset: offset * KIB,
            }),
        }
    }

    #[test]
    fn bytes_in_place_need_no_part() {
        let edit = FileEdit::from_matches(&[found(0, 100, 0), found(110, 90, 110)], 200 * KIB);
        assert_eq!(edit.base, Some(0));
        assert_eq!(edit.parts, [part(100, 10, None)]);
        assert_eq!(edit.sent_bytes(), 10 * KIB);
        assert!(edit.is_worth_it());
    }

    #[test]
    fn bytes_in_other_places_are_copied() {
        let edit = FileEdit::from_matches(&[found(10, 190, 0)], 200 * KIB);
        assert_eq!(edit.base, None);
        assert_eq!(edit.parts, [part(0, 10, None), part(10, 190, Some(0))]);
    }

    #[test]
    fn short_matches_are_sent() {
        let edit = FileEdit::from_matches(&[found(0, 100, 0), found(110, 10, 110)], 130 * KIB);
        assert_eq!(edit.parts, [part(100, 30, None)]);
        let joined = [found(0, 8, 20), found(8, 8, 28)];
        let edit = FileEdit::from_matches(&joined, 16 * KIB);
        assert_eq!(edit.parts, [part(0, 16, Some(20))]);
    }

    #[test]
    fn number_of_parts_is_limited() {
        let matches: Vec<_> = (0..1000).map(|n| found(n * 30, 20, n * 30)).collect();
        let edit = FileEdit::from_matches(&matches, 30_000 * KIB);
        assert!(edit.parts.len() <= PARTS_MAX, "{}", edit.parts.len());
        assert!(!edit.is_worth_it());
    }

    #[test]
    fn file_without_matches_is_sent() {
        let edit = FileEdit::from_matches(&[], 100);
        assert_eq!((edit.base, edit.sent_bytes()), (None, 100));
        assert!(!edit.is_worth_it());
    }
}
