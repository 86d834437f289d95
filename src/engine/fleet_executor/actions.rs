//! Executes actions on hosts: builds the script of an action and interprets its reply.

use std::time::Duration;

use super::context::FleetContext;
use super::linked_host::LinkedHost;
use super::script_run::run_script;
use super::staging;
use crate::config::{SlotVars, render};
use crate::core::ids::{InstanceId, ReleaseId, Revision, Slot};
use crate::core::release::{Check, Definition, Driver, Liveness, LivenessCheck};
use crate::core::rollout::action::Action;
use crate::engine::executor::{ActionOrder, ActionResult};
use crate::engine::hooks;
use crate::remote::HostUnavailable;
use crate::script::{self, Script};

/// How long a start waits on the host for the instance to listen or to exit.
const SETTLE: Duration = Duration::from_millis(500);
/// The stop timeout of an instance whose release is not known.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Executes an action on its host.
pub(super) async fn execute_on_host(context: &FleetContext, order: ActionOrder) -> ActionResult {
    let failed = |error: String| ActionResult::Failed {
        error,
        observation: None,
    };
    let host = match context.host(order.action.host()) {
        Ok(host) => host,
        Err(HostUnavailable { why }) => return failed(why),
    };
    if let Action::Stage { release, .. } = &order.action {
        let site = context.script_context(host, order.epoch, order.id);
        return staging::stage(context, host, &site, release)
            .await
            .unwrap_or_else(failed);
    }
    match build_script(context, host, &order) {
        Ok(script) => run_script(context, host, &script).await,
        Err(error) => failed(error),
    }
}

fn build_script(
    context: &FleetContext,
    host: &LinkedHost,
    order: &ActionOrder,
) -> Result<Script, String> {
    let site = context.script_context(host, order.epoch, order.id);
    match &order.action {
        Action::Claim { .. } => Ok(script::claim(&site)),
        Action::Prune { releases, .. } => Ok(script::prune(&site, releases)),
        Action::Stop {
            slot,
            instance,
            why,
            restore_after,
            ..
        } => {
            let releases = context.possible_releases(instance);
            let has_linger = releases.iter().any(|release| release.linger.is_some());
            let spec = script::StopSpec {
                number: slot.number,
                instance: instance.clone(),
                stop_timeout: releases
                    .iter()
                    .map(|release| release.stop_timeout)
                    .max()
                    .unwrap_or(STOP_TIMEOUT),
                hooks: hooks::stop_hooks_timeout(releases),
                restore_after: *restore_after,
                may_linger: has_linger && why.allows_lingering(),
            };
            Ok(script::stop(&site, &spec))
        }
        Action::Disarm { slot } => Ok(script::disarm(&site, slot.number)),
        Action::Stage { .. } | Action::Admit { .. } | Action::Drain { .. } => {
            Err("this action has no script of its own on the host".to_owned())
        }
        Action::Start {
            slot,
            release,
            reloads,
        } => {
            let (revision, instance) = order
                .instance
                .clone()
                .ok_or("the start action has no instance name")?;
            let run = ReleaseRun {
                release: release.clone(),
                revision,
                instance,
            };
            let spec = start_spec(context, host, slot, context.definition(release)?, run)?;
            Ok(script::start(
                &site,
                &script::StartSpec {
                    start_timeout: order.progress_deadline,
                    reloads: reloads.clone(),
                    ..spec
                },
            ))
        }
    }
}

/// The unit that an instance of a release would have in a slot; `None` without systemd.
pub(super) fn unit_of(
    context: &FleetContext,
    slot: &Slot,
    definition: &Definition,
) -> Result<Option<String>, String> {
    if definition.driver != Driver::Systemd {
        return Ok(None);
    }
    let host = context.host(&slot.host).map_err(|error| error.why)?;
    let run = ReleaseRun {
        release: ReleaseId::from("unknown"),
        revision: Revision::default(),
        instance: InstanceId::from("unknown"),
    };
    let spec = start_spec(context, host, slot, definition, run)?;
    let site = host.site.read_only_context(context.service());
    Ok(Some(script::unit(&site, &spec)))
}

/// What distinguishes one start of a release from another.
struct ReleaseRun {
    release: ReleaseId,
    revision: Revision,
    instance: InstanceId,
}

fn start_spec(
    context: &FleetContext,
    host: &LinkedHost,
    slot: &Slot,
    definition: &Definition,
    run: ReleaseRun,
) -> Result<script::StartSpec, String> {
    let ReleaseRun {
        release,
        revision,
        instance,
    } = run;
    let vars = context.vars(host, slot, definition);
    let hooks = hooks::slot_hooks(definition, &vars, revision, &instance)?;
    let env = definition
        .env
        .iter()
        .map(|(key, value)| Ok((key.clone(), render(value, &vars)?)));
    let render_words = |words: &[String]| -> Result<Vec<String>, String> {
        words.iter().map(|word| render(word, &vars)).collect()
    };
    Ok(script::StartSpec {
        number: slot.number,
        instance,
        release,
        revision,
        version: definition.version.clone(),
        driver: definition.driver,
        user: definition.user.clone(),
        argv: render_words(&definition.command)?,
        activate: render_words(&definition.activate)?,
        reload: render_words(&definition.reload)?,
        reloads: None,
        env: env.collect::<Result<_, String>>()?,
        ports: definition.ports_of(slot.number),
        shared_dirs: definition.shared_dirs.clone(),
        stop_signal: definition.stop_signal,
        stop_timeout: definition.stop_timeout,
        linger: definition.linger,
        directives: definition.systemd.try_map(|value| render(value, &vars))?,
        notifies: definition.readiness.check == Check::Notify,
        liveness_port: definition.liveness_port(slot.number),
        liveness: definition
            .liveness
            .as_ref()
            .map(|liveness| render_liveness(liveness, &vars))
            .transpose()?,
        hooks,
        start_timeout: Duration::ZERO,
        settle: SETTLE,
    })
}

/// Renders the templates of a liveness probe.
fn render_liveness(liveness: &Liveness, vars: &SlotVars<'_>) -> Result<Liveness, String> {
    let check = match &liveness.check {
        LivenessCheck::Command(words) => LivenessCheck::Command(
            words
                .iter()
                .map(|word| render(word, vars))
                .collect::<Result<_, _>>()?,
        ),
        check => check.clone(),
    };
    Ok(Liveness {
        check,
        ..liveness.clone()
    })
}
