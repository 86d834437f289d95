//! Actions on hosts: which script an order is, and what its end means.

use std::time::Duration;

use super::context::{FleetContext, LinkedHost};
use crate::config::{SlotVars, render};
use crate::core::ids::{InstanceId, ReleaseId, Revision, Slot};
use crate::core::release::{Liveness, LivenessCheck};
use crate::core::rollout::action::Action;
use crate::engine::executor::{ActionOrder, ActionResult};
use crate::engine::hooks;
use crate::remote::HostUnavailable;
use crate::script::{self, HostContext, Script};

/// How long a start waits on the host for the instance to listen or exit, before it reports.
const SETTLE: Duration = Duration::from_millis(500);
/// The stop timeout of an instance when no release is known.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Carries out an order on its host.
pub(super) async fn carry_out(context: &FleetContext, order: ActionOrder) -> ActionResult {
    let failed = |error: String| ActionResult::Failed {
        error,
        observation: None,
    };
    let host = match context.host(order.action.host()) {
        Ok(host) => host,
        Err(HostUnavailable { why }) => return failed(why),
    };
    let script = match script_of(context, host, &order) {
        Ok(script) => script,
        Err(error) => return failed(error),
    };
    match host.link.run(&script).await {
        Ok(stdout) => judge(context, host, &stdout),
        Err(HostUnavailable { why }) => ActionResult::Unknown { why },
    }
}

/// The result of an order, by what its script printed.
fn judge(context: &FleetContext, host: &LinkedHost, stdout: &str) -> ActionResult {
    let name = &host.site.target.name;
    let reply = match script::read_reply(stdout, context.now()) {
        Ok(reply) => reply,
        Err(unreadable) => {
            return ActionResult::Unknown {
                why: format!("{name}: {unreadable}"),
            };
        }
    };
    match reply.end {
        script::ScriptEnd::Done => ActionResult::Done(reply.observation),
        script::ScriptEnd::Fenced { seen } => ActionResult::Fenced { seen },
        script::ScriptEnd::Failed(error) => ActionResult::Failed {
            error,
            observation: Some(reply.observation),
        },
        // What it was to do may be wrong by now. Look, and plan again.
        script::ScriptEnd::Late { .. } => ActionResult::Unknown {
            why: format!("{name}: it has carried out a later order meanwhile"),
        },
        // Another order is still at work there: neither done nor failed. Look, and plan again.
        script::ScriptEnd::LockBusy { holder } => ActionResult::Busy {
            why: format!("{name}: another script holds the lock ({holder})"),
        },
    }
}

fn script_of(
    context: &FleetContext,
    host: &LinkedHost,
    order: &ActionOrder,
) -> Result<Script, String> {
    let site = context.site(host, order.epoch, order.id);
    match &order.action {
        Action::Claim { .. } => Ok(script::claim(&site)),
        Action::Prune { releases, .. } => Ok(script::prune(&site, releases)),
        Action::Stage { release, .. } => stage(context, &site, release),
        Action::Stop {
            slot,
            instance,
            restore_after,
            ..
        } => {
            let releases = context.possible_releases(instance);
            let halt = script::StopSpec {
                port: slot.port,
                instance: instance.clone(),
                stop_timeout: releases
                    .iter()
                    .map(|release| release.stop_timeout)
                    .max()
                    .unwrap_or(STOP_TIMEOUT),
                hooks: hooks::time_to_stop(releases),
                restore_after: *restore_after,
            };
            Ok(script::stop(&site, &halt))
        }
        Action::Disarm { slot } => Ok(script::disarm(&site, slot.port)),
        Action::Admit { .. } | Action::Drain { .. } => {
            Err("the balancers are told, not the host".to_owned())
        }
        Action::Start { slot, release } => {
            let (revision, instance) = order
                .instance
                .clone()
                .ok_or("a start without an instance's name")?;
            let launch = launch(context, host, slot, release, revision, instance)?;
            Ok(script::start(
                &site,
                &script::StartSpec {
                    start_timeout: order.progress_deadline,
                    ..launch
                },
            ))
        }
    }
}

fn stage(
    context: &FleetContext,
    site: &HostContext,
    release: &ReleaseId,
) -> Result<Script, String> {
    let definition = context.definition(release)?;
    let artifact = context
        .releases()
        .artifacts
        .join(&definition.artifact.sha256);
    if !artifact.is_file() {
        return Err(format!(
            "this host does not have version {}, and its artifact is not kept at {}; deploy \
             that version again",
            definition.version,
            artifact.display()
        ));
    }
    let secrets = match &definition.secrets_sha256 {
        None => None,
        Some(digest) => Some(context.releases().secrets.get(digest).ok_or_else(|| {
            format!(
                "the secrets of version {} are no longer those that the playbook names, and \
                 this host never had \
                 them; deploy that version again with its secrets",
                definition.version
            )
        })?),
    };
    let pulled = context
        .releases()
        .pulled
        .as_ref()
        .filter(|(pulled, _)| pulled == release);
    let bytes = pulled.map_or(script::ArtifactInput::Pushed(&artifact), |(_, url)| {
        script::ArtifactInput::Pulled(url)
    });
    Ok(script::stage(
        site,
        definition,
        release,
        bytes,
        secrets.map(Vec::as_slice),
    ))
}

fn launch(
    context: &FleetContext,
    host: &LinkedHost,
    slot: &Slot,
    release: &ReleaseId,
    revision: Revision,
    instance: InstanceId,
) -> Result<script::StartSpec, String> {
    let definition = context.definition(release)?;
    let vars = context.vars(host, slot, definition);
    let hooks = hooks::of_slot(definition, &vars, revision, &instance)?;
    let env = definition
        .env
        .iter()
        .map(|(key, value)| Ok((key.clone(), render(value, &vars)?)));
    Ok(script::StartSpec {
        port: slot.port,
        instance,
        release: release.clone(),
        revision,
        version: definition.version.clone(),
        driver: definition.driver,
        user: definition.user.clone(),
        argv: definition
            .command
            .iter()
            .map(|word| render(word, &vars))
            .collect::<Result<_, _>>()?,
        env: env.collect::<Result<_, String>>()?,
        stop_timeout: definition.stop_timeout,
        liveness: definition
            .liveness
            .as_ref()
            .map(|liveness| rendered(liveness, &vars))
            .transpose()?,
        hooks,
        start_timeout: Duration::ZERO,
        settle: SETTLE,
    })
}

/// Liveness with the templates filled in.
fn rendered(liveness: &Liveness, vars: &SlotVars<'_>) -> Result<Liveness, String> {
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
