//! Text from anywhere, made fit for one line of a terminal.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthChar;

use crate::core::ids::ReleaseId;

/// The signs that a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// From one version to another.
    pub arrow: &'static str,
    /// What was cut off.
    pub ellipsis: &'static str,
    /// A part of a bar that is there.
    pub full: char,
    /// A part of a bar that is not.
    pub empty: char,
    /// The least that a bar must reach.
    pub mark: char,
    /// Whether anything but ASCII can be shown.
    pub unicode: bool,
}

impl Glyphs {
    /// For terminals that show UTF-8.
    pub const UNICODE: Self = Self {
        arrow: "→",
        ellipsis: "…",
        full: '█',
        empty: '░',
        mark: '│',
        unicode: true,
    };
    /// For all others.
    pub const ASCII: Self = Self {
        arrow: "->",
        ellipsis: "...",
        full: '#',
        empty: '.',
        mark: '|',
        unicode: false,
    };

    /// The signs for a locale, from its environment variables in POSIX' order of precedence.
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

    /// The text as this terminal can show it.
    pub fn show(&self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        // A wide character keeps its columns, so that what is aligned stays aligned.
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

/// The versions of releases, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<ReleaseId, String>);

impl Versions {
    /// The versions known so far.
    pub fn new(versions: BTreeMap<ReleaseId, String>) -> Self {
        Self(versions)
    }

    pub fn insert(&mut self, release: ReleaseId, version: String) {
        self.0.insert(release, version);
    }

    /// A release's version, or the first digits of its digest; these alone are enough to find it.
    pub fn of<'a>(&'a self, release: &'a ReleaseId) -> &'a str {
        let alike = self
            .0
            .range(release..)
            .next()
            .filter(|(known, _)| known.as_str().starts_with(release.as_str()));
        alike
            .filter(|_| release.short().len() == 10)
            .map_or_else(|| release.short(), |(_, version)| version)
    }
}

/// The text on one line, without what would move the cursor, change colours or the direction of
/// writing: a host's answer or log must not be able to forge a line of ship's.
pub fn clean(text: &str) -> String {
    clean_indented(text.trim())
}

/// The same, with the spaces that it begins with: a log's indentation tells something.
pub fn clean_indented(text: &str) -> String {
    let visible = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' => Some(' '),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    });
    visible.collect()
}

/// A line of a log: the same, and without the colours that it was written with.
pub fn clean_log(text: &str) -> String {
    clean_indented(&anstream::adapter::strip_str(text.trim_end()).to_string())
}

/// Characters that take no room but change what stands beside them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The columns that a text takes, counted on the safe side: character by character.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The text in at most `max` columns; what is cut off is marked.
pub fn fit(text: &str, max: usize, ellipsis: &str) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(width(ellipsis));
    let mut kept = head(text, room).to_owned();
    kept.push_str(head(ellipsis, max));
    kept
}

/// As much of the text's beginning as has room in `max` columns.
pub fn head(text: &str, max: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > max
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The text followed by spaces up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// An age as Kubernetes prints it: `14s`, `4m`, `2h`, `3d`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_move_the_cursor_or_add_a_line() {
        assert_eq!(
            clean("\x1b[2Jall\twell\r\nreally\u{202e}!\n"),
            "[2Jall well  really!"
        );
    }

    #[test]
    fn a_line_of_a_log_loses_its_colours_and_keeps_its_indentation() {
        assert_eq!(
            clean_log("\x1b[1;31m  error\x1b[0m:\tno \x07device\x1b]0;title\x07 \r"),
            "  error: no device"
        );
    }

    #[test]
    fn a_text_too_long_is_cut_at_a_whole_character() {
        assert_eq!(fit("灰度发布", 8, "…"), "灰度发布");
        assert_eq!(fit("灰度发布", 7, "…"), "灰度发…");
        assert_eq!(fit("灰度发布", 6, "…"), "灰度…");
        assert_eq!(fit("rollout", 2, "..."), "..");
        assert_eq!(fit("rollout", 0, "…"), "");
    }

    #[test]
    fn ages_read_as_kubernetes_prints_them() {
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"]);
    }

    #[test]
    fn the_locale_says_which_signs_can_be_shown() {
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
