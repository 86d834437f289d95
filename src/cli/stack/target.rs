//! The stack that a command line names, and its selected services.

use std::sync::Arc;

use super::super::args::{StateVerb, VerbArgs};
use super::super::exit::CliError;
use super::super::logs;
use super::super::shared_args::{DisplayArgs, InventoryArg};
use super::super::terminal::Terminal;
use crate::app::control_machine::ControlMachine;
use crate::app::stack::{self, StackServiceEnv, StackServices};
use crate::config::{StackOrder, StackOverrides};
use crate::report::{LiveScreen, ServiceLabel};

/// The inventory of a stack, and its selected services.
pub(crate) struct StackTarget {
    pub(super) machine: ControlMachine,
    pub(super) order: StackOrder,
}

impl StackTarget {
    /// The stack of a verb; `None` if the verb needs no inventory, or the inventory has only one
    /// `playbook`.
    pub(crate) fn of(verb: &mut VerbArgs) -> Result<Option<Self>, CliError> {
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

    /// The services, each with its own environment, on one screen.
    pub(super) fn services(&self, display: DisplayArgs) -> StackServices {
        let names = self.order.services.iter().map(|service| &service.name);
        let width = names.map(String::len).max().unwrap_or_default();
        let screen = LiveScreen::stderr();
        let env = |name: &String| {
            let label = ServiceLabel {
                name: name.clone(),
                width,
            };
            let console = Arc::new(Terminal::of_service(display, label, screen.clone()));
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
            reporter: Arc::new(screen.clone()),
        }
    }

    /// Whether one service is selected, and no deployment is unfinished: its own rollout continues.
    pub(super) fn continues_one_service(&self) -> Result<bool, CliError> {
        let has_one = self.order.services.len() == 1;
        let services = || self.services(DisplayArgs::default());
        Ok(has_one && stack::unfinished(&services())?.is_none())
    }

    /// The name of the only selected service.
    pub(super) fn only_service(&self) -> Result<String, CliError> {
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
        VerbArgs::Logs(args) => Some(logs::inventory_arg(args)),
        verb => inventory_arg_mut(verb).cloned(),
    }
}

pub(super) fn inventory_arg_mut(verb: &mut VerbArgs) -> Option<&mut InventoryArg> {
    match verb {
        VerbArgs::Init(_)
        | VerbArgs::Adopt(_)
        | VerbArgs::Logs(_)
        | VerbArgs::Disconnect(_)
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
