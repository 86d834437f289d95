//! `ship plan`: prints what a deploy would do.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::args::PlanArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::plan_actions::{self, ActionLine, is_choice};
use super::shared_args::OutputFormat;
use super::terminal;
use crate::app::verbs::plan::{DeployPlan, plan};
use crate::core::ids::HostId;
use crate::core::planner::preview::Batch;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Event;
use crate::core::rollout::failure::Outcome;
use crate::core::time::Human;
use crate::report::text::count;

pub(super) async fn run(args: PlanArgs) -> Result<Exit, CliError> {
    let overrides = args.overrides.of_service(&args.inventory)?;
    let preview = plan(&terminal::quiet(args.inventory), overrides).await?;
    show(&preview, args.output.output)
}

pub(super) fn show(preview: &DeployPlan, form: OutputFormat) -> Result<Exit, CliError> {
    match form {
        OutputFormat::Json => print(&format!("{:#}\n", object(preview))),
        OutputFormat::Text => print(&text(preview)),
    }
}

pub(super) fn object(preview: &DeployPlan) -> serde_json::Value {
    let DeployPlan {
        spec, simulated, ..
    } = preview;
    serde_json::json!({
        "service": preview.service_key.service,
        "fleet": preview.service_key.fleet,
        "version": preview.rollout.goal.version,
        "digest": preview.release,
        "batches": simulated.batches.iter().map(|batch| serde_json::json!({
            "actions": batch.actions, "available": batch.available, "running": batch.running,
        })).collect::<Vec<_>>(),
        "worst_available": simulated.fewest_available,
        "min_available": spec.budget.min_available(),
        "most_running": simulated.most_running,
        "max_running": spec.budget.max_running(),
        "worst_zone_loss": simulated.worst_zone_loss.as_ref().map(|loss| serde_json::json!({
            "zone": loss.zone, "available": loss.available,
        })),
        "steps": simulated.gates.iter().map(|(after, gate)| serde_json::json!({
            "after_batches": after, "step": gate,
        })).collect::<Vec<_>>(),
        "once": simulated.tasks.iter().map(|(after, task)| serde_json::json!({
            "after_batches": after, "task": task,
        })).collect::<Vec<_>>(),
        "holds": preview.wait_reasons.iter().map(|(host, reason)| serde_json::json!({
            "host": host, "why": reason.to_string(),
        })).collect::<Vec<_>>(),
        "note": preview.identity_note,
        "outcome": simulated.outcome.as_ref().map(Outcome::word),
    })
}

// Writing to a string does not fail.
pub(super) fn text(preview: &DeployPlan) -> String {
    let is_empty = !preview.simulated.batches.iter().any(is_shown);
    let mut out = headline(preview);
    if is_empty {
        out.push_str("nothing to do\n");
    }
    out.push_str(&batches(preview));
    out.push_str(&after_batches(preview, is_empty));
    if !is_empty {
        out.push_str(&worst_case(preview));
        out.push_str(&on_failure(&preview.rollout));
    }
    if preview.spec.is_singleton {
        out.push_str(&singleton(preview));
    }
    if let Some(note) = &preview.identity_note {
        let _ = writeln!(out, "note: {note}");
    }
    out.push_str(&waiting(&preview.wait_reasons));
    if preview.simulated.outcome.is_none() {
        out.push_str(
            "\nthe rollout would not finish on its own: see above for what it waits for\n",
        );
    }
    out
}

fn headline(preview: &DeployPlan) -> String {
    let DeployPlan {
        service_key, spec, ..
    } = preview;
    let (goal, budget) = (&preview.rollout.goal, &spec.budget);
    format!(
        "{} {} on {} ({} × {}): {}, at least {} available, at most {} running\n",
        service_key.service,
        goal.version,
        service_key.fleet,
        count(spec.hosts.len(), "host"),
        count(spec.slots_of(&goal.release).len(), "slot"),
        count(budget.replicas as usize, "replica"),
        budget.min_available(),
        budget.max_running()
    )
}

