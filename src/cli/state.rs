//! `ship state`: shows where the state is, and moves it.

use std::fmt::Write as _;

use serde_json::json;

use super::args::{StateArgs, StateMoveArgs, StateShowArgs, StateVerb};
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::verbs::state::{self, LOCAL, StateMove};
use crate::report::{LocalClock, text};
use crate::store::{Holder, ServiceKey, StoreFacts, this_machine};

pub(super) async fn run(args: StateArgs) -> Result<Exit, CliError> {
    match args.verb {
        StateVerb::Show(args) => show(args),
        StateVerb::Move(args) => move_to(args).await,
    }
}

fn show(args: StateShowArgs) -> Result<Exit, CliError> {
    let facts = state::show(&terminal::quiet_machine(args.inventory))?;
    print(&match args.output.output {
        OutputFormat::Json => format!("{}\n", facts_object(&facts)),
        OutputFormat::Text => facts_text(&facts),
    })
}

fn facts_object(facts: &StoreFacts) -> serde_json::Value {
    let holder = |(service_key, holder): &(ServiceKey, Holder)| {
        json!({
            "service": service_key.service, "fleet": service_key.fleet, "user": holder.owner,
            "host": holder.host, "pid": holder.pid, "command": holder.run, "since": holder.since,
        })
    };
    json!({
        "location": facts.location,
        "since": facts.since,
        "size_bytes": facts.size_bytes,
        "services": facts.services,
        "revisions": facts.revisions,
        "rollouts": facts.rollouts,
        "locks": facts.holders.iter().map(holder).collect::<Vec<_>>(),
    })
}

fn facts_text(facts: &StoreFacts) -> String {
    let clock = LocalClock::local();
    let mut text = format!("location   {}\n", facts.location);
    let mut line = |label: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{label:<10} {value}");
    };
    match facts.since {
        Some(since) => line("since", clock.day_and_time(since)),
        None => line("since", "not used yet".to_owned()),
    }
    line("size", text::size(facts.size_bytes));
    line(
        "contents",
        format!(
            "{}, {}, {}",
            counted(facts.services, "service"),
            counted(facts.revisions, "revision"),
            counted(facts.rollouts, "rollout")
        ),
    );
    for (service_key, holder) in &facts.holders {
        let is_dead = holder.is_dead(&this_machine());
        line(
            "locked",
            format!(
                "service `{}` on fleet `{}` by {}@{} (pid {}, {}) since {}{}",
                service_key.service,
                service_key.fleet,
                holder.owner,
                holder.host,
                holder.pid,
                holder.run,
                clock.day_and_time(holder.since),
                if is_dead {
                    ", by a process that has ended"
                } else {
                    ""
                }
            ),
        );
    }
    if facts.holders.is_empty() {
        line("locked", "no".to_owned());
    }
    text
}

async fn move_to(args: StateMoveArgs) -> Result<Exit, CliError> {
    let machine = terminal::quiet_machine(args.inventory);
    let moved = state::move_to(&machine, &args.destination, args.lock.lock_timeout).await?;
    print(&match args.output.output {
        OutputFormat::Json => format!("{}\n", move_object(&moved)),
        OutputFormat::Text => move_text(&moved, &args.destination),
    })
}

fn move_object(moved: &StateMove) -> serde_json::Value {
    json!({
        "from": moved.from,
        "to": moved.to,
        "services": moved.copied.services,
        "revisions": moved.copied.revisions,
        "rollouts": moved.copied.rollouts,
        "events": moved.copied.events,
    })
}

/// `destination` is as the user wrote it: the location does not contain options such as `sslmode`.
fn move_text(moved: &StateMove, destination: &str) -> String {
    let copied = &moved.copied;
    let inventory = moved.inventory.display();
    let next = match (destination == LOCAL, moved.has_state_table) {
        (true, _) => format!("next: remove `[state]` from {inventory}\n"),
        (false, true) => {
            format!("next: set `[state]` in {inventory} to `url = \"{destination}\"`\n")
        }
        (false, false) => {
            format!("next: add this to {inventory}:\n\n[state]\nurl = \"{destination}\"\n")
        }
    };
    format!(
        "moved {}, {}, {} and {} from {} to {}\n{next}",
        counted(copied.services, "service"),
        counted(copied.revisions, "revision"),
        counted(copied.rollouts, "rollout"),
        counted(copied.events, "event"),
        moved.from,
        moved.to
    )
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
