//! Any balancer, controlled by commands of the user on its machine.

use futures::future::{BoxFuture, FutureExt, ready};

use super::driver::{DriverContext, SlotChange};
use super::script_driver::ScriptDriver;
use super::slots::SlotDirectory;
use crate::config::CommandConfig;
use crate::core::ids::Slot;
use crate::remote::HostUnavailable;
use crate::script::{self, BalancerCommands, Script, SlotSwitch};

pub(super) struct CommandDriver {
    settings: CommandConfig,
}

impl CommandDriver {
    pub(super) fn new(settings: CommandConfig) -> Self {
        Self { settings }
    }

    fn commands_of_all(
        &self,
        slots: &SlotDirectory,
    ) -> Result<Vec<BalancerCommands>, HostUnavailable> {
        slots
            .all()
            .map(|slot| self.commands_of(slots, &slot))
            .collect()
    }

    fn commands_of(
        &self,
        slots: &SlotDirectory,
        slot: &Slot,
    ) -> Result<BalancerCommands, HostUnavailable> {
        let filled = |words: &[String]| {
            words
                .iter()
                .map(|word| slots.render(word, slot))
                .collect::<Result<Vec<_>, _>>()
        };
        let settings = &self.settings;
        Ok(BalancerCommands {
            slot: slot.clone(),
            admit: filled(&settings.admit)?,
            drain: filled(&settings.drain)?,
            remaining: filled(&settings.remaining)?,
            cut: filled(settings.cut.as_deref().unwrap_or_default())?,
        })
    }
}

impl ScriptDriver for CommandDriver {
    fn observe_script<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        let all = self.commands_of_all(context.slots);
        ready(all.map(|all| script::observe_command_balancer(&context.read_only_context(), &all)))
            .boxed()
    }

    fn switch_script<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        slot_switch: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        let commands = || {
            let all = self.commands_of_all(context.slots)?;
            Ok((all, self.commands_of(context.slots, change.slot)?))
        };
        let script = commands().map(|(all, of_slot)| {
            script::switch_command_balancer(
                &context.script_context(change),
                &all,
                &of_slot,
                slot_switch,
            )
        });
        ready(script).boxed()
    }
}
