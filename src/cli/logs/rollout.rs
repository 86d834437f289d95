//! Prints the log of a rollout.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::super::shared_args::OutputFormat;
use super::output::write;
use crate::app::error::Error;
use crate::app::verbs::logs::rollout::LoggedLine;
use crate::app::verbs::logs::sink::LineSink;
use crate::report::{LocalClock, text};

/// Indents the second and further lines of a message to where the first one begins.
const INDENT: &str = "                     ";

/// Prints the log of a rollout.
pub(super) struct RolloutPrinter {
    form: OutputFormat,
    clock: LocalClock,
}

impl RolloutPrinter {
    pub(super) fn new(form: OutputFormat) -> Self {
        let clock = LocalClock::local();
        Self { form, clock }
    }

    fn line(&self, line: &LoggedLine) -> String {
        if self.form == OutputFormat::Json {
            return format!("{}\n", line.text);
        }
        let text = |key: &str| {
            let field = line.fields.get(key);
            field.and_then(Value::as_str).unwrap_or_default()
        };
        let level = text("level");
        let style = style(level);
        let mut lines = text("message").lines().map(text::clean_indented);
        let head = lines.next().unwrap_or_default();
        let mut shown = format!(
            "{}  {style}{level:<5}{style:#}  {head}",
            self.clock.milliseconds_of_day(line.at)
        );
        if !line.fields.contains_key("event") {
            shown.push_str(&other_fields(&line.fields));
        }
        shown.push('\n');
        for more in lines {
            // Writing to a string does not fail.
            let _ = writeln!(shown, "{INDENT}{more}");
        }
        shown
    }
}

impl LineSink<LoggedLine> for RolloutPrinter {
    fn write(&self, lines: &[LoggedLine]) -> Result<ControlFlow<()>, Error> {
        let text: String = lines.iter().map(|line| self.line(line)).collect();
        write(&text)
    }
}

/// The further fields of a line that is not an event: `  (host=web1, tries=2)`.
fn other_fields(object: &Map<String, Value>) -> String {
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
