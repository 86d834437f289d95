//! `ship history`: what was deployed, by whom, when, why and how it ended.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::args::{Form, History};
use super::exit::{Exit, Fail};
use super::output::print;
use super::terminal;
use crate::app::environment::{Reading, StoreAccess};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::ids::Revision;
use crate::core::journal::rollout_summary::Account;
use crate::core::policy::history::Run;
use crate::core::release::Definition;
use crate::core::rollout::verb::Verb;
use crate::core::text_difference::difference;
use crate::core::time::Human;
use crate::report::{self, HistoryRow, LocalClock};
use crate::store::RevisionRecord;

pub(super) fn run(args: &History) -> Result<Exit, Fail> {
    let inventory = super::args::InventoryArg {
        inventory: args.inventory.inventory.clone(),
    };
    let env = terminal::quiet(inventory);
    let overrides = Overrides::default();
    let session = Session::open(&env, &overrides, Reading::LastKnownGood, StoreAccess::Read)?;
    if let Some(number) = args.revision {
        let record = session.history.revision(Revision(number)).ok_or_else(|| {
            Fail::refused(format!(
                "error: unable to find specified revision {number} in history; `ship history` \
                 lists what there is"
            ))
        })?;
        return one(&session, record, args.output);
    }
    let runs = &session.history.runs;
    let rows: Vec<_> = session
        .history
        .revisions
        .iter()
        .rev()
        .map(|record| row(record, runs))
        .collect();
    match args.output {
        Form::Json => print(&json(&rows)?),
        Form::Text if rows.is_empty() => {
            print("nothing was deployed from here yet; `ship status` shows what the hosts run\n")
        }
        Form::Text => print(&report::table::history(&rows, &LocalClock::local())),
    }
}

fn row(record: &RevisionRecord, runs: &[Run]) -> HistoryRow {
    let run = runs
        .iter()
        .rev()
        .find(|run| run.start.target.revision == record.revision);
    HistoryRow {
        revision: record.revision,
        version: record.definition.version.clone(),
        digest: record.release.clone(),
        who: record.who.clone(),
        when: record.began,
        duration_s: record
            .ended
            .map(|ended| ended.since(record.began).as_secs_f64()),
        cause: Some(record.cause.clone()).filter(|cause| !cause.is_empty()),
        outcome: match (record.verb, &record.outcome) {
            (Verb::Adopt, _) => "adopted",
            (_, outcome) => outcome
                .as_ref()
                .map_or("running", crate::core::rollout::failure::Outcome::word),
        }
        .to_owned(),
        verb: record.verb,
        replicas: run.map(|run| run.start.replicas),
    }
}

fn one(session: &Session, record: &RevisionRecord, form: Form) -> Result<Exit, Fail> {
    let current = session.history.current();
    let differs = current.map(|current| {
        difference(
            &settings(&record.definition),
            &settings(&current.definition),
        )
    });
    let differs = differs.unwrap_or_default();
    let journal = session
        .store
        .journal_of(&session.subject, record.revision)?
        .unwrap_or_default();
    let loss = Account::of(&journal).and_then(|account| account.loss);
    let row = row(record, &session.history.runs);
    if form == Form::Json {
        let mut object = serde_json::to_value(&row).unwrap_or_default();
        object["playbook"] = record.playbook.clone().into();
        object["differs"] = differs.into();
        object["compared_with"] =
            serde_json::to_value(current.map(|current| current.revision)).unwrap_or_default();
        object["proven"] = record.proven.into();
        object["loss"] = serde_json::to_value(&loss).unwrap_or_default();
        return print(&json(&object)?);
    }
    let clock = LocalClock::local();
    let duration = record.ended.map_or("-".to_owned(), |ended| {
        Human(ended.since(record.began)).to_string()
    });
    let mut text = format!(
        "revision  {}\nversion   {}\ndigest    {}\nwho       {}\nwhen      {}\nduration  \
         {duration}\ncause     {}\n\
         outcome   {}\nproven    {}\n{}{}\nthe playbook then:\n",
        row.revision,
        row.version,
        row.digest,
        row.who,
        clock.day_and_time(row.when),
        row.cause.as_deref().unwrap_or("-"),
        row.outcome,
        if record.proven { "yes" } else { "no" },
        row.replicas
            .map_or_else(String::new, |replicas| format!("replicas  {replicas}\n")),
        loss.map_or_else(String::new, |loss| format!(
            "probe     {}\n",
            report::text::clean(&loss.to_string())
        )),
    );
    text.extend(
        record
            .playbook
            .lines()
            .map(|line| format!("  {line}").trim_end().to_owned() + "\n"),
    );
    let Some(current) = current else {
        return print(&text);
    };
    let name = format!(
        "revision {} ({})",
        current.revision, current.definition.version
    );
    if differs.is_empty() {
        let _ = writeln!(text, "\nthe fleet is on this release ({name})");
    } else {
        let _ = writeln!(text, "\nthe fleet is on {name}, which differs:");
        text.extend(differs.iter().map(|line| {
            format!("  {}", report::text::clean(line))
                .trim_end()
                .to_owned()
                + "\n"
        }));
    }
    print(&text)
}

/// The settings of a release, one a line. Two releases are compared by these: the text of a
/// playbook does not say what the command line has set, and what was packed.
fn settings(definition: &Definition) -> String {
    let mut lines = Vec::new();
    flatten(
        "",
        &serde_json::to_value(definition).unwrap_or_default(),
        &mut lines,
    );
    lines.join("\n")
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<String>) {
    let below = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}.{key}")
        }
    };
    // A sequence of two numbers would pass for a duration, too.
    if value.is_object()
        && let Ok(duration) = serde_json::from_value::<Duration>(value.clone())
    {
        lines.push(format!("{name} = \"{}\"", Human(duration)));
        return;
    }
    match value {
        Value::Null => {}
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| flatten(&below(key), value, lines)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| flatten(&format!("{name}[{at}]"), item, lines));
        }
        value => lines.push(format!("{name} = {value}")),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Fail> {
    serde_json::to_string_pretty(value)
        .map(|text| format!("{text}\n"))
        .map_err(|error| Fail::new(Exit::Internal, format!("error: {error}")))
}
