//! `ship status`: what runs where. It looks at the hosts, takes no lock and changes nothing.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use super::args::{OutputFormat, StatusArgs};
use super::exit::{CliError, Exit};
use super::output::print_while_read;
use super::terminal;
use crate::app::notice::deployed_elsewhere;
use crate::app::verbs::status::{Observer, ServiceStatus};
use crate::report;

const REFRESH: Duration = Duration::from_secs(1);

pub(super) async fn run(args: StatusArgs) -> Result<Exit, CliError> {
    let mut observer = Observer::open(&terminal::quiet(args.inventory))?;
    if args.watch {
        return watch(&mut observer, args.output.output).await;
    }
    show(&mut observer, args.output.output, "")
        .await
        .map(|_| Exit::Done)
}

async fn watch(observer: &mut Observer, form: OutputFormat) -> Result<Exit, CliError> {
    let mut interrupts = terminal::listen()?;
    let clear = if std::io::stdout().is_terminal() && form == OutputFormat::Text {
        "\x1b[H\x1b[2J"
    } else {
        ""
    };
    loop {
        observer.refresh()?;
        tokio::select! {
            shown = show(observer, form, clear) => if shown?.is_break() {
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

/// Breaks off if nobody reads it any more.
async fn show(
    observer: &mut Observer,
    form: OutputFormat,
    clear: &str,
) -> Result<ControlFlow<()>, CliError> {
    let seen = observer.observe().await?;
    let shown = match form {
        OutputFormat::Json => format!("{}\n", json(seen)),
        OutputFormat::Text => format!("{clear}{}", text(seen)),
    };
    print_while_read(&shown)
}

fn json(seen: ServiceStatus) -> serde_json::Value {
    let by = carried_out_by(&seen);
    let frozen = frozen(&seen);
    let mut object = serde_json::to_value(&seen.status).unwrap_or_default();
    object["rollout"] = serde_json::to_value(&seen.summary).unwrap_or_default();
    object["locked_by"] = by.into();
    object["frozen"] = frozen.into();
    object["last_deployed_elsewhere"] = seen.elsewhere.map(|owner| owner.to_string()).into();
    object
}

fn text(seen: ServiceStatus) -> String {
    let (by, frozen) = (carried_out_by(&seen), frozen(&seen));
    let mut lines = seen
        .summary
        .map(|summary| summary.lines(by.as_deref(), seen.now))
        .unwrap_or_default();
    lines.extend(
        seen.request
            .map(|asked| format!("{} asked to {} it", asked.by, asked.command.verb())),
    );
    lines.extend(frozen);
    let due = seen.contracts_due.into_iter();
    lines.extend(due.map(|name| format!("{name} waits for `ship migrate`")));
    let debt = seen.status.failed_hosts.iter();
    lines.extend(debt.map(|held| format!("left behind: {}", held.why)));
    let elsewhere = seen.elsewhere.map(|owner| owner.told(seen.now));
    lines.extend(elsewhere.map(|owner| deployed_elsewhere(&owner)));
    let lines = lines.iter().fold(String::new(), |text, line| {
        text + &report::text::clean_indented(line) + "\n"
    });
    format!("{}{lines}", report::table::status(&seen.status))
}

fn carried_out_by(seen: &ServiceStatus) -> Option<String> {
    seen.holder
        .as_ref()
        .map(|holder| format!("{}@{} (pid {})", holder.owner, holder.host, holder.pid))
}

fn frozen(seen: &ServiceStatus) -> Option<String> {
    seen.freeze
        .as_ref()
        .map(|freeze| format!("frozen by {freeze}"))
}
