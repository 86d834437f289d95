//! Removes control characters from external text, which could move a terminal's cursor or change
//! its colours.

/// Removes control characters, including line breaks.
pub fn strip_controls(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control())
}

/// Removes control characters except for tabs, which may align the columns of output.
pub fn strip_controls_but_tabs(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control() || *c == '\t')
}
