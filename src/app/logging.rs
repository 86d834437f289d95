//! What ship says of its own work: to stderr with `--verbose`, and of every rollout into a file,
//! whatever is said elsewhere.
//!
//! The file has a JSON object a line: `time`, `level` and `message`, then for an event of the
//! rollout the journal's own entry (`at`, `event` and what follows from it), for anything else
//! `module` and its fields. Each line is one write, so that a ship that is killed loses no more
//! than the last one. A log that cannot be written is no reason to stop a rollout.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt as format};

use super::environment::Environment;
use super::notice::Notice;
use crate::engine::{Clock as _, SteadyClock};
use crate::report::clock::rfc3339;
use crate::report::event_log::{ENTRY, TARGET};
use crate::store::{RolloutId, StateDir, Store};
use crate::trust;

/// What was said before the rollout began is kept up to so many lines: it belongs to its log.
const WAITING_LINES_MAX: usize = 1000;
/// From this size on a log takes only what matters, and no more of what was tried.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Where the lines go: the process has one rollout at most, and one subscriber.
static SINK: Mutex<LogSink> = Mutex::new(LogSink::Waiting(VecDeque::new()));

/// Listens from now on.
pub fn begin(verbose: u8) {
    // Whoever sees the reporter needs no second word about the same event.
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

/// The log of a rollout, which is written until this is dropped.
#[must_use = "nothing is written after it is dropped"]
pub struct RolloutLog;

impl RolloutLog {
    /// Begins the log of a rollout, with what was said before.
    pub fn begin(env: &dyn Environment, place: &StateDir, rollout: RolloutId) -> Self {
        let path = place.run_log(rollout);
        let opened = open(&path);
        if let Err(error) = &opened {
            env.tell(&Notice::NoLog {
                path: path.clone(),
                why: error.to_string(),
            });
        }
        let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = match std::mem::replace(&mut *sink, LogSink::Nowhere) {
            LogSink::Waiting(lines) => lines,
            LogSink::Open(_) | LogSink::Nowhere => VecDeque::new(),
        };
        if let Ok(file) = opened {
            let mut log = LogFile {
                file,
                bytes: 0,
                is_torn: false,
            };
            for line in earlier {
                log.write(&line);
            }
            *sink = LogSink::Open(log);
        }
        drop(sink);
        tracing::debug!(
            rollout = rollout.0,
            pid = std::process::id(),
            version = env!("CARGO_PKG_VERSION"),
            "ship begins"
        );
        Self
    }
}

impl Drop for RolloutLog {
    fn drop(&mut self) {
        *SINK.lock().unwrap_or_else(PoisonError::into_inner) = LogSink::Nowhere;
    }
}

/// Removes what is left of rollouts that the history has forgotten: their logs, and what else is
/// named after them.
pub fn forget_gone(place: &StateDir, store: &dyn Store) {
    let Ok(known) = store.rollout_ids() else {
        return;
    };
    for entry in std::fs::read_dir(place.runs())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok())
            .map(RolloutId);
        if number.is_some_and(|number| !known.contains(&number)) {
            // Another ship may have been quicker.
            drop(std::fs::remove_file(path));
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        trust::make_private_dir(dir)?;
    }
    // What the services say of themselves may be nobody else's business.
    let file = trust::private_file().create(true).append(true).open(path)?;
    // A number comes again only where the history has forgotten it; whatever else is there has no
    // length.
    drop(file.set_len(0));
    Ok(file)
}

enum LogSink {
    /// No rollout has begun yet.
    Waiting(VecDeque<String>),
    Open(LogFile),
    Nowhere,
}

impl LogSink {
    fn take(&mut self, line: String, matters: bool) {
        match self {
            LogSink::Waiting(lines) => {
                if lines.len() == WAITING_LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
            LogSink::Open(log) if matters || log.bytes < LOG_BYTES_MAX => log.write(&line),
            LogSink::Open(_) | LogSink::Nowhere => {}
        }
    }
}

struct LogFile {
    file: File,
    bytes: u64,
    /// The last line did not get there whole.
    is_torn: bool,
}

impl LogFile {
    fn write(&mut self, line: &str) {
        let torn_off = if self.is_torn { "\n" } else { "" };
        let text = format!("{torn_off}{line}\n");
        self.is_torn = self.file.write_all(text.as_bytes()).is_err();
        self.bytes += text.len() as u64;
    }
}

/// Makes a line of every event, for the sink.
struct LineLayer;

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let matters =
            *event.metadata().level() <= Level::INFO || event.metadata().target() == TARGET;
        let line = line(event);
        SINK.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(line, matters);
    }
}

fn line(event: &Event<'_>) -> String {
    let mut fields = EventFields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    let (time, message) = (rfc3339(SteadyClock.now()), Value::from(fields.message));
    let mut line = format!(
        r#"{{"time":"{time}","level":"{}","message":{message}"#,
        metadata.level()
    );
    if let Some(entry) = fields
        .entry
        .as_deref()
        .and_then(|entry| entry.strip_prefix('{'))
    {
        // As the journal has it.
        line.push(',');
        line.push_str(entry);
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

#[derive(Default)]
struct EventFields {
    message: String,
    entry: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl EventFields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (ENTRY, Value::String(text)) => self.entry = Some(text),
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
    fn full_disk_loses_lines_and_nothing_else() {
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
        assert!(log.is_torn, "the next line begins anew");
    }
}
