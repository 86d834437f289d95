//! The log of a rollout: all that happened and all that was tried.

use std::fmt::Write as _;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use tokio::time::sleep;

use super::super::args::Form;
use super::super::exit::{Exit, Fail};
use super::super::output::note;
use super::super::terminal;
use super::page;
use super::request::LogRequest;
use crate::app::error::{Error, Refused};
use crate::app::session::Session;
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::{LocalClock, text};
use crate::store::{RolloutId, RolloutRecord};
use crate::trust;

/// How often to look whether there is more.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where a message begins: below it go its further lines.
const INDENT: &str = "                     ";

/// Shows the log of the rollout that is named, or of the last one.
pub(super) async fn show(
    session: &Session,
    which: &str,
    wanted: &LogRequest,
) -> Result<Exit, Fail> {
    let rollout = find(session, which)?;
    let path = session.place.run_log(rollout);
    let mut log = GrowingLog::open(&path)?;
    let mut reader = Reader {
        clock: LocalClock::local(),
        form: wanted.output,
        since: wanted.since,
    };
    let lines = log.lines()?;
    let shown: Vec<_> = lines.iter().filter_map(|line| reader.show(line)).collect();
    let first = wanted.lines.map_or(0, |n| {
        shown
            .len()
            .saturating_sub(usize::try_from(n).unwrap_or(usize::MAX))
    });
    if !page::write(&shown[first..].concat())? || !wanted.follow {
        return Ok(Exit::Done);
    }
    reader.since = None;
    let is_over = lines.iter().any(|line| is_end(line));
    if is_over {
        Ok(Exit::Done)
    } else {
        follow(session, rollout, &mut log, &reader).await
    }
}

/// Goes on until the rollout has ended, or whoever carries it out is gone.
async fn follow(
    session: &Session,
    rollout: RolloutId,
    log: &mut GrowingLog,
    reader: &Reader,
) -> Result<Exit, Fail> {
    let mut interrupts = terminal::listen()?;
    loop {
        // In this order: what a process writes last it writes before it is gone.
        let is_carried_out =
            session.is_carried_out()? && session.newest()?.is_some_and(|(id, _)| id == rollout);
        let lines = log.lines()?;
        let shown: String = lines.iter().filter_map(|line| reader.show(line)).collect();
        if !page::write(&shown)? || lines.iter().any(|line| is_end(line)) {
            return Ok(Exit::Done);
        }
        if !is_carried_out {
            note(
                "nobody carries it out any more, and it has not ended; `ship status` shows how it \
                 stands",
            );
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
    }
}

fn find(session: &Session, which: &str) -> Result<RolloutId, Fail> {
    let known = session.store.rollouts(&session.subject)?;
    let Some(newest) = known.last() else {
        return Err(Error::from(Refused::NothingDeployed).into());
    };
    if which == "last" {
        return Ok(newest.id);
    }
    let number = which.parse().ok().map(RolloutId);
    number
        .filter(|number| known.iter().any(|record| record.id == *number))
        .ok_or_else(|| {
            let mut message = format!(
                "error: no rollout {which} of {} is known; there is:",
                session.subject.service
            );
            for record in known.iter().rev() {
                let _ = write!(message, "\n  {}", row(session, record));
            }
            Fail::refused(message)
        })
}

/// `7: 0.9 (revision 3), begun 2026-11-25 02:00:04, rolled-back`.
fn row(session: &Session, record: &RolloutRecord) -> String {
    let version = session
        .history
        .revision(record.revision)
        .map_or("?", |known| known.definition.version.as_str());
    let outcome = record.outcome.as_ref().map_or("running", Outcome::word);
    let began = LocalClock::local().day_and_time(record.began);
    format!(
        "{}: {version} (revision {}), begun {began}, {outcome}",
        record.id.0, record.revision
    )
}

/// A log that may still grow.
struct GrowingLog {
    file: std::fs::File,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
    place: String,
}

impl GrowingLog {
    fn open(path: &Path) -> Result<Self, Fail> {
        let place = path.display().to_string();
        match trust::open_own(path) {
            Ok(file) => Ok(Self {
                file,
                rest: Vec::new(),
                place,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fail::refused(format!(
                "error: there is no log of that rollout at {place}: it was removed, could not be \
                 written, or is of a ship \
                 that wrote none; `ship history` tells how it ended"
            ))),
            Err(error) => Err(failed(&place, &error)),
        }
    }

    /// The lines that have come since, each whole.
    fn lines(&mut self) -> Result<Vec<String>, Fail> {
        let read = self
            .file
            .stream_position()
            .and_then(|at| self.file.seek(SeekFrom::Start(at)));
        read.and_then(|_| self.file.read_to_end(&mut self.rest))
            .map_err(|error| failed(&self.place, &error))?;
        let end = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        Ok(String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect())
    }
}

fn failed(place: &str, error: &io::Error) -> Fail {
    Fail::new(
        Exit::Internal,
        format!("error: the log of the rollout cannot be read ({place}: {error})"),
    )
}

fn is_end(line: &str) -> bool {
    line.contains(r#""event":"rollout_finished""#)
}

struct Reader {
    clock: LocalClock,
    form: Form,
    since: Option<Time>,
}

impl Reader {
    /// A line of the log as the reader wants it; `None` if not at all, or if it was torn by a full
    /// disk.
    fn show(&self, line: &str) -> Option<String> {
        let object: Map<String, Value> = serde_json::from_str(line).ok()?;
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let at: Time = Time(
            u64::try_from(
                text("time")
                    .parse::<jiff::Timestamp>()
                    .ok()?
                    .as_millisecond(),
            )
            .ok()?,
        );
        if self.since.is_some_and(|since| at < since) {
            return None;
        }
        if self.form == Form::Json {
            return Some(format!("{line}\n"));
        }
        let level = text("level");
        let style = style(level);
        let mut lines = text("message").lines().map(text::clean_indented);
        let head = lines.next().unwrap_or_default();
        let mut shown = format!(
            "{}  {style}{level:<5}{style:#}  {head}",
            self.clock.milliseconds_of_day(at)
        );
        if !object.contains_key("event") {
            shown.push_str(&besides(&object));
        }
        shown.push('\n');
        for more in lines {
            let _ = writeln!(shown, "{INDENT}{more}");
        }
        Some(shown)
    }
}

/// The fields of a line that is no event's: `  host=web1 tries=2`.
fn besides(object: &Map<String, Value>) -> String {
    let own = ["time", "level", "message", "module"];
    let fields = object
        .iter()
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}={}", text::clean(text)),
            value => format!("{key}={value}"),
        });
    let fields: Vec<_> = fields.collect();
    if fields.is_empty() {
        String::new()
    } else {
        format!("  ({})", fields.join(", "))
    }
}

fn style(level: &str) -> Style {
    match level {
        "ERROR" => AnsiColor::Red.on_default().bold(),
        "WARN" => AnsiColor::Yellow.on_default(),
        "INFO" => Style::new(),
        _ => Style::new().dimmed(),
    }
}
