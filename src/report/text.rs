//! Untrusted text, made safe for one line of a terminal.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthChar;

use crate::core::ids::ReleaseId;
use crate::core::release::patch::Transfer;

/// The longest partial word that [`fit_end`] omits, in bytes.
const PARTIAL_WORD_MAX: usize = 16;

/// The characters that a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Between two versions.
    pub arrow: &'static str,
    /// In place of omitted text.
    pub ellipsis: &'static str,
    /// Between two facts on a line.
    pub separator: &'static str,
    pub at_least: &'static str,
    pub at_most: &'static str,
    /// The part of a bar for new instances.
    pub new: char,
    /// The part of a bar for old instances.
    pub old: char,
    /// The part of a bar without available instances.
    pub empty: char,
    /// The floor of a bar.
    pub floor: char,
    /// Whether the terminal shows characters beyond ASCII.
    pub unicode: bool,
}

impl Glyphs {
    /// For terminals with UTF-8.
    pub const UNICODE: Self = Self {
        arrow: "→",
        ellipsis: "…",
        separator: " · ",
        at_least: "≥",
        at_most: "≤",
        new: '█',
        old: '▒',
        empty: '·',
        floor: '│',
        unicode: true,
    };
    /// For all other terminals.
    pub const ASCII: Self = Self {
        arrow: "->",
        ellipsis: "...",
        separator: ", ",
        at_least: ">=",
        at_most: "<=",
        new: '#',
        old: '=',
        empty: '.',
        floor: '|',
        unicode: false,
    };

    /// The characters for a locale, by its environment variables in the precedence of POSIX.
    pub fn of_locale(var: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .filter_map(|name| var(name))
            .find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::UNICODE
        } else {
            Self::ASCII
        }
    }

    /// The text with characters that this terminal can show.
    pub fn show(&self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        // A wide character keeps its columns, so that columns stay aligned.
        text.chars()
            .map(|c| {
                if c.is_ascii() {
                    c.to_string()
                } else {
                    "?".repeat(c.width().unwrap_or(0))
                }
            })
            .collect()
    }
}

/// The versions of releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<ReleaseId, String>);

impl Versions {
    /// Versions by release.
    pub fn new(versions: BTreeMap<ReleaseId, String>) -> Self {
        Self(versions)
    }

    pub fn insert(&mut self, release: ReleaseId, version: String) {
        self.0.insert(release, version);
    }

    /// The version of a release, or its short digest if the version is unknown. `release` may be a
    /// short digest.
    pub fn of<'a>(&'a self, release: &'a ReleaseId) -> &'a str {
        let matching = self
            .0
            .range(release..)
            .next()
            .filter(|(known, _)| known.as_str().starts_with(release.as_str()));
        matching
            .filter(|_| release.short().len() == 10)
            .map_or_else(|| release.short(), |(_, version)| version)
    }
}

/// The text on one line, without characters that move the cursor, change colours or the writing
/// direction: an answer or a log must not be able to forge a line of ship's output.
pub fn clean(text: &str) -> String {
    clean_indented(text.trim())
}

/// Like [`clean`], but keeps leading spaces, because the indentation of a log has a meaning.
pub fn clean_indented(text: &str) -> String {
    let visible = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' => Some(' '),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    });
    visible.collect()
}

/// A line of a log: like [`clean_indented`], and without escape sequences.
pub fn clean_log(text: &str) -> String {
    clean_indented(&anstream::adapter::strip_str(text.trim_end()).to_string())
}

/// Characters without a width that change their neighbours.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The columns of a text, as the sum of its characters: never too few.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The text in at most `max` columns, with an ellipsis at the end if it is shortened.
pub fn fit(text: &str, max: usize, ellipsis: &str) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(width(ellipsis));
    let mut kept = head(text, room).to_owned();
    kept.push_str(head(ellipsis, max));
    kept
}

/// The longest prefix of at most `max` columns.
pub fn head(text: &str, max: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > max
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The text in at most `max` columns, with an ellipsis at the front if it is shortened.
pub fn fit_end(text: &str, max: usize, ellipsis: &str) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(width(ellipsis));
    let kept = tail(text, room);
    // Omit a partial word at the front, unless it is too long.
    let is_whole = text[..text.len() - kept.len()].ends_with(' ');
    let next_word = kept
        .find(' ')
        .filter(|at| !is_whole && *at <= PARTIAL_WORD_MAX);
    let kept = next_word.map_or(kept, |at| &kept[at..]).trim_start();
    format!("{}{kept}", head(ellipsis, max))
}

/// The longest suffix of at most `max` columns.
fn tail(text: &str, max: usize) -> &str {
    let mut used = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > max
    });
    start.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// The text followed by spaces up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// An age in the format of kubectl: `14s`, `4m`, `2h`, `3d`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 host`, `2 hosts`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// How a host received a release: `1 MiB instead of 95 MiB`.
pub fn transfer(transfer: &Transfer) -> String {
    let Transfer {
        sent_bytes,
        artifact_bytes,
        whole_because,
        relayed_by,
        direct_because,
    } = transfer;
    let whole = size(*artifact_bytes);
    let what = match whole_because {
        Some(_) => format!("all {whole}"),
        None if sent_bytes < artifact_bytes => format!("{} instead of {whole}", size(*sent_bytes)),
        None => whole,
    };
    let from = match (relayed_by, direct_because) {
        (Some(host), _) => format!(" from {host}"),
        (None, Some(_)) => " from this machine".to_owned(),
        (None, None) => String::new(),
    };
    let reasons = whole_because.iter().chain(direct_because);
    let reasons: Vec<_> = reasons.map(String::as_str).collect();
    if reasons.is_empty() {
        format!("{what}{from}")
    } else {
        format!("{what}{from}: {}", reasons.join("; "))
    }
}

/// A size for people: `84 KiB`, `3 MiB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_removes_line_breaks_and_control_characters() {
        assert_eq!(
            clean("\x1b[2Jall\twell\r\nreally\u{202e}!\n"),
            "[2Jall well  really!"
        );
    }

    #[test]
    fn clean_log_removes_colours_and_keeps_indentation() {
        assert_eq!(
            clean_log("\x1b[1;31m  error\x1b[0m:\tno \x07device\x1b]0;title\x07 \r"),
            "  error: no device"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_whole_character() {
        assert_eq!(fit("灰度发布", 8, "…"), "灰度发布");
        assert_eq!(fit("灰度发布", 7, "…"), "灰度发…");
        assert_eq!(fit("灰度发布", 6, "…"), "灰度…");
        assert_eq!(fit("rollout", 2, "..."), "..");
        assert_eq!(fit("rollout", 0, "…"), "");
        assert_eq!(fit_end("灰度发布", 7, "…"), "…度发布");
        assert_eq!(fit_end("rollout", 5, "..."), "...ut");
        assert_eq!(fit_end("rollout", 2, "..."), "..");
        assert_eq!(fit_end("the last answer: HTTP 503", 17, "… "), "… HTTP 503");
    }

    #[test]
    fn ages_have_the_format_of_kubectl() {
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"]);
    }

    #[test]
    fn locale_decides_between_unicode_and_ascii() {
        let glyphs = |vars: &[(&str, &str)]| {
            Glyphs::of_locale(|name| {
                vars.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(glyphs(&[("LANG", "en_GB.UTF-8")]), Glyphs::UNICODE);
        assert_eq!(
            glyphs(&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")]),
            Glyphs::ASCII
        );
        assert_eq!(glyphs(&[]), Glyphs::ASCII);
        assert_eq!(Glyphs::ASCII.show("0.8 → 灰"), "0.8 ? ??");
    }
}
