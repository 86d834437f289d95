//! Reads and follows the log of a rollout.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::sleep;

use super::growing_file::GrowingFile;
use super::request::LogRequest;
use super::sink::LineSink;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Internal};
use crate::app::notice::Notice;
use crate::app::report_page::ReportInput;
use crate::app::rollout_choice;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::time::Time;
use crate::store::RolloutId;
use crate::store::StoreAccess;
use crate::trust;

/// How often to check for new lines.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A line of the log of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedLine {
    pub at: Time,
    /// The line in the file: a JSON object.
    pub text: String,
    pub fields: Map<String, Value>,
}

impl LoggedLine {
    /// `None` for a line that is incomplete because the disk was full.
    fn read(text: &str) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_str(text).ok()?;
        let at: jiff::Timestamp = fields.get("time")?.as_str()?.parse().ok()?;
        Some(Self {
            at: Time(u64::try_from(at.as_millisecond()).ok()?),
            text: text.to_owned(),
            fields,
        })
    }
}

/// Where the log of a rollout is read.
enum LogSource {
    /// The file that ship wrote on this machine.
    File(PathBuf, GrowingFile),
    /// The journal, because another machine carried out the rollout. Has the number of events that
    /// were read.
    Journal(usize),
}

/// The log of a rollout, which may still be running.
pub struct RolloutLogFile {
    session: Session,
    rollout: RolloutId,
    source: LogSource,
    request: LogRequest,
}

impl RolloutLogFile {
    /// Opens the log of a rollout: a number, or `last`.
    ///
    /// # Errors
    /// If the rollout or its log does not exist.
    pub fn open(
        env: &Arc<dyn Environment>,
        which: &str,
        request: LogRequest,
    ) -> Result<Self, Error> {
        let overrides = Overrides::default();
        let session = Session::open(env, &overrides, Reading::WithoutHosts, StoreAccess::Read)?;
        let store = &session.store;
        let rollout = rollout_choice::find(&**env, &**store.lock(), &session.service_key, which)?;
        let path = session.state_dir.run_log(rollout);
        let source = match GrowingFile::open(&path) {
            Ok(_) if is_of_other_history(&session, rollout, &path)? => LogSource::Journal(0),
            Ok(file) => LogSource::File(path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => LogSource::Journal(0),
            Err(error) => return Err(unreadable(&path, error)),
        };
        Ok(Self {
            session,
            rollout,
            source,
            request,
        })
    }

    /// Shows the log, and follows it on request.
    ///
    /// # Errors
    /// If the log cannot be read or written.
    pub async fn show(mut self, sink: &dyn LineSink<LoggedLine>) -> Result<(), Error> {
        let lines = self.read_lines()?;
        let since = self.request.since;
        let is_wanted = |line: &LoggedLine| since.is_none_or(|since| line.at >= since);
        let wanted: Vec<_> = parse(&lines).filter(is_wanted).collect();
        let first = self.request.lines.map_or(0, |n| {
            wanted
                .len()
                .saturating_sub(usize::try_from(n).unwrap_or(usize::MAX))
        });
        if sink.write(&wanted[first..])?.is_break() || !self.request.follow || has_ended(&lines) {
            return Ok(());
        }
        self.follow(sink).await
    }

    /// Follows the log until the rollout or its controller has ended.
    async fn follow(&mut self, sink: &dyn LineSink<LoggedLine>) -> Result<(), Error> {
        let mut interrupts = self.session.env.listen()?;
        loop {
            // Check this before reading: the controller writes its last lines before it exits.
            let records = self.session.records()?;
            let has_live_controller = records.holder(&self.session.env.machine()).is_some()
                && records.newest_rollout() == Some(self.rollout);
            let lines = self.read_lines()?;
            let further: Vec<_> = parse(&lines).collect();
            if sink.write(&further)?.is_break() || has_ended(&lines) {
                return Ok(());
            }
            if !has_live_controller {
                self.session.env.notify(&Notice::RolloutAbandoned);
                return Ok(());
            }
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                _ = interrupts.recv() => return Ok(()),
            }
        }
    }

    fn read_lines(&mut self) -> Result<Vec<String>, Error> {
        match &mut self.source {
            LogSource::File(path, file) => {
                file.read_lines().map_err(|error| unreadable(path, error))
            }
            LogSource::Journal(read) => {
                let input = ReportInput::read(&self.session, self.rollout, None)?;
                let lines = input.log_lines(*read);
                *read += lines.len();
                Ok(lines)
            }
        }
    }
}

/// Whether the log on this machine belongs to a rollout of the same number in another history: the
/// state directory may have had its own, or serve inventories with several databases.
fn is_of_other_history(session: &Session, rollout: RolloutId, path: &Path) -> Result<bool, Error> {
    let file = trust::open_own(path).map_err(|error| unreadable(path, error))?;
    // The event is among the first lines of a log that may be long.
    let started = BufReader::new(file)
        .split(b'\n')
        .map_while(Result::ok)
        .filter_map(|line| LoggedLine::read(&String::from_utf8_lossy(&line)))
        .find(|line| line.fields.get("event") == Some(&"rollout_started".into()));
    let Some(logged) = started else {
        return Ok(false);
    };
    let journal = session.store.lock().journal(rollout)?;
    let at = logged.fields.get("at").and_then(Value::as_u64);
    Ok(journal.first().is_some_and(|first| Some(first.at.0) != at))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let path = path.to_owned();
    Internal::UnreadableLog { path, error }.into()
}

fn parse(lines: &[String]) -> impl Iterator<Item = LoggedLine> {
    lines.iter().filter_map(|line| LoggedLine::read(line))
}

fn has_ended(lines: &[String]) -> bool {
    let is_end = |line: &String| line.contains(r#""event":"rollout_finished""#);
    lines.iter().any(is_end)
}
