//! `ship status`: shows the instances of the service. It observes the hosts, takes no lock and
//! changes nothing.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use super::args::StatusArgs;
use super::exit::{CliError, Exit};
use super::output::print_while_read;
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::notice::deployed_elsewhere;
use crate::app::verbs::status::{Observer, ServiceStatus};
use crate::report;
use crate::report::LocalClock;

const REFRESH: Duration = Duration::from_secs(1);
/// Clears the terminal.
pub(super) const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `--watch` prints before each status.
#[derive(Clone, Copy)]
enum WatchHeading {
    None,
    Time,
    /// On a terminal, each status replaces the one before.
    ClearAndTime,
}

impl WatchHeading {
    fn text(self, seen: &ServiceStatus) -> String {
        let clear = match self {
            WatchHeading::None => return String::new(),
            WatchHeading::Time => "",
            WatchHeading::ClearAndTime => CLEAR,
        };
        let (service, fleet) = (&seen.status.service, &seen.status.fleet);
        let title = report::text::clean(&format!("{service} on {fleet}"));
        let time = LocalClock::local().day_and_time(seen.now);
        format!("{clear}{title}, {time}\n\n")
    }
}

pub(super) async fn run(args: StatusArgs) -> Result<Exit, CliError> {
    let mut observer = Observer::open(&terminal::quiet(args.inventory))?;
    if args.watch {
        return watch(&mut observer, args.output.output).await;
    }
    show(&mut observer, args.output.output, WatchHeading::None)
        .await
        .map(|_| Exit::Done)
}

async fn watch(observer: &mut Observer, format: OutputFormat) -> Result<Exit, CliError> {
    let heading = if std::io::stdout().is_terminal() {
        WatchHeading::ClearAndTime
    } else {
        WatchHeading::Time
    };
    repeat(async || {
        observer.refresh()?;
        show(observer, format, heading).await
    })
    .await
}

/// Shows the status every second, until Ctrl-C or until the reader has closed the pipe.
pub(super) async fn repeat(
    mut show: impl AsyncFnMut() -> Result<ControlFlow<()>, CliError>,
) -> Result<Exit, CliError> {
    let mut interrupts = terminal::listen()?;
    loop {
        tokio::select! {
            shown = show() => if shown?.is_break() {
                return Ok(Exit::Done);
            },
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH) => {}
            _ = interrupts.recv() => return Ok(Exit::Done),
        }
    }
}

/// Prints the status once. Breaks if the reader has closed the pipe.
async fn show(
    observer: &mut Observer,
    format: OutputFormat,
    heading: WatchHeading,
) -> Result<ControlFlow<()>, CliError> {
    let seen = observer.observe().await?;
    let shown = match format {
        OutputFormat::Json => format!("{}\n", json(seen)),
        OutputFormat::Text => format!("{}{}", heading.text(&seen), text(seen)),
    };
    print_while_read(&shown)
}

pub(super) fn json(seen: ServiceStatus) -> serde_json::Value {
    let by = controller(&seen);
    let frozen = frozen(&seen);
    let mut object = serde_json::to_value(&seen.status).unwrap_or_default();
    object["rollout"] = serde_json::to_value(&seen.summary).unwrap_or_default();
    object["locked_by"] = by.into();
    object["frozen"] = frozen.into();
    object["last_deployed_elsewhere"] = seen.elsewhere.map(|owner| owner.to_string()).into();
    object
}

pub(super) fn text(seen: ServiceStatus) -> String {
    let (by, frozen) = (controller(&seen), frozen(&seen));
    let mut lines = seen
        .summary
        .map(|summary| summary.lines(by.as_deref(), seen.now))
        .unwrap_or_default();
    lines.extend(
        seen.request
            .map(|request| format!("{} requested: {}", request.by, request.command.verb())),
    );
    lines.extend(frozen);
    let due = seen.contracts_due.into_iter();
    lines.extend(due.map(|name| format!("migration {name} is pending; run `ship migrate`")));
    let failed_hosts = seen.status.failed_hosts.iter();
    lines.extend(failed_hosts.map(|failed| format!("failed host: {}", failed.why)));
    let elsewhere = seen.elsewhere.map(|owner| owner.describe(seen.now));
    lines.extend(elsewhere.map(|owner| deployed_elsewhere(&owner)));
    let lines = lines.iter().fold(String::new(), |text, line| {
        text + &report::text::clean_indented(line) + "\n"
    });
    format!(
        "{}{lines}",
        report::table::status(&seen.status, &LocalClock::local())
    )
}

fn controller(seen: &ServiceStatus) -> Option<String> {
    seen.holder
        .as_ref()
        .map(|holder| format!("{}@{} (pid {})", holder.owner, holder.host, holder.pid))
}

fn frozen(seen: &ServiceStatus) -> Option<String> {
    seen.freeze
        .as_ref()
        .map(|freeze| format!("frozen by {freeze}"))
}
