//! `ship resume`: go on with a rollout that stands still.

use super::args::{self, Resume};
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, Earlier, GoOn, Goal};
use super::session::{Session, StoreAccess};
use crate::config::Overrides;
use crate::core::policy::service_state::Ask;
use crate::core::rollout::Rollout;

pub(super) async fn run(args: Resume) -> Result<Exit, Fail> {
    let mut session = reopen(
        args.inventory,
        args.probe.after(args.set),
        "resume",
        Ask::Resume,
    )?;
    session.is_unattended(args.unattended);
    let rollout = session
        .newest_rollout()?
        .ok_or_else(Session::nothing_deployed)?;
    let announcement = Some(format!(
        "deployment \"{}\" resumed",
        session.subject.service
    ));
    let goal = Goal {
        announcement,
        ..goal(&session, rollout, GoOn::Onward)?
    };
    let verb = goal.verb;
    Ok(rollout::carry_out(session, goal, args.output)
        .await?
        .exit(verb))
}

/// Opens the session with what the newest rollout was begun with, and takes the lease.
pub(super) fn reopen(
    inventory: args::InventoryArg,
    set: Vec<String>,
    run: &str,
    ask: Ask,
) -> Result<Session, Fail> {
    let begun = Session::begun(&inventory)?;
    let overrides = Overrides {
        version: Some(begun.version()),
        set: begun.set_if(true).chain(set).collect(),
    };
    let mut session = Session::recall(inventory, &overrides, StoreAccess::Write)?;
    session.lock(run)?;
    session.permit(ask)?;
    Ok(session)
}

/// The goal of a rollout that goes on.
pub(super) fn goal(session: &Session, rollout: Rollout, then: GoOn) -> Result<Goal, Fail> {
    let record = session.revision(rollout.goal.revision).ok_or_else(|| {
        Fail::refused(format!(
            "error: revision {} is no longer in the history; deploy again",
            rollout.goal.revision
        ))
    })?;
    Ok(Goal {
        release: Release::of_history(session, &record.release, &record.definition),
        verb: rollout.verb,
        cause: record.cause.clone(),
        playbook: record.playbook.clone(),
        earlier: Some(Earlier { rollout, then }),
        announcement: None,
    })
}
