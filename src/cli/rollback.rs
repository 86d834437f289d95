//! `ship rollback`: go back to a revision that is known to work.

use super::adopt::Adopt;
use super::args::{Form, Rollback};
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, Goal};
use super::session::{Session, StoreAccess};
use super::{note, plan};
use crate::config::Overrides;
use crate::core::ids::Revision;
use crate::core::journal::rollout_summary::Account;
use crate::core::policy::history;
use crate::core::policy::service_state::Ask;
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::report::{Clock, Output};
use crate::store::RevisionRecord;

pub(super) async fn run(args: Rollback) -> Result<Exit, Fail> {
    let overrides = Overrides {
        version: None,
        set: args.probe.after(args.set),
    };
    let access = if args.dry_run {
        StoreAccess::Read
    } else {
        StoreAccess::Write
    };
    let mut session = Session::recall(args.inventory, &overrides, access)?;
    if args.dry_run {
        session.found = Some(Box::pin(session.adopt(Adopt::Show)).await?);
    } else {
        session
            .lock_within("rollback", args.lock.lock_timeout)
            .await?;
        session.go_by_hosts().await?;
        session.permit(Ask::Rollback)?;
    }
    let present = session.current().cloned();
    if args.to_revision.is_none() {
        refuse_second(&session, present.as_ref())?;
    }
    let target = target(&session, present.as_ref(), args.to_revision)?.clone();
    let runs_it = |present: &RevisionRecord| {
        present.release == target.release && present.outcome == Some(Outcome::Succeeded)
    };
    let is_present = present.as_ref().is_some_and(runs_it);
    if is_present {
        let number = args.to_revision.map_or(target.revision, Revision);
        note(&format!(
            "skipped rollback (current template already matches revision {number})"
        ));
        session.store.release_lease()?;
        return Ok(Exit::Done);
    }
    let cause = args
        .cause
        .unwrap_or_else(|| match args.to_revision.map(Revision) {
            None if is_cut_off(&target) => target.cause.clone(),
            _ => format!("rollback to revision {}", target.revision),
        });
    let announcement = want_number_of(&mut session, present.as_ref(), &target)?;
    let release = Release::of_history(&session, &target.release, &target.definition);
    let goal = Goal {
        release,
        verb: Verb::Rollback,
        cause,
        playbook: target.playbook,
        earlier: None,
        announcement,
    };
    if args.dry_run {
        goal.announce();
        let form = if args.output == Output::Json {
            Form::Json
        } else {
            Form::Text
        };
        return plan::show(&mut session, &goal, form).await;
    }
    Ok(rollout::carry_out(session, goal, args.output)
        .await?
        .exit(Verb::Rollback))
}

fn target<'a>(
    session: &'a Session,
    present: Option<&RevisionRecord>,
    wanted: Option<u32>,
) -> Result<&'a RevisionRecord, Fail> {
    if let Some(number) = wanted {
        let found = session.revision(Revision(number)).ok_or_else(|| {
            Fail::refused(format!(
                "error: unable to find specified revision {number} in history; `ship history` \
                 lists what there is"
            ))
        })?;
        refuse_past_contract(session, found)?;
        return Ok(found);
    }
    let present = present.ok_or_else(|| {
        Fail::refused(
            "error: nothing was deployed yet, so there is nothing to roll back; `ship \
                       deploy` comes first",
        )
    })?;
    // It goes on to where it was going: what is there by now is no revision to go back from.
    if is_cut_off(present)
        && let Some(cut_off) = session.revision(present.revision)
    {
        return Ok(cut_off);
    }
    if let Some(back) = session.rollback_target(&present.release)? {
        return Ok(back);
    }
    let past = session.past();
    let newest = history::rollback_target(&past, &present.release)
        .and_then(|back| session.revision(back.revision));
    newest.map_or(Ok(()), |newest| refuse_past_contract(session, newest))?;
    Err(Fail::refused(
        "error: no other revision has been proven healthy, so there is nothing to go back to; \
         `ship history` lists what there is, and --to-revision names one all the same",
    ))
}

