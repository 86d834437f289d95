//! `ship deploy`: bring the fleet to a version.

use super::args::{Deploy, Form};
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::rollout::{self, GoOn, Goal};
use super::session::{Attendance, Session};
use super::{args, channels, night, note, plan, resume, rollback};
use crate::config::Overrides;
use crate::core::event::Verb;
use crate::core::night::Resolution;
use crate::core::standing::Ask;
use crate::report::Output;

pub(super) async fn run(args: Deploy) -> Result<Exit, Fail> {
    let set = args.probe.after(args.overrides.set);
    if args.dry_run {
        let output = if args.output == Output::Json { Form::Json } else { Form::Text };
        let overrides = args::Overrides { version: args.overrides.version, set };
        return plan::run(args::Plan { inventory: args.inventory, overrides, output }).await;
    }
    let resolved = channels::resolve(&args.inventory, Overrides { version: args.overrides.version, set }).await?;
    let mut session = Session::open(args.inventory, &resolved.overrides)?;
    session.attendance = Attendance { unattended: args.unattended, force: args.force };
    night::permit_now(&session)?;
    let release = Release::prepare(&session).await?;
    session.lock_within(&format!("deploy {}", release.definition.version), args.lock_wait).await?;
    let standing = session.permit(Ask::Deploy)?;
    refuse_past_contract(&session, &release)?;
    let resolution = if args.unattended { night::resolve(&session, standing, &release.id)? } else { Resolution::Go };
    let then = match resolution {
        Resolution::Go => {
            let goal = goal(&session, release, args.cause.or_else(|| resolved.cause()));
            return Ok(rollout::carry_out(session, goal, args.output).await?.exit(Verb::Deploy));
        }
        Resolution::Skip { why } => {
            note(&format!("skipped: {why}"));
            session.store.release_lease()?;
            return Ok(Exit::Done);
        }
        Resolution::Refuse { why } => return Err(Fail::refused(format!("error: {why}"))),
        Resolution::GoOnBack => GoOn::Onward,
        Resolution::Abort => GoOn::Back("the playbook's [unattended] interrupted = \"abort\"".to_owned()),
    };
    let unfinished = session.newest_rollout()?.ok_or_else(Session::nothing_deployed)?;
    note(&format!("the {} of {} was left unfinished, and goes back", unfinished.verb.noun(), unfinished.goal.version));
    let goal = resume::goal(&session, unfinished, then)?;
    let verb = goal.verb;
    Ok(rollout::carry_out(session, goal, args.output).await?.exit(verb))
}

/// An older release is no way around a contract either.
fn refuse_past_contract(session: &Session, release: &Release) -> Result<(), Fail> {
    let known = session.revisions.iter().rev().find(|record| record.release == release.id);
    let refused = known.filter(|_| !session.attendance.force);
    refused.and_then(|record| rollback::refused_past_contract(session, record)).map_or(Ok(()), Err)
}

/// The goal of a deploy of a release.
pub(super) fn goal(session: &Session, release: Release, cause: Option<String>) -> Goal {
    let playbook = std::fs::read_to_string(&session.project.playbook.path).unwrap_or_default();
    let cause = cause.unwrap_or_else(|| format!("deploy {}", release.definition.version));
    Goal { release, verb: Verb::Deploy, cause, playbook, earlier: None }
}
