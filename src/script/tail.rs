//! The last lines of an instance's log.

use super::reply::Unreadable;
use super::site::{Input, Script, Site, Text, WORK};
use crate::core::names::Port;

/// Prints the last lines of the log of the instance in a slot: its log file, or its journal. For [`read_tail`].
pub fn tail(site: &Site, port: Port, lines: u32) -> Script {
    Text::located(site)
        .set("PORT", port)
        .set("LINES_MAX", lines)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/log_of.sh"))
        .add(include_str!("sh/tail.sh"))
        .script(Input::default(), WORK)
}

/// Reads what [`tail`] has printed. What would move a terminal's cursor or colour it is left out.
///
/// # Errors
/// If the script did not come to its end.
pub fn read_tail(stdout: &str) -> Result<Vec<String>, Unreadable> {
    let log = stdout.strip_suffix("\nend=done\n").ok_or(Unreadable::NoEnd)?;
    Ok(log.lines().map(|line| line.chars().filter(|c| !c.is_control() || *c == '\t').collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_as_it_is_but_for_what_moves_the_cursor() {
        assert_eq!(read_tail("\nend=done\n").expect("read"), Vec::<String>::new());
        assert_eq!(read_tail("one\n\ntwo\n\nend=done\n").expect("read"), ["one", "", "two"]);
        assert_eq!(read_tail("no newline\nend=done\n").expect("read"), ["no newline"]);
        assert_eq!(read_tail("\u{1b}[2Jred\r\n\nend=done\n").expect("read"), ["[2Jred"]);
    }

    #[test]
    fn a_log_that_breaks_off_is_not_taken_for_whole() {
        assert_eq!(read_tail("one\ntwo\n"), Err(Unreadable::NoEnd));
    }
}
