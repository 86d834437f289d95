//! Prints log lines of instances: as text, with a colour for each host, or as JSON.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::super::shared_args::OutputFormat;
use super::output::write;
use crate::app::error::Error;
use crate::app::verbs::logs::host_logs::InstanceLine;
use crate::app::verbs::logs::instances::InstanceLogs;
use crate::app::verbs::logs::sink::LineSink;
use crate::core::ids::HostId;
use crate::report::clock::rfc3339;
use crate::report::{LocalClock, text};

/// Assigned to the hosts in turn.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// Prints log lines of instances.
pub(super) struct InstancePrinter {
    form: OutputFormat,
    has_ports: bool,
    clock: LocalClock,
    colours: BTreeMap<HostId, Style>,
    width: usize,
}

impl InstancePrinter {
    pub(super) fn new(form: OutputFormat, logs: &InstanceLogs) -> Self {
        let (hosts, slots) = (logs.hosts(), logs.slots());
        let colours = hosts
            .iter()
            .cloned()
            .zip(COLOURS.iter().cycle().map(|colour| colour.on_default()))
            .collect();
        let host = hosts
            .iter()
            .map(|host| text::width(host.as_str()))
            .max()
            .unwrap_or(0);
        let number = slots
            .iter()
            .map(|number| number.to_string().len())
            .max()
            .unwrap_or(0);
        Self {
            form,
            has_ports: logs.has_ports(),
            clock: LocalClock::local(),
            colours,
            width: host + 1 + number,
        }
    }

    fn json(&self, line: &InstanceLine) -> String {
        let mut object = Map::new();
        if let Some(at) = line.at {
            object.insert("time".to_owned(), rfc3339(at).into());
            object.insert("at".to_owned(), at.0.into());
        }
        object.insert("host".to_owned(), line.host.as_str().into());
        let port = line.number.filter(|_| self.has_ports);
        object.insert("port".to_owned(), port.into());
        object.insert("slot".to_owned(), line.number.into());
        object.insert("text".to_owned(), line.text.as_str().into());
        format!("{}\n", Value::from(object))
    }

    fn line(&self, line: &InstanceLine) -> String {
        let InstanceLine {
            at,
            host,
            number,
            text,
        } = line;
        if self.form == OutputFormat::Json {
            return self.json(line);
        }
        let label = number.map_or_else(|| host.to_string(), |number| format!("{host}:{number}"));
        let label = text::pad(&text::clean(&label), self.width);
        let style = self.colours.get(host).copied().unwrap_or_default();
        let time = at
            .map(|at| self.clock.precisely(at) + "  ")
            .unwrap_or_default();
        format!("{time}{style}{label}{style:#}  {}\n", text::clean_log(text))
            .trim_end()
            .to_owned()
            + "\n"
    }
}

impl LineSink<InstanceLine> for InstancePrinter {
    fn write(&self, lines: &[InstanceLine]) -> Result<ControlFlow<()>, Error> {
        let text: String = lines.iter().map(|line| self.line(line)).collect();
        write(&text)
    }
}
