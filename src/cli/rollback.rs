//! `ship rollback`: go back to a revision that is known to work.

use super::args::{Form, Rollback};
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, Goal};
use super::session::{Session, StoreAccess};
use super::{note, plan};
use crate::config::Overrides;
use crate::core::event::Verb;
use crate::core::failure::Outcome;
use crate::core::history;
use crate::core::names::Revision;
use crate::core::standing::Ask;
use crate::report::Output;
use crate::store::RevisionRecord;

pub(super) async fn run(args: Rollback) -> Result<Exit, Fail> {
    let overrides = Overrides { version: None, set: args.probe.after(args.set) };
    let access = if args.dry_run { StoreAccess::Read } else { StoreAccess::Write };
    let mut session = Session::recall(args.inventory, &overrides, access)?;
    if !args.dry_run {
        session.lock_within("rollback", args.lock.lock_timeout).await?;
        session.permit(Ask::Rollback)?;
    }
    let present = session.current().cloned();
    let target = target(&session, present.as_ref(), args.to_revision)?.clone();
    let is_present =
        present.is_some_and(|present| present.release == target.release && present.outcome == Some(Outcome::Succeeded));
    if is_present {
        let number = args.to_revision.map_or(target.revision, Revision);
        note(&format!("skipped rollback (current template already matches revision {number})"));
        session.store.release_lease()?;
        return Ok(Exit::Done);
    }
    let cause = args.cause.unwrap_or_else(|| match args.to_revision.map(Revision) {
        None if is_cut_off(&target) => target.cause.clone(),
        _ => format!("rollback to revision {}", target.revision),
    });
    let release = Release::of_history(&session, &target.release, &target.definition);
    let goal =
        Goal { release, verb: Verb::Rollback, cause, playbook: target.playbook, earlier: None, announcement: None };
    if args.dry_run {
        let form = if args.output == Output::Json { Form::Json } else { Form::Text };
        return plan::show(&session, &goal, form).await;
    }
    Ok(rollout::carry_out(session, goal, args.output).await?.exit(Verb::Rollback))
}

fn target<'a>(
    session: &'a Session,
    present: Option<&RevisionRecord>,
    wanted: Option<u32>,
) -> Result<&'a RevisionRecord, Fail> {
    if let Some(number) = wanted {
        let found = session.revision(Revision(number)).ok_or_else(|| {
            Fail::refused(format!(
                "error: unable to find specified revision {number} in history; `ship history` lists what there is"
            ))
        })?;
        refuse_past_contract(session, found)?;
        return Ok(found);
    }
    let present = present.ok_or_else(|| {
        Fail::refused("error: nothing was deployed yet, so there is nothing to roll back; `ship deploy` comes first")
    })?;
    // It goes on to where it was going: what is there by now is no revision to go back from.
    if is_cut_off(present)
        && let Some(cut_off) = session.revision(present.revision)
    {
        return Ok(cut_off);
    }
    if let Some(back) = session.way_back(&present.release)? {
        return Ok(back);
    }
    let past = session.past();
    let newest = history::fallback(&past, &present.release).and_then(|back| session.revision(back.revision));
    newest.map_or(Ok(()), |newest| refuse_past_contract(session, newest))?;
    Err(Fail::refused(
        "error: no other revision has been proven healthy, so there is nothing to go back to; \
         `ship history` lists what there is, and --to-revision names one all the same",
    ))
}

/// There is no way back past a contract.
pub(super) fn refuse_past_contract(session: &Session, record: &RevisionRecord) -> Result<(), Fail> {
    let Some(why) = session.past_contract(record)? else { return Ok(()) };
    Err(Fail::refused(format!(
        "error: there is no way back to revision {}: {why}; nothing was touched",
        record.revision
    )))
}

/// Whether a revision is a rollback that did not come to its end, and did not fail.
fn is_cut_off(record: &RevisionRecord) -> bool {
    let ended =
        !matches!(record.outcome, None | Some(Outcome::Interrupted | Outcome::Closed { .. } | Outcome::Fenced { .. }));
    record.verb == Verb::Rollback && !ended
}
