//! Hooks of instances: their environment, and their events.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{SlotVars, render};
use crate::core::ids::{ActionId, InstanceId, Revision};
use crate::core::release::Definition;
use crate::core::release::hook::{Hook, HookPoint, HookRun, hook_time};
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::Event;
use crate::script::SlotHooks;

/// The hooks of an instance with rendered templates, and their environment variables.
pub(super) fn slot_hooks(
    definition: &Definition,
    vars: &SlotVars<'_>,
    revision: Revision,
    instance: &InstanceId,
) -> Result<SlotHooks, String> {
    let slot_hooks = definition
        .hooks
        .iter()
        .filter(|hook| hook.on.is_per_instance());
    let rendered = slot_hooks.map(|hook| {
        let command = hook
            .command
            .iter()
            .map(|word| render(word, vars))
            .collect::<Result<_, _>>()?;
        Ok(Hook {
            command,
            ..hook.clone()
        })
    });
    let mut env = environment(definition, vars.fleet, revision);
    let slot_env = [
        ("SHIP_HOST", vars.host.to_string()),
        ("SHIP_ADDRESS", vars.address.to_owned()),
        ("SHIP_SLOT", vars.slot.to_string()),
        ("SHIP_INSTANCE", instance.to_string()),
    ];
    env.extend(slot_env.map(|(key, value)| (key.to_owned(), value)));
    env.extend(
        vars.port
            .map(|port| ("SHIP_PORT".to_owned(), port.to_string())),
    );
    Ok(SlotHooks {
        hooks: rendered.collect::<Result<_, String>>()?,
        env,
    })
}

/// The environment variables that every hook and task receives.
pub(super) fn environment(
    definition: &Definition,
    fleet: &str,
    revision: Revision,
) -> BTreeMap<String, String> {
    let known = [
        ("SHIP_SERVICE", definition.service.clone()),
        ("SHIP_FLEET", fleet.to_owned()),
        ("SHIP_VERSION", definition.version.clone()),
        ("SHIP_REVISION", revision.to_string()),
    ];
    known.map(|(key, value)| (key.to_owned(), value)).into()
}

/// The time limit of all stop hooks of an instance: the longest one, if its release is not certain
/// and `releases` are the candidates.
pub(super) fn stop_hooks_timeout<'a>(
    releases: impl IntoIterator<Item = &'a Definition>,
) -> Duration {
    const POINTS: [HookPoint; 2] = [HookPoint::BeforeStop, HookPoint::AfterStop];
    releases
        .into_iter()
        .map(|definition| hook_time(&definition.hooks, &POINTS))
        .max()
        .unwrap_or_default()
}

/// Returns the events for the hooks of an action, to be recorded before its result.
pub(super) fn events(
    service: &str,
    rollout: &Rollout,
    id: ActionId,
    action: Option<&Action>,
    runs: Vec<HookRun>,
) -> Vec<Event> {
    let slot = action.and_then(Action::slot);
    let instance = match action {
        Some(Action::Stop { instance, .. }) => Some(instance.clone()),
        Some(Action::Start { release, .. }) => {
            Some(InstanceId::new(service, release, rollout.epoch, id))
        }
        _ => None,
    };
    let ran = |HookRun { on, run }: HookRun| Event::HookRan {
        point: on,
        slot: slot.cloned(),
        instance: instance.clone(),
        host: slot.map(|slot| slot.host.clone()),
        ok: run.end.is_ok(),
        detail: run.end.to_string(),
        took: run.took,
        output: run.output,
    };
    runs.into_iter().map(ran).collect()
}