/// The batches, with the tasks and steps before each of them.
fn batches(preview: &DeployPlan) -> String {
    let DeployPlan {
        fleet,
        simulated,
        versions,
        ..
    } = preview;
    let version = &preview.rollout.goal.version;
    let mut out = String::new();
    let mut number = 0;
    for (index, batch) in simulated.batches.iter().enumerate() {
        for (_, task) in simulated.tasks.iter().filter(|(after, _)| *after == index) {
            let _ = writeln!(out, "\nonce: {task}");
        }
        for (_, gate) in simulated.gates.iter().filter(|(after, _)| *after == index) {
            out.push_str(&step_line(gate));
        }
        if !is_shown(batch) {
            continue;
        }
        number += 1;
        let _ = writeln!(
            out,
            "\nbatch {number}: {} available, {} running",
            batch.available, batch.running
        );
        let actions = batch.actions.iter().filter(|action| is_choice(action));
        let lines = actions.map(|action| ActionLine::of(action, versions, fleet, version));
        out.push_str(&plan_actions::text(lines));
    }
    out
}

/// The tasks and steps after the last batch.
fn after_batches(preview: &DeployPlan, is_empty: bool) -> String {
    let simulated = &preview.simulated;
    let is_after = |after: usize| after >= simulated.batches.len();
    let mut out = String::new();
    for (_, task) in simulated
        .tasks
        .iter()
        .filter(|(after, _)| !is_empty && is_after(*after))
    {
        let _ = writeln!(out, "\nonce: {task}");
    }
    for (_, gate) in simulated.gates.iter().filter(|(after, _)| is_after(*after)) {
        out.push_str(&step_line(gate));
    }
    out
}

fn worst_case(preview: &DeployPlan) -> String {
    let (simulated, budget) = (&preview.simulated, &preview.spec.budget);
    let mut out = format!(
        "\nworst case: {} of {} available (minimum {}), {} running (maximum {})\n",
        simulated.fewest_available,
        budget.replicas,
        budget.min_available(),
        simulated.most_running,
        budget.max_running()
    );
    if let Some(loss) = &simulated.worst_zone_loss {
        let _ = writeln!(
            out,
            "worst case if a zone fails: {} of {} available, without zone {}",
            loss.available, budget.replicas, loss.zone
        );
    }
    out
}

/// What it costs that two instances never run at once.
fn singleton(preview: &DeployPlan) -> String {
    let DeployPlan { spec, rollout, .. } = preview;
    let waits = spec.waits_of(&rollout.goal.release);
    let least = waits.until_ready() + spec.min_ready;
    let down = if least.is_zero() {
        String::new()
    } else {
        format!(", at least {}", Human(least))
    };
    format!(
        "singleton: two instances never run at once. The service is down from the stop of the old \
         instance until the new one is available{down}. No instance starts while a host is \
         unreachable that may run one, or that has not answered in this rollout; remove a dead host \
         from the inventory.\n"
    )
}

fn on_failure(rollout: &Rollout) -> String {
    match &rollout.rollback_target {
        Some(target) => {
            let number = rollout
                .rollback_replicas
                .map(|number| format!(" and {}", count(number as usize, "replica")));
            let number = number.unwrap_or_default();
            format!(
                "on failure: roll back to {} (revision {}){number}\n",
                target.version, target.revision
            )
        }
        None if rollout.is_proven => {
            "on failure: hold, because this version was proven before\n".to_owned()
        }
        None => "on failure: hold, because there is no other proven revision to roll back to\n"
            .to_owned(),
    }
}

fn waiting(reasons: &BTreeMap<HostId, WaitReason>) -> String {
    let waiting: Vec<_> = reasons
        .iter()
        .filter(|(_, reason)| **reason != WaitReason::UpToDate)
        .collect();
    if waiting.is_empty() {
        return String::new();
    }
    let mut out = "\nwaiting:\n".to_owned();
    for (host, reason) in waiting {
        let _ = writeln!(out, "  {host}: {reason}");
    }
    out
}

/// The step that ends between two batches.
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
        let _ = write!(line, ", soak for {}", Human(*soak));
    }
    if *pause {
        line.push_str(", then wait for `ship promote`");
    }
    line.push('\n');
    line
}

/// Whether the text shows an action of the batch.
fn is_shown(batch: &Batch) -> bool {
    batch.actions.iter().any(is_choice)
}
