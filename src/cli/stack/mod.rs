//! Verbs for a stack: a verb for the whole deployment, or one service after another.

mod conclusion;
mod history;
mod plan;
mod rollout;
mod status;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::args::{StateVerb, VerbArgs};
use super::exit::{CliError, Exit};
use super::output::print;
use super::shared_args::{DisplayArgs, InventoryArg, OutputFormat};
use super::terminal::Terminal;
use crate::app::control_machine::ControlMachine;
use crate::app::stack::{self, StackServiceEnv, StackServices};
use crate::config::{StackOrder, StackOverrides};
use crate::report::ServiceLabel;

/// The inventory of a stack, and its selected services.
pub(super) struct StackTarget {
    machine: ControlMachine,
    order: StackOrder,
}

impl StackTarget {
    /// The stack of a verb; `None` if the verb needs no inventory, or the inventory has only one
    /// `playbook`.
    pub(super) fn of(verb: &mut VerbArgs) -> Result<Option<Self>, CliError> {
        let overrides = versions(verb);
        let Some(inventory) = inventory_arg(verb) else {
            return Ok(None);
        };
        let machine = ControlMachine::new(
            inventory.inventory.clone(),
            Arc::new(Terminal::alone(DisplayArgs::default())),
        );
        let overrides = StackOverrides {
            services: inventory.services.clone(),
            versions: overrides,
            set: Vec::new(),
        };
        let order = machine.read_order(&overrides)?;
        Ok(order.map(|order| Self { machine, order }))
    }

    /// The services, each with its own environment.
    fn services(&self, display: DisplayArgs) -> StackServices {
        let names = self.order.services.iter().map(|service| &service.name);
        let width = names.map(String::len).max().unwrap_or_default();
        let env = |name: &String| {
            let label = ServiceLabel {
                name: name.clone(),
                width,
            };
            let console = Arc::new(Terminal::of_service(display, label));
            Arc::new(self.machine.for_service(name.clone(), console))
        };
        let services = self.order.services.iter().map(|service| StackServiceEnv {
            name: service.name.clone(),
            after: service.after.clone(),
            env: env(&service.name),
        });
        StackServices {
            fleet: self.order.fleet.clone(),
            services: services.collect(),
            on_failure: self.order.on_failure,
        }
    }

    /// Whether one service is selected, and no deployment is unfinished: its own rollout continues.
    fn continues_one_service(&self) -> Result<bool, CliError> {
        let has_one = self.order.services.len() == 1;
        let services = || self.services(DisplayArgs::default());
        Ok(has_one && stack::unfinished(&services())?.is_none())
    }

    /// The name of the only selected service.
    fn only_service(&self) -> Result<String, CliError> {
        match &self.order.services[..] {
            [only] => Ok(only.name.clone()),
            services => {
                let names: Vec<_> = services.iter().map(|it| it.name.as_str()).collect();
                Err(CliError::refused(format!(
                    "error: this command needs one service, and the inventory has {}\nhint: choose one \
                     with `--service`, for example `--service {}`",
                    names.join(", "),
                    names.first().unwrap_or(&"api")
                )))
            }
        }
    }
}

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
        VerbArgs::Rollback(args) if args.to_revision.is_none() && !args.dry_run => {
            Box::pin(rollout::rollback(args, stack)).await
        }
        VerbArgs::Resume(_) | VerbArgs::Abort(_) if stack.continues_one_service()? => {
            Box::pin(run_services(verb, &stack, Manner::One)).await
        }
        VerbArgs::Resume(args) => Box::pin(rollout::resume(args, stack)).await,
        VerbArgs::Abort(args) => Box::pin(rollout::abort(args, stack)).await,
        VerbArgs::Promote(args) => Box::pin(rollout::promote(args, stack)).await,
        VerbArgs::Status(args) => status::run(args, stack).await,
        VerbArgs::History(args)
            if args.revision.is_none() && args.inventory.services.is_empty() =>
        {
            history::run(&stack, args.output.output)
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
        VerbArgs::Report(args) if args.output_file.is_some() || args.rollout != "last" => {
            Manner::One
        }
        VerbArgs::State(_) | VerbArgs::Cron(_) => Manner::Any,
        _ => Manner::Each,
    }
}

/// Runs a verb for services; after a failure, the verb does not run for the others.
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
    for (index, name) in names.into_iter().enumerate() {
        if has_heading {
            let gap = if index == 0 { "" } else { "\n" };
            print(&format!("{gap}service {name}\n"))?;
        }
        let mut verb = verb.clone();
        select(&mut verb, name);
        let ran: Pin<Box<dyn Future<Output = _>>> = Box::pin(super::run_one(verb));
        let exit = ran.await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
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

/// The values of `--version`.
fn versions(verb: &VerbArgs) -> Vec<String> {
    match verb {
        VerbArgs::Deploy(args) => args.overrides.version.clone(),
        VerbArgs::Plan(args) => args.overrides.version.clone(),
        VerbArgs::Check(args) => args.overrides.version.clone(),
        _ => Vec::new(),
    }
}

fn inventory_arg(verb: &mut VerbArgs) -> Option<InventoryArg> {
    match verb {
        VerbArgs::Logs(args) => Some(super::logs::inventory_arg(args)),
        verb => inventory_arg_mut(verb).cloned(),
    }
}

fn inventory_arg_mut(verb: &mut VerbArgs) -> Option<&mut InventoryArg> {
    match verb {
        VerbArgs::Init(_)
        | VerbArgs::Adopt(_)
        | VerbArgs::Logs(_)
        | VerbArgs::Completions { .. }
        | VerbArgs::Man => None,
        VerbArgs::Deploy(args) => Some(&mut args.inventory),
        VerbArgs::Plan(args) => Some(&mut args.inventory),
        VerbArgs::Check(args) => Some(&mut args.inventory),
        VerbArgs::Status(args) => Some(&mut args.inventory),
        VerbArgs::History(args) => Some(&mut args.inventory),
        VerbArgs::Rollback(args) => Some(&mut args.inventory),
        VerbArgs::Pause(args) => Some(&mut args.inventory),
        VerbArgs::Resume(args) => Some(&mut args.inventory),
        VerbArgs::Promote(args) => Some(&mut args.inventory),
        VerbArgs::Abort(args) => Some(&mut args.inventory),
        VerbArgs::Restart(args) => Some(&mut args.inventory),
        VerbArgs::Scale(args) => Some(&mut args.inventory),
        VerbArgs::Report(args) => Some(&mut args.inventory),
        VerbArgs::Migrate(args) => Some(&mut args.inventory),
        VerbArgs::Freeze(args) => Some(&mut args.inventory),
        VerbArgs::Thaw(args) => Some(&mut args.inventory),
        VerbArgs::Unlock(args) => Some(&mut args.inventory),
        VerbArgs::State(args) => match &mut args.verb {
            StateVerb::Show(args) => Some(&mut args.inventory),
            StateVerb::Move(args) => Some(&mut args.inventory),
        },
        VerbArgs::Inventory(args) => Some(&mut args.inventory),
        VerbArgs::Cron(args) => Some(&mut args.inventory),
    }
}
