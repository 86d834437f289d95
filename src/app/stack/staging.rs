//! Brings a release to all hosts before its rollout begins, so that a failure to do so leaves every
//! service of the stack as it is.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::app::error::{Error, Refused};
use crate::app::notice::Notice;
use crate::app::preparation;
use crate::app::rollout::PreparedRollout;
use crate::app::session::Session;
use crate::core::fleet::Observation;
use crate::core::ids::{ActionId, HostId};
use crate::core::release::patch::Transfer;
use crate::core::rollout::action::Action;
use crate::engine::{ActionOrder, ActionResult};

/// Stages the release of a prepared rollout on its hosts. Hosts on which this fails are left to the
/// rollout, as far as `max_failed_hosts` allows.
///
/// # Errors
/// If it fails on more hosts, or a signal interrupts it.
pub(super) async fn stage(session: &Session, rollout: &mut PreparedRollout) -> Result<(), Error> {
    let begun = session.now();
    let orders = orders(rollout);
    if !orders.is_empty() {
        session.env.notify(&Notice::Staging {
            version: rollout.goal.release.definition.version.clone(),
            hosts: orders.len(),
        });
    }
    let connection = &rollout.survey.connection;
    let results = orders.into_iter().map(|order| async move {
        let host = order.action.host().clone();
        (host, connection.execute(order).await)
    });
    let work = async { Ok(join_all(results).await) };
    let results = preparation::prepare(&session.store, &mut rollout.interrupts, work).await?;
    let fleet = &mut rollout.survey.preflight.fleet;
    let mut failed = BTreeMap::new();
    let mut received = Vec::new();
    for (host, result) in results {
        match state_of(result) {
            // The rollout needs to know that the release is there.
            Ok(mut observation) => {
                let transfer = observation.transfer.take();
                received.extend(transfer.map(|transfer| (host.clone(), transfer)));
                drop(fleet.observe(&host, observation, begun));
            }
            Err(why) => drop(failed.insert(host, why)),
        }
    }
    notify_received(session, received);
    if failed.len() > rollout.survey.admission.spec.max_failed_hosts as usize {
        return Err(Refused::NotStaged {
            version: rollout.goal.release.definition.version.clone(),
            failed,
        }
        .into());
    }
    Ok(())
}

/// Reports how many bytes the differences saved, and the hosts that could not use one, or could not
/// receive it from another host.
fn notify_received(session: &Session, received: Vec<(HostId, Transfer)>) {
    let (failed, succeeded): (Vec<_>, Vec<_>) = received
        .into_iter()
        .partition(|(_, transfer)| transfer.has_failed_first());
    let differences: Vec<_> = succeeded
        .into_iter()
        .filter(|(_, transfer)| transfer.sent_bytes < transfer.artifact_bytes)
        .collect();
    let sum = |bytes: fn(&Transfer) -> u64| differences.iter().map(|(_, it)| bytes(it)).sum();
    let all = Transfer {
        sent_bytes: sum(|transfer| transfer.sent_bytes),
        artifact_bytes: sum(|transfer| transfer.artifact_bytes),
        ..Transfer::default()
    };
    let all = Some((None, all)).filter(|_| !differences.is_empty());
    let failed = failed
        .into_iter()
        .map(|(host, transfer)| (Some(host), transfer));
    for (host, transfer) in all.into_iter().chain(failed) {
        session.env.notify(&Notice::Received { host, transfer });
    }
}

/// The actions that stage the release on the hosts that lack it.
fn orders(rollout: &PreparedRollout) -> Vec<ActionOrder> {
    let Some(numbers) = rollout.numbers else {
        return Vec::new();
    };
    let release = &rollout.goal.release.id;
    let (spec, fleet) = (
        &rollout.survey.admission.spec,
        &rollout.survey.preflight.fleet,
    );
    let lacks_release = |host: &&HostId| {
        let seen = fleet.hosts.get(*host);
        seen.is_some_and(|seen| seen.is_reachable() && !seen.releases.contains(release))
    };
    let lacking = spec.hosts.iter().filter(lacks_release);
    lacking
        .map(|host| ActionOrder {
            // Before the first action of the rollout.
            id: ActionId(0),
            action: Action::Stage {
                host: host.clone(),
                release: release.clone(),
            },
            epoch: numbers.epoch,
            instance: None,
            progress_deadline: spec.progress_deadline,
        })
        .collect()
}

/// The state of the host after the action, or why it had no effect.
fn state_of(result: ActionResult) -> Result<Observation, String> {
    match result {
        ActionResult::Done(observation)
        | ActionResult::Switched {
            observation: Some(observation),
            ..
        } => Ok(observation),
        ActionResult::Failed { error, .. } => Err(error),
        ActionResult::Fenced { seen } => Err(format!(
            "another controller has taken over (epoch {})",
            seen.0
        )),
        ActionResult::Switched { .. } => Err("the host was not asked".to_owned()),
        ActionResult::BalancerLost { why, .. }
        | ActionResult::Busy { why }
        | ActionResult::Unknown { why } => Err(why),
    }
}
