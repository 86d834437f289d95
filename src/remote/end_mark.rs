//! The end of a script's output in a stream that continues after it.

use crate::system::random;

/// A word that no script can print by chance.
pub(super) fn new_mark() -> String {
    format!("ship-end-{}", random::id())
}

/// Finds `MARK STATUS` and a newline in a stream, directly after the output of a script.
#[derive(Debug)]
pub(super) struct EndFinder {
    /// What precedes the status.
    mark: Vec<u8>,
    /// What may be the beginning of the mark.
    held: Vec<u8>,
    status: Option<i32>,
}

impl EndFinder {
    pub(super) fn of(mark: &str) -> Self {
        Self {
            mark: format!("{mark} ").into_bytes(),
            held: Vec::new(),
            status: None,
        }
    }

    /// Adds a piece of output and returns the part that belongs to the script.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut windows = self.held.windows(self.mark.len());
        let found = windows.position(|window| window == self.mark);
        let own_bytes = found.unwrap_or_else(|| self.held.len() - self.beginning_len());
        if let Some(at) = found {
            self.read_status(at + self.mark.len());
        }
        self.held.drain(..own_bytes).collect()
    }

    /// What was held back, when the stream ends without the mark.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// The exit status, after the mark was found.
    pub(super) fn status(&self) -> Option<i32> {
        self.status
    }

    fn read_status(&mut self, from: usize) {
        let after = &self.held[from..];
        if let Some(length) = after.iter().position(|byte| *byte == b'\n') {
            let word = String::from_utf8_lossy(&after[..length]);
            self.status = word.parse().ok();
        }
    }

    /// How much of the end of `held` may be the beginning of the mark.
    fn beginning_len(&self) -> usize {
        let lengths = 1..=self.mark.len().min(self.held.len());
        let begins = |length: &usize| self.held.ends_with(&self.mark[..*length]);
        lengths.rev().find(begins).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pieces: &[&str]) -> (String, Option<i32>) {
        let mut finder = EndFinder::of("ship-end-1");
        let mut own = Vec::new();
        for piece in pieces {
            own.extend(finder.take(piece.as_bytes()));
        }
        if finder.status().is_none() {
            own.extend(finder.take_rest());
        }
        (String::from_utf8(own).unwrap(), finder.status())
    }

    #[test]
    fn end_is_found_wherever_the_stream_is_cut() {
        for output in [
            "",
            "\n",
            "one\ntwo",
            "one\n\n",
            "ship-end-2 0\n",
            "ship-end-ship",
        ] {
            let stream = format!("{output}ship-end-1 17\n");
            let bytes: Vec<_> = stream.split("").collect();
            assert_eq!(found(&bytes), (output.to_owned(), Some(17)));
            for cut in 0..stream.len() {
                let (one, two) = stream.split_at(cut);
                assert_eq!(found(&[one, two]), (output.to_owned(), Some(17)));
            }
        }
    }

    #[test]
    fn stream_without_the_mark_is_kept_whole() {
        for stream in ["one\n", "one\nship-end-1", "ship-end-1 1"] {
            assert_eq!(found(&[stream]), (stream.to_owned(), None));
        }
    }

    #[test]
    fn only_what_may_begin_the_mark_is_held_back() {
        let mut finder = EndFinder::of("ship-end-1");
        assert_eq!(finder.take(b"one\nship"), b"one\n");
        assert_eq!(finder.take(b"s\n"), b"ships\n");
    }
}
