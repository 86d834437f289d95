//! Brings a release to all hosts before its rollout begins, so that a failure to do so leaves every
//! service of the stack as it is.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::app::error::{Error, Refused};
use crate::app::preparation;
use crate::app::rollout::PreparedRollout;
use crate::app::session::Session;
use crate::core::ids::{ActionId, HostId};
use crate::core::rollout::action::Action;
use crate::engine::{ActionOrder, ActionResult};

/// Stages the release of a prepared rollout on its hosts. Hosts on which this fails are left to the
/// rollout, as far as `max_failed_hosts` allows.
///
/// # Errors
/// If it fails on more hosts, or a signal interrupts it.
pub(super) async fn stage(session: &Session, rollout: &mut PreparedRollout) -> Result<(), Error> {
    let Some(numbers) = rollout.numbers else {
        return Ok(());
    };
    let (survey, release) = (&rollout.survey, &rollout.goal.release.id);
    let spec = &survey.admission.spec;
    let fleet = &survey.preflight.fleet;
    let lacks_release = |host: &&HostId| {
        let seen = fleet.hosts.get(*host);
        seen.is_some_and(|seen| seen.is_reachable() && !seen.releases.contains(release))
    };
    let orders = spec
        .hosts
        .iter()
        .filter(lacks_release)
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
        });
    let connection = &survey.connection;
    let staged = orders.map(|order| async move {
        let host = order.action.host().clone();
        let result = connection.execute(order).await;
        why_not(result).map(|why| (host, why))
    });
    let work = async { Ok(join_all(staged).await) };
    let failed = preparation::prepare(&session.store, &mut rollout.interrupts, work).await?;
    let failed: BTreeMap<_, _> = failed.into_iter().flatten().collect();
    if failed.len() > spec.max_failed_hosts as usize {
        return Err(Refused::NotStaged {
            version: rollout.goal.release.definition.version.clone(),
            failed,
        }
        .into());
    }
    Ok(())
}

/// Why an action had no effect; `None` if it had.
fn why_not(result: ActionResult) -> Option<String> {
    match result {
        ActionResult::Done(_) | ActionResult::Switched { .. } => None,
        ActionResult::Failed { error, .. } => Some(error),
        ActionResult::Fenced { seen } => Some(format!(
            "another controller has taken over (epoch {})",
            seen.0
        )),
        ActionResult::BalancerLost { why, .. }
        | ActionResult::Busy { why }
        | ActionResult::Unknown { why } => Some(why),
    }
}
