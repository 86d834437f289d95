//! Text from outside, without what would move a terminal's cursor or change its colours.

/// Leaves out control characters, line breaks too.
pub fn strip_controls(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control())
}

/// Leaves out control characters, but keeps the tabs by which a line of output may be laid out.
pub fn strip_controls_but_tabs(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control() || *c == '\t')
}
