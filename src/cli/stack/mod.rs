//! Verbs for a stack: a verb for the whole deployment, or one service after another.

mod conclusion;
mod history;
mod plan;
mod report;
mod rollout;
mod status;
mod target;

use std::future::Future;
use std::pin::Pin;

pub(super) use self::target::StackTarget;
use self::target::inventory_arg_mut;
use super::args::VerbArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::OutputFormat;

/// How a verb runs on a stack.
enum Manner {
    /// For one service after another.
    Each,
    /// For exactly one service.
    One,
    /// For any service, because it is the same for all.
    Any,
}

/// Runs a verb on a stack.
pub(super) async fn run(verb: VerbArgs, stack: StackTarget) -> Result<Exit, CliError> {
    match verb {
        VerbArgs::Deploy(args) if !args.dry_run => Box::pin(rollout::deploy(args, stack)).await,
        VerbArgs::Deploy(args) => {
            let output = args.display.output;
            let set = args.monitor.append_to(args.overrides.set);
            plan::show(stack, args.overrides.version, set, output).await
        }
        VerbArgs::Plan(args) => {
            let (overrides, output) = (args.overrides, args.output.output);
            plan::show(stack, overrides.version, overrides.set, output).await
        }
        VerbArgs::Rollback(args) if args.to_revision.is_none() => {
            Box::pin(rollout::rollback(args, stack)).await
        }
        VerbArgs::Resume(_) | VerbArgs::Abort(_) if stack.continues_one_service()? => {
            Box::pin(run_services(verb, &stack, Manner::One)).await
        }
        VerbArgs::Resume(args) => Box::pin(rollout::resume(args, stack)).await,
        VerbArgs::Abort(args) => Box::pin(rollout::abort(args, stack)).await,
        VerbArgs::Promote(args) => Box::pin(rollout::promote(args, stack)).await,
        VerbArgs::Pause(args) => rollout::pause(args, stack).await,
        VerbArgs::Status(args) => status::run(args, stack).await,
        VerbArgs::History(args)
            if args.revision.is_none() && args.inventory.services.is_empty() =>
        {
            history::run(&stack, args.output.output)
        }
        VerbArgs::Report(args) if args.rollout.is_none() && args.inventory.services.is_empty() => {
            report::run(args, &stack)
        }
        VerbArgs::Inventory(args) => {
            super::inventory::show(&stack.machine.read_inventory()?, args.output)
        }
        verb => {
            let manner = manner(&verb);
            Box::pin(run_services(verb, &stack, manner)).await
        }
    }
}

fn manner(verb: &VerbArgs) -> Manner {
    match verb {
        VerbArgs::Scale(_) | VerbArgs::Logs(_) | VerbArgs::Rollback(_) => Manner::One,
        VerbArgs::History(args) if args.revision.is_some() => Manner::One,
        VerbArgs::Report(args) if args.output_file.is_some() || args.rollout.is_some() => {
            Manner::One
        }
        VerbArgs::State(_) | VerbArgs::Cron(_) => Manner::Any,
        _ => Manner::Each,
    }
}

/// Runs a verb for services. After a failure, only a check runs for the others, too.
async fn run_services(
    verb: VerbArgs,
    stack: &StackTarget,
    manner: Manner,
) -> Result<Exit, CliError> {
    let names: Vec<_> = stack
        .order
        .services
        .iter()
        .map(|it| it.name.clone())
        .collect();
    let names = match manner {
        Manner::Each => names,
        Manner::One => vec![stack.only_service()?],
        Manner::Any => names.into_iter().take(1).collect(),
    };
    let has_heading = names.len() > 1 && is_text(&verb);
    let is_check = matches!(verb, VerbArgs::Check(_));
    let mut worst = Exit::Done;
    for (index, name) in names.into_iter().enumerate() {
        if has_heading {
            let gap = if index == 0 { "" } else { "\n" };
            print(&format!("{gap}service {name}\n"))?;
        }
        let mut verb = verb.clone();
        select(&mut verb, name);
        let ran: Pin<Box<dyn Future<Output = _>>> = Box::pin(super::dispatch::run_one(verb));
        let exit = ran.await?;
        if exit.code() > worst.code() {
            worst = exit;
        }
        if exit != Exit::Done && !is_check {
            break;
        }
    }
    Ok(worst)
}

/// Whether the verb prints text, with a heading for each service.
fn is_text(verb: &VerbArgs) -> bool {
    match verb {
        VerbArgs::Check(args) => args.output.output == OutputFormat::Text,
        VerbArgs::History(args) => args.output.output == OutputFormat::Text,
        _ => false,
    }
}

/// Selects one service.
fn select(verb: &mut VerbArgs, service: String) {
    match verb {
        VerbArgs::Logs(args) => args.services = vec![service],
        verb => {
            if let Some(inventory) = inventory_arg_mut(verb) {
                inventory.services = vec![service];
            }
        }
    }
}
