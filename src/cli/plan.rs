//! `ship plan`: what a deploy would do.

use std::fmt::Write;

use super::args::{Form, Plan};
use super::exit::{Exit, Fail};
use super::output::print;
use super::terminal;
use crate::app::verbs::plan::{Preview, plan};
use crate::config::Overrides;
use crate::core::fleet::Fleet;
use crate::core::ids::{InstanceId, Slot};
use crate::core::planner::preview::Batch;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::Event;
use crate::core::rollout::failure::Outcome;
use crate::core::time::Human;
use crate::report::Versions;
use crate::report::text::count;

pub(super) async fn run(args: Plan) -> Result<Exit, Fail> {
    let overrides = Overrides {
        version: args.overrides.version,
        set: args.overrides.set,
    };
    let preview = plan(&terminal::quiet(args.inventory), overrides).await?;
    show(&preview, args.output)
}

pub(super) fn show(preview: &Preview, form: Form) -> Result<Exit, Fail> {
    let Preview { spec, played, .. } = preview;
    match form {
        Form::Json => {
            let object = serde_json::json!({
                "service": preview.subject.service,
                "fleet": preview.subject.fleet,
                "version": preview.rollout.goal.version,
                "digest": preview.release,
                "batches": played.batches.iter().map(|batch| serde_json::json!({
                    "actions": batch.actions, "available": batch.available, "running": batch.running,
                })).collect::<Vec<_>>(),
                "worst_available": played.worst_available,
                "min_available": spec.budget.min_available(),
                "most_running": played.most_running,
                "max_running": spec.budget.max_running(),
                "steps": played.gates.iter().map(|(after, gate)| serde_json::json!({
                    "after_batches": after, "step": gate,
                })).collect::<Vec<_>>(),
                "once": played.chores.iter().map(|(after, chore)| serde_json::json!({
                    "after_batches": after, "chore": chore,
                })).collect::<Vec<_>>(),
                "holds": preview.holds.iter().map(|(host, hold)| serde_json::json!({
                    "host": host, "why": hold.to_string(),
                })).collect::<Vec<_>>(),
                "outcome": played.outcome.as_ref().map(Outcome::word),
            });
            print(&format!("{object:#}\n"))
        }
        Form::Text => print(&text(preview)),
    }
}

fn text(preview: &Preview) -> String {
    let Preview {
        subject,
        spec,
        rollout,
        fleet,
        played,
        holds,
        versions,
        ..
    } = preview;
    let mut out = String::new();
    let goal = &rollout.goal;
    let budget = &spec.budget;
    let _ = writeln!(
        out,
        "{} {} on {} ({} × {}): {}, at least {} available, at most {} running",
        subject.service,
        goal.version,
        subject.fleet,
        count(spec.hosts.len(), "host"),
        count(spec.ports_of(&goal.release).len(), "port"),
        count(budget.replicas as usize, "replica"),
        budget.min_available(),
        budget.max_running()
    );
    let shows = |batch: &Batch| batch.actions.iter().any(|action| shown(action).is_some());
    let is_empty = !played.batches.iter().any(shows);
    if is_empty {
        out.push_str("nothing to do\n");
    }
    let mut number = 0;
    for (index, batch) in played.batches.iter().enumerate() {
        for (_, chore) in played.chores.iter().filter(|(after, _)| *after == index) {
            let _ = writeln!(out, "\nonce: {chore}");
        }
        for (_, gate) in played.gates.iter().filter(|(after, _)| *after == index) {
            out.push_str(&step_line(gate));
        }
        if !shows(batch) {
            continue;
        }
        number += 1;
        let _ = writeln!(
            out,
            "\nbatch {number}: {} available, {} running",
            batch.available, batch.running
        );
        for action in batch.actions.iter().filter_map(shown) {
            let _ = writeln!(
                out,
                "  {}",
                describe(action, versions, fleet, &goal.version)
            );
        }
    }
    for (_, chore) in played
        .chores
        .iter()
        .filter(|(after, _)| !is_empty && *after >= played.batches.len())
    {
        let _ = writeln!(out, "\nonce: {chore}");
    }
    for (_, gate) in played
        .gates
        .iter()
        .filter(|(after, _)| *after >= played.batches.len())
    {
        out.push_str(&step_line(gate));
    }
    if !is_empty {
        let _ = writeln!(
            out,
            "\nworst case: {} of {} available (at least {} must stay), {} running (at most {} may)",
            played.worst_available,
            budget.replicas,
            budget.min_available(),
            played.most_running,
            budget.max_running()
        );
        match &rollout.fallback {
            Some(back) => {
                let number = rollout
                    .fallback_replicas
                    .map(|number| format!(" and {}", count(number as usize, "replica")));
                let number = number.unwrap_or_default();
                let _ = writeln!(
                    out,
                    "if it fails: back to {} (revision {}){number}",
                    back.version, back.revision
                );
            }
            None if rollout.is_proven => {
                out.push_str("if it fails: held, as this version was proven healthy before\n");
            }
            None => out.push_str(
                "if it fails: held, as there is no other revision proven healthy to go back to\n",
            ),
        }
    }
    let held: Vec<_> = holds
        .iter()
        .filter(|(_, hold)| **hold != WaitReason::UpToDate)
        .collect();
    if !held.is_empty() {
        out.push_str("\nnothing is done at first about:\n");
        for (host, hold) in held {
            let _ = writeln!(out, "  {host}: {hold}");
        }
    }
    if played.outcome.is_none() {
        out.push_str("\nit would not end by itself: see above for what it waits for\n");
    }
    out
}

