//! Lines of logs on stdout: for people, with a colour for each host, or for programs.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::super::args::Form;
use super::super::exit::{Exit, Fail};
use crate::core::ids::{HostId, Port};
use crate::core::time::Time;
use crate::report::clock::rfc3339;
use crate::report::{LocalClock, text};

/// For one host after the other.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// A line that an instance has written, or that was written about it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Option<Time>,
    pub(super) host: HostId,
    pub(super) port: Option<Port>,
    pub(super) text: String,
}

/// What a reader sees.
pub(super) struct Page {
    form: Form,
    clock: LocalClock,
    colours: BTreeMap<HostId, Style>,
    width: usize,
}

impl Page {
    /// For lines of these hosts.
    pub(super) fn new(form: Form, hosts: &[HostId], ports: &[Port]) -> Self {
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
        let port = ports
            .iter()
            .map(|port| port.to_string().len())
            .max()
            .unwrap_or(0);
        Self {
            form,
            clock: LocalClock::local(),
            colours,
            width: host + 1 + port,
        }
    }

    /// Writes lines; whether anybody still reads.
    pub(super) fn write(&self, lines: &[Line]) -> Result<bool, Fail> {
        let text: String = lines.iter().map(|line| self.line(line)).collect();
        write(&text)
    }

    fn line(&self, line: &Line) -> String {
        let Line {
            at,
            host,
            port,
            text,
        } = line;
        if self.form == Form::Json {
            return json(line);
        }
        let label = port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
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

fn json(line: &Line) -> String {
    let mut object = Map::new();
    if let Some(at) = line.at {
        object.insert("time".to_owned(), rfc3339(at).into());
        object.insert("at".to_owned(), at.0.into());
    }
    object.insert("host".to_owned(), line.host.as_str().into());
    object.insert("port".to_owned(), line.port.into());
    object.insert("text".to_owned(), line.text.as_str().into());
    format!("{}\n", Value::from(object))
}

/// Writes to stdout; whether anybody still reads.
pub(super) fn write(text: &str) -> Result<bool, Fail> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Fail::new(
            Exit::Internal,
            format!("error: cannot write to stdout: {error}"),
        )),
    }
}
