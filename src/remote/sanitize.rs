//! Turns the output of hosts and programs into one line of a message.

/// How many lines are kept: the last ones.
const LINES_MAX: usize = 4;
const LINE_CHARS_MAX: usize = 300;

/// The last lines with a letter or digit, joined. Sequences that would move a terminal's cursor
/// or colour it are removed.
pub(super) fn clean(text: &str) -> String {
    clean_lines(text.lines())
}

/// Like [`clean`], for selected lines of a text.
pub(super) fn clean_lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        let line = printable(line);
        let line = line.trim();
        if line.chars().any(char::is_alphanumeric) && kept.last().is_none_or(|last| last != line) {
            kept.push(line.chars().take(LINE_CHARS_MAX).collect());
        }
    }
    kept.split_off(kept.len().saturating_sub(LINES_MAX))
        .join("; ")
}

/// Removes control characters, escape sequences and marks that reorder text.
fn printable(line: &str) -> String {
    let mut kept = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // A control sequence ends with a letter or another character from `@` on.
            while chars.next_if(|c| !('@'..='~').contains(c)).is_some() {}
            chars.next();
        } else if c == '\t' {
            kept.push(' ');
        } else if !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_limits_the_length_and_removes_control_sequences() {
        assert_eq!(
            clean("\r\n@@@@@@\n\u{1b}[1;31mDenied\u{1b}[0m\r\nDenied\u{7}\n\tby\u{202e} policy\n"),
            "Denied; by policy"
        );
        assert_eq!(clean("1\n2\n3\n4\n5\n6"), "3; 4; 5; 6");
        assert_eq!(clean(&"x".repeat(1000)).len(), LINE_CHARS_MAX);
        assert_eq!(clean("\n----\n"), "");
        assert_eq!(clean("\u{1b}[2"), "");
    }
}
