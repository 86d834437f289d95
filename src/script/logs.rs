//! Reads the logs of the instances in a host's slots: past lines, and new ones.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::host_context::{HostContext, Input, Script, Text, WORK, driver_word};
use crate::core::ids::SlotNumber;
use crate::core::printable::strip_controls_but_tabs;
use crate::core::release::Driver;
use crate::core::time::Time;

/// How long a script follows the log. After that, the host ends the script and the reader starts a
/// new one.
const FOLLOW_DURATION: Duration = Duration::from_hours(24);

#[derive(Clone, Debug)]
pub struct LogQuery {
    /// The slots whose past lines are requested.
    pub history_slots: BTreeSet<SlotNumber>,
    /// The limit of past lines of each slot.
    pub lines_max: u32,
    pub range: LogRange,
}

/// Which past lines are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRange {
    /// Those of the instance in the slot.
    Instance,
    /// Those of the instance in the slot until systemd last restarted it. They end with the reason
    /// why it exited.
    InstanceBeforeRestart,
    /// Those since a time, also of the previous instance. A log file contains no times: if the file
    /// was modified since then, all of its last lines are included.
    Since(Time),
}

/// How to follow the log.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The slots to follow, whatever runs in them.
    pub slots: BTreeSet<SlotNumber>,
    /// The drivers that may supervise instances here.
    pub drivers: BTreeSet<&'static str>,
    /// The time of the newest line that was read, to continue there after an interruption.
    pub resume: Option<Time>,
    /// The script ends after this time without a heartbeat of the reader.
    pub silence: Duration,
}

/// A line printed by [`logs`] or [`follow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLine {
    /// The script has started. Earlier lines come from a login shell.
    Started,
    /// From here on, entries of the journal may be repeated.
    Live,
    /// A line of an instance or about it.
    Line(CapturedLog),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedLog {
    /// The slot, if it is known.
    pub number: Option<SlotNumber>,
    /// `None` if the log has no times.
    pub at: Option<Time>,
    /// The position in the journal.
    pub cursor: Option<String>,
    pub text: String,
}

pub fn logs(context: &HostContext, query: &LogQuery) -> Script {
    text(context, query)
        .add(include_str!("sh/log_history.sh"))
        .script(Input::default(), WORK * 3)
}

/// Prints past lines, and then new ones.
pub fn follow(context: &HostContext, query: &LogQuery, follow: &Follow) -> Script {
    let drivers: Vec<_> = follow.drivers.iter().copied().collect();
    text(context, query)
        .set("FOLLOWED_SLOTS", list(&follow.slots))
        .set("DRIVERS", drivers.join(" "))
        .set("RESUME_S", follow.resume.map(seconds).unwrap_or_default())
        .set("SILENCE_S", follow.silence.as_secs())
        .add(include_str!("sh/follow.sh"))
        .script(Input::default(), FOLLOW_DURATION)
}

/// A driver's name in the script.
pub fn log_driver(driver: Driver) -> &'static str {
    driver_word(driver)
}

fn text(context: &HostContext, query: &LogQuery) -> Text {
    let (since, before_restart) = match query.range {
        LogRange::Since(time) => (Some(time), ""),
        LogRange::Instance => (None, ""),
        LogRange::InstanceBeforeRestart => (None, "yes"),
    };
    Text::located(context)
        .set("HISTORY_SLOTS", list(&query.history_slots))
        .set("LINES_MAX", query.lines_max)
        .set("SINCE_S", since.map(seconds).unwrap_or_default())
        .set("BEFORE_RESTART", before_restart)
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/find_log.sh"))
        .add(include_str!("sh/logs.sh"))
}

