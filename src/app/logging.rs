//! Logging: to stderr with `--verbose`, and always to a file for every rollout.
//!
//! The file has one JSON object per line: `time`, `level` and `message`, then, for an event of the
//! rollout, the entry of the journal (`at`, `event` and its fields), and for anything else `module`
//! and the fields. Each line is written at once, so that a process that is killed loses at most the
//! last line. If the log cannot be written, the rollout continues.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt as format};

use super::deployment_page_name::DeploymentPageName;
use super::environment::Environment;
use super::notice::Notice;
use crate::core::stack::DeploymentNumber;
use crate::core::time::Time;
use crate::engine::{Clock as _, SteadyClock};
use crate::report::clock::rfc3339;
use crate::report::event_log::{ENTRY, EventText, ROLLOUT, TARGET};
use crate::store::{RolloutId, StateDir, Store};
use crate::trust;

/// Lines kept in memory until the rollout starts, because they belong to its log.
const BUFFERED_LINES_MAX: usize = 1000;
/// From this size on, a log takes only events and lines of level INFO or above.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The sink of the logs. A process has one subscriber, and one rollout for each service.
static SINK: Mutex<LogSink> = Mutex::new(LogSink::Buffering(VecDeque::new()));

/// Installs the subscriber.
pub fn init(verbose: u8) {
    // The reporter shows events already; do not print them twice.
    let default = match verbose {
        0 => "off".to_owned(),
        1 => format!("ship=debug,{TARGET}=off"),
        _ => format!("trace,{TARGET}=off"),
    };
    let filter = EnvFilter::try_from_env("SHIP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let shown = format::layer().with_writer(io::stderr).with_filter(filter);
    let recorded = LineLayer.with_filter(Targets::new().with_target("ship", LevelFilter::DEBUG));
    tracing_subscriber::registry()
        .with(shown)
        .with(recorded)
        .init();
}

/// The log of a rollout. It is closed when this value is dropped.
#[must_use = "the log is closed when this is dropped"]
pub struct RolloutLog(RolloutId);

impl RolloutLog {
    /// Starts the log of a rollout with the lines from before its start.
    pub fn begin(env: &dyn Environment, state_dir: &StateDir, rollout: RolloutId) -> Self {
        let path = state_dir.run_log(rollout);
        let opened = open(&path);
        if let Err(error) = &opened {
            env.notify(&Notice::NoLog {
                path: path.clone(),
                why: error.to_string(),
            });
        }
        let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        let (buffered, mut open) = match std::mem::replace(&mut *sink, LogSink::closed()) {
            LogSink::Buffering(lines) => (lines, BTreeMap::new()),
            LogSink::Open(logs) => (VecDeque::new(), logs),
        };
        if let Ok(file) = opened {
            let mut log = LogFile {
                file,
                bytes: 0,
                is_torn: false,
            };
            for line in buffered {
                log.write(&line);
            }
            open.insert(rollout, log);
        }
        *sink = LogSink::Open(open);
        drop(sink);
        tracing::debug!(
            rollout = rollout.0,
            pid = std::process::id(),
            version = env!("CARGO_PKG_VERSION"),
            "rollout log started"
        );
        Self(rollout)
    }
}

impl Drop for RolloutLog {
    fn drop(&mut self) {
        let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        if let LogSink::Open(logs) = &mut *sink {
            logs.remove(&self.0);
        }
    }
}

/// Removes the logs of rollouts, and the pages about rollouts and deployments, that are no longer in
/// the history.
pub fn remove_unused_logs(state_dir: &StateDir, stores: &[&dyn Store]) {
    let known: Result<Vec<_>, _> = stores.iter().map(|store| store.rollout_ids()).collect();
    let Ok(known) = known else {
        return;
    };
    let known: BTreeSet<_> = known.into_iter().flatten().collect();
    let mut deployments = BTreeMap::new();
    for entry in std::fs::read_dir(state_dir.runs())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse().ok()).map(RolloutId);
        let is_old_page = stem.and_then(DeploymentPageName::parse).is_some_and(
            |DeploymentPageName { fleet, number }| {
                let known = deployments.entry(fleet);
                let known = known.or_insert_with_key(|fleet| deployments_of(fleet, stores));
                known.as_ref().is_some_and(|known| !known.contains(&number))
            },
        );
        if is_old_page || number.is_some_and(|number| !known.contains(&number)) {
            // Another ship process may have removed it already.
            drop(std::fs::remove_file(path));
        }
    }
}