/// What is waited for between two batches.
fn step_line(gate: &Event) -> String {
    let Event::StepReached {
        step,
        of,
        instances,
        soak,
        pause,
    } = gate
    else {
        return String::new();
    };
    let mut line = format!(
        "\nstep {step} of {of}: {}",
        count(*instances as usize, "new instance")
    );
    if !soak.is_zero() {
        let _ = write!(line, ", watched for {}", Human(*soak));
    }
    if *pause {
        line.push_str(", then it waits for `ship promote`");
    }
    line.push('\n');
    line
}

/// Claims and disarming are part of every rollout, and nothing that a person decides about.
fn shown(action: &Action) -> Option<&Action> {
    (!matches!(action, Action::Claim { .. } | Action::Disarm { .. })).then_some(action)
}

fn describe(action: &Action, versions: &Versions, fleet: &Fleet, version: &str) -> String {
    // What is there already runs some version; what is only to come runs the new one.
    let of = |slot: &Slot, name: &InstanceId| {
        let instance = fleet
            .instance(slot)
            .filter(|instance| instance.name == *name);
        instance.map_or_else(
            || version.to_owned(),
            |instance| versions.of(&instance.release).to_owned(),
        )
    };
    match action {
        Action::Claim { host } => format!("claim  {host}"),
        Action::Disarm { slot } => format!("disarm {slot}"),
        Action::Stage { host, .. } => format!("stage  {version} on {host}"),
        Action::Start { slot, .. } => format!("start  {version} at {slot}"),
        Action::Admit {
            slot,
            instance,
            weight_percent,
        } => {
            let share = weight_percent
                .map(|weight| format!(" with {weight} % of the weight"))
                .unwrap_or_default();
            format!("admit  {} at {slot}{share}", of(slot, instance))
        }
        Action::Drain { slot, instance, .. } => format!("drain  {} at {slot}", of(slot, instance)),
        Action::Stop {
            slot,
            instance,
            why,
            ..
        } => {
            let old = of(slot, instance);
            match why {
                StopReason::Replaced => format!("stop   {old} at {slot}"),
                other => format!("stop   {old} at {slot} ({other})"),
            }
        }
        Action::Prune { host, releases } => {
            let names: Vec<_> = releases
                .iter()
                .map(|release| versions.of(release).to_owned())
                .collect();
            format!("prune  {} on {host}", names.join(", "))
        }
    }
}