fn list(slots: &BTreeSet<SlotNumber>) -> String {
    slots
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn seconds(time: Time) -> String {
    (time.0 / 1000).to_string()
}

/// The relevant fields of a journal entry.
#[derive(Deserialize)]
struct JournalEntry {
    #[serde(rename = "__CURSOR")]
    cursor: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at_us: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    /// The unit that an entry of systemd is about.
    #[serde(rename = "UNIT")]
    about: Option<Value>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    by: Option<Value>,
}

/// Parses a line; `None` for an invalid line, and before [`LogLine::Started`].
pub fn read_log_line(line: &str) -> Option<LogLine> {
    match line {
        "ship=1" => return Some(LogLine::Started),
        "live" => return Some(LogLine::Live),
        _ => {}
    }
    if !line.starts_with('{') {
        let (number, text) = line.split_once(' ')?;
        let captured = CapturedLog {
            number: Some(number.parse().ok()?),
            at: None,
            cursor: None,
            text: text.to_owned(),
        };
        return Some(LogLine::Line(captured));
    }
    let entry: JournalEntry = serde_json::from_str(line).ok()?;
    let number = [&entry.about, &entry.by]
        .into_iter()
        .flatten()
        .find_map(|unit| slot_of(unit.as_str()?));
    let at = entry
        .at_us
        .and_then(|us| us.parse::<u64>().ok())
        .map(|us| Time(us / 1000));
    Some(LogLine::Line(CapturedLog {
        number,
        at,
        cursor: entry.cursor,
        text: text_of(&entry.message)?,
    }))
}

/// The last lines of one slot in the output of [`logs`]. Characters that would move a terminal's
/// cursor or colour it are removed.
pub fn read_log_tail(stdout: &str, lines_max: u32) -> Vec<String> {
    let texts = stdout
        .lines()
        .filter_map(|line| match read_log_line(line)? {
            LogLine::Line(line) => Some(line.text),
            LogLine::Started | LogLine::Live => None,
        });
    let printable = |line: &str| strip_controls_but_tabs(line).collect();
    let mut lines: Vec<String> = texts
        .flat_map(|text| text.split('\n').map(printable).collect::<Vec<_>>())
        .collect();
    let max = usize::try_from(lines_max).unwrap_or(usize::MAX);
    lines.split_off(lines.len().saturating_sub(max))
}

/// `8081` for `ship-page@8081.service`.
fn slot_of(unit: &str) -> Option<SlotNumber> {
    unit.strip_suffix(".service")?
        .rsplit_once('@')?
        .1
        .parse()
        .ok()
}

/// The text of a message, which may be a string, bytes, or an array of these.
fn text_of(message: &Value) -> Option<String> {
    match message {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) if parts.iter().all(Value::is_u64) => {
            let bytes: Vec<u8> = parts
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Array(parts) => Some(
            parts
                .iter()
                .filter_map(text_of)
                .collect::<Vec<_>>()
                .join(" "),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::script::logs::*;

    fn parsed(line: &str) -> CapturedLog {
        match read_log_line(line) {
            Some(LogLine::Line(line)) => line,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn log_file_lines_start_with_the_slot() {
        let line = parsed("8081   two words ");
        assert_eq!(
            (line.number, line.at, line.text.as_str()),
            (Some(8081), None, "  two words ")
        );
        assert_eq!(parsed("8082 ").text, "");
        assert_eq!(read_log_line("Welcome to web1"), None);
        assert_eq!(read_log_line("70000 no port"), None);
        assert_eq!(read_log_line(""), None);
    }

    #[test]
    fn journal_entries_have_a_time_a_cursor_and_a_slot() {
        let own = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1489027386120999","MESSAGE":"ready","_SYSTEMD_UNIT":"ship-page@8081.service"}"#;
        let cursor = Some("s=1".to_owned());
        let at = Some(Time(1_489_027_386_120));
        assert_eq!(
            parsed(own),
            CapturedLog {
                number: Some(8081),
                at,
                cursor,
                text: "ready".to_owned()
            }
        );
        let about = r#"{"MESSAGE":"Started","UNIT":"ship-page.liveness@8082.service","_SYSTEMD_UNIT":"init.scope"}"#;
        assert_eq!(parsed(about).number, Some(8082));
    }

    #[test]
    fn journal_messages_with_invalid_utf8_are_converted() {
        assert_eq!(parsed(r#"{"MESSAGE":[99,97,102,233]}"#).text, "caf\u{fffd}");
        assert_eq!(parsed(r#"{"MESSAGE":["one","two"]}"#).text, "one two");
        assert_eq!(read_log_line(r#"{"MESSAGE":null}"#), None);
        assert_eq!(read_log_line(r#"{"MESSAGE":"#), None);
    }

    #[test]
    fn log_tail_has_the_newest_lines_without_control_characters() {
        let printed =
            "\nship=1\n8081 one\n8081 \u{1b}[2Jtwo\r\n8081 \n{\"MESSAGE\":\"three\\nfour\"}\n";
        assert_eq!(read_log_tail(printed, 3), ["", "three", "four"]);
        assert_eq!(
            read_log_tail(printed, 9),
            ["one", "[2Jtwo", "", "three", "four"]
        );
        assert_eq!(read_log_tail("\nship=1\n", 9), Vec::<String>::new());
    }
}