/// The number of instances goes back with the deploy that is undone. Where another revision is gone
/// back to, it stays, and so does a number that was set by `ship scale` since.
fn want_number_of(
    session: &mut Session,
    present: Option<&RevisionRecord>,
    target: &RevisionRecord,
) -> Result<Option<String>, Fail> {
    let runs = session.runs()?;
    let Some(then) = history::replicas_of(&runs, &target.release) else {
        return Ok(None);
    };
    if history::is_scaled_since(&runs, &target.release) || session.says_replicas() {
        return Ok(None);
    }
    // The playbook may already have the number of a deploy that failed.
    let now = match session.wanted_last(&runs) {
        Some(last) => last,
        None => session.amounts()?.replicas,
    };
    session.want(now);
    if then == now {
        return Ok(None);
    }
    let undone = match present {
        Some(present) => session.rollback_target(&present.release)?,
        None => None,
    };
    let (revision, version) = (target.revision, &target.definition.version);
    if undone.is_some_and(|undone| undone.release == target.release) {
        session.want(then);
        Ok(Some(format!(
            "{} wanted again, as when {version} (revision {revision}) ran; --set \
             rollout.replicas={now} keeps the present number",
            are(then)
        )))
    } else {
        Ok(Some(format!(
            "{} wanted as before; when {version} (revision {revision}) ran, the number was {then}: \
             --set rollout.replicas={then} restores it",
            are(now)
        )))
    }
}

fn are(replicas: u32) -> String {
    if replicas == 1 {
        "1 replica is".to_owned()
    } else {
        format!("{replicas} replicas are")
    }
}

/// Refuses a bare rollback where one has just been made, by ship or by a person: whoever asks for
/// it may not know that, and would land one revision further back than he means, or again on the
/// one that was left.
fn refuse_second(session: &Session, present: Option<&RevisionRecord>) -> Result<(), Fail> {
    let is_deploy = |record: &&RevisionRecord| matches!(record.verb, Verb::Deploy | Verb::Rollback);
    let mut newest_first = session.revisions.iter().rev().filter(is_deploy);
    let (Some(newest), Some(present)) = (newest_first.next(), present) else {
        return Ok(());
    };
    let name = |record: &RevisionRecord| {
        format!(
            "revision {} ({})",
            record.revision, record.definition.version
        )
    };
    let at = Clock::local().day_and_time(newest.ended.unwrap_or(newest.began));
    let (what, left) = match (newest.verb, &newest.outcome) {
        (Verb::Deploy, Some(Outcome::RolledBack)) => {
            let journal = session
                .store
                .journal_of(&session.subject, newest.revision)?
                .unwrap_or_default();
            let failure = Account::of(&journal).and_then(|account| account.failure);
            let how = match failure.filter(|failure| failure.kind == FailureKind::Aborted) {
                Some(aborted) => format!("was aborted by {}", aborted.detail),
                None => "failed".to_owned(),
            };
            (
                format!("{} {how} and was rolled back at {at}", name(newest)),
                None,
            )
        }
        (Verb::Rollback, Some(Outcome::Succeeded)) => {
            let left = newest_first.find(|record| record.outcome != Some(Outcome::RolledBack));
            let from = left
                .map(|left| format!(" from {}", name(left)))
                .unwrap_or_default();
            (format!("{} rolled back{from} at {at}", newest.who), left)
        }
        _ => return Ok(()),
    };
    let mut hints = Vec::new();
    let left_release = left.map(|left| &left.release);
    let past: Vec<_> = session
        .past()
        .into_iter()
        .filter(|past| Some(&past.release) != left_release)
        .collect();
    if let Some(back) = history::rollback_target(&past, &present.release)
        .and_then(|back| session.revision(back.revision))
    {
        let (number, version) = (back.revision, &back.definition.version);
        let first = session
            .revisions
            .iter()
            .find(|record| record.release == present.release);
        let goes = if first.is_some_and(|first| back.revision < first.revision) {
            "goes further back, to"
        } else {
            "goes to"
        };
        hints.push(format!(
            "`ship rollback --to-revision {number}` {goes} {version}"
        ));
    }
    if let Some(left) = left {
        let (number, version) = (left.revision, &left.definition.version);
        hints.push(format!(
            "`ship rollback --to-revision {number}` returns to {version}"
        ));
    }
    if hints.is_empty() {
        hints.push(
            "no other revision has been proven healthy; `ship history` lists what there is"
                .to_owned(),
        );
    }
    Err(Fail::refused(format!(
        "error: {what}, so {} runs; nothing was touched\nhint: {}",
        name(present),
        hints.join("; ")
    )))
}

/// There is no way back past a contract.
pub(super) fn refuse_past_contract(session: &Session, record: &RevisionRecord) -> Result<(), Fail> {
    let Some(why) = session.past_contract(record)? else {
        return Ok(());
    };
    Err(Fail::refused(format!(
        "error: there is no way back to revision {}: {why}; nothing was touched",
        record.revision
    )))
}

/// Whether a revision is a rollback that did not come to its end, and did not fail.
fn is_cut_off(record: &RevisionRecord) -> bool {
    let ended = !matches!(
        record.outcome,
        None | Some(Outcome::Interrupted | Outcome::Closed { .. } | Outcome::Fenced { .. })
    );
    record.verb == Verb::Rollback && !ended
}
