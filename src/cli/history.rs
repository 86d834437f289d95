//! `ship history`: prints all revisions, or one in full.

use std::fmt::Write as _;

use super::args::HistoryArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::verbs::history::{RevisionDetails, history, revision};
use crate::core::ids::Revision;
use crate::core::time::Human;
use crate::report::text::clean;
use crate::report::{LocalClock, table};

pub(super) fn run(args: HistoryArgs) -> Result<Exit, CliError> {
    let env = terminal::quiet(args.inventory);
    if let Some(number) = args.revision {
        let details = revision(&env, Revision(number))?;
        return match args.output.output {
            OutputFormat::Json => print(&json(&details_object(details))?),
            OutputFormat::Text => print(&details_text(&details)),
        };
    }
    let rows = history(&env)?;
    match args.output.output {
        OutputFormat::Json => print(&json(&rows)?),
        OutputFormat::Text if rows.is_empty() => print(
            "nothing has been deployed from here yet\nhint: `ship status` shows what the hosts \
                 run\n",
        ),
        OutputFormat::Text => print(&table::history(&rows, &LocalClock::local())),
    }
}

fn details_object(details: RevisionDetails) -> serde_json::Value {
    let current = details.current.map(|(revision, _)| revision);
    let mut object = serde_json::to_value(&details.row).unwrap_or_default();
    object["playbook"] = details.playbook.into();
    object["differs"] = details.differs.into();
    object["compared_with"] = serde_json::to_value(current).unwrap_or_default();
    object["systemd"] = serde_json::to_value(&details.directives).unwrap_or_default();
    object["proven"] = details.is_proven.into();
    object["monitor"] = serde_json::to_value(&details.monitor).unwrap_or_default();
    object
}

fn details_text(details: &RevisionDetails) -> String {
    let mut text = facts(details);
    text.push_str("\nplaybook of this revision:\n");
    text.extend(details.playbook.lines().map(indented));
    text + &comparison(details)
}

fn facts(details: &RevisionDetails) -> String {
    let row = &details.row;
    let duration = details
        .duration
        .map_or_else(|| "-".to_owned(), |duration| Human(duration).to_string());
    let mut facts = vec![
        ("revision", row.revision.to_string()),
        ("version", row.version.clone()),
        ("digest", row.digest.to_string()),
        ("who", row.who.clone()),
        ("when", LocalClock::local().day_and_time(row.when)),
        ("duration", duration),
        (
            "reason",
            row.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("outcome", row.outcome.clone()),
        (
            "proven",
            if details.is_proven { "yes" } else { "no" }.to_owned(),
        ),
    ];
    let replicas = row.replicas.map(|replicas| replicas.to_string());
    facts.extend(replicas.map(|replicas| ("replicas", replicas)));
    let hosts = row
        .hosts_from
        .as_ref()
        .map(|hosts| clean(&hosts.join(", ")));
    facts.extend(hosts.map(|hosts| ("hosts", hosts)));
    let monitor = details
        .monitor
        .as_ref()
        .map(|monitor| clean(&monitor.to_string()));
    facts.extend(monitor.map(|monitor| ("monitor", monitor)));
    let directives = details.directives.to_string();
    facts.extend(directives.lines().map(|line| ("systemd", clean(line))));
    facts.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<8}  {value}");
        text
    })
}

/// How the current release differs from the one of the revision.
fn comparison(details: &RevisionDetails) -> String {
    let Some((revision, version)) = &details.current else {
        return String::new();
    };
    let name = format!("revision {revision} ({version})");
    if details.differs.is_empty() {
        return format!("\nthe fleet runs this release ({name})\n");
    }
    let lines = details.differs.iter().map(|line| indented(&clean(line)));
    format!("\nthe fleet runs {name}; differences:\n") + &lines.collect::<String>()
}

fn indented(line: &str) -> String {
    format!("  {line}").trim_end().to_owned() + "\n"
}

fn json(value: &impl serde::Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value)
        .map(|text| format!("{text}\n"))
        .map_err(|error| CliError::new(Exit::Internal, format!("error: {error}")))
}