/// The deployments of a fleet in all stores; `None` if one cannot be read.
fn deployments_of(fleet: &str, stores: &[&dyn Store]) -> Option<BTreeSet<DeploymentNumber>> {
    let all: Result<Vec<_>, _> = stores.iter().map(|it| it.deployments(fleet)).collect();
    Some(
        all.ok()?
            .into_iter()
            .flatten()
            .map(|it| it.number)
            .collect(),
    )
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        trust::make_private_dir(dir)?;
    }
    // The output of services may be confidential.
    let file = trust::private_file().create(true).append(true).open(path)?;
    // A rollout number is reused only if the history no longer has that rollout. Truncation fails
    // for other kinds of files, such as devices.
    drop(file.set_len(0));
    Ok(file)
}

enum LogSink {
    /// No rollout has started yet.
    Buffering(VecDeque<String>),
    /// The logs of the rollouts that run now.
    Open(BTreeMap<RolloutId, LogFile>),
}

impl LogSink {
    /// A sink without a log.
    fn closed() -> Self {
        Self::Open(BTreeMap::new())
    }

    /// Writes a line to the log of its rollout, or to every log if it belongs to none.
    fn write(&mut self, line: String, is_important: bool, rollout: Option<RolloutId>) {
        let logs = match self {
            LogSink::Buffering(lines) => {
                if lines.len() == BUFFERED_LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
                return;
            }
            LogSink::Open(logs) => logs,
        };
        let of_line = logs
            .iter_mut()
            .filter(|(id, _)| rollout.is_none_or(|rollout| rollout == **id));
        for (_, log) in of_line {
            if is_important || log.bytes < LOG_BYTES_MAX {
                log.write(&line);
            }
        }
    }
}

struct LogFile {
    file: File,
    bytes: u64,
    /// Whether the last line is incomplete.
    is_torn: bool,
}

impl LogFile {
    fn write(&mut self, line: &str) {
        let separator = if self.is_torn { "\n" } else { "" };
        let text = format!("{separator}{line}\n");
        self.is_torn = self.file.write_all(text.as_bytes()).is_err();
        self.bytes += text.len() as u64;
    }
}

/// Sends every event to the sink as a line.
struct LineLayer;

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_important =
            *event.metadata().level() <= Level::INFO || event.metadata().target() == TARGET;
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let rollout = fields
            .rollout
            .filter(|_| event.metadata().target() == TARGET);
        let line = line(event.metadata(), fields);
        SINK.lock().unwrap_or_else(PoisonError::into_inner).write(
            line,
            is_important,
            rollout.map(RolloutId),
        );
    }
}

fn line(metadata: &Metadata<'_>, fields: EventFields) -> String {
    let mut line = line_start(SteadyClock.now(), *metadata.level(), fields.message);
    if let Some(entry) = fields.entry.as_deref() {
        append_entry(&mut line, entry);
        return line;
    }
    // Writing to a string does not fail.
    let _ = write!(line, r#","module":{}"#, Value::from(metadata.target()));
    for (name, value) in fields.others {
        let _ = write!(line, ",{}:{value}", Value::from(name));
    }
    line.push('}');
    line
}

/// The line of an event in the journal, as it is in the log of its rollout.
pub(crate) fn entry_line(at: Time, text: EventText) -> String {
    let mut line = line_start(at, text.level, text.message);
    append_entry(&mut line, &text.entry);
    line
}

fn line_start(at: Time, level: Level, message: String) -> String {
    let (time, message) = (rfc3339(at), Value::from(message));
    format!(r#"{{"time":"{time}","level":"{level}","message":{message}"#)
}

/// Appends the entry of the journal, without its opening brace.
fn append_entry(line: &mut String, entry: &str) {
    line.push(',');
    line.push_str(entry.strip_prefix('{').unwrap_or(entry));
}

#[derive(Default)]
struct EventFields {
    message: String,
    entry: Option<String>,
    /// The rollout to which an entry belongs.
    rollout: Option<i64>,
    others: Vec<(&'static str, Value)>,
}

impl EventFields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (ENTRY, Value::String(text)) => self.entry = Some(text),
            (ROLLOUT, Value::Number(id)) if self.rollout.is_none() => {
                self.rollout = id.as_i64();
                self.others.push((field.name(), id.into()));
            }
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_loses_only_log_lines() {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open("/dev/full")
            .unwrap();
        let mut log = LogFile {
            file,
            bytes: 0,
            is_torn: false,
        };
        log.write("a line");
        assert!(log.is_torn, "the next line starts on a new line");
    }
}
