//! `ship scale`: more or fewer instances of what runs.

use super::args::Scale;
use super::exit::{Exit, Fail};
use super::releases::Release;
use super::resume;
use super::rollout::{self, Ended, GoOn, Goal};
use super::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::Ask;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;

pub(super) async fn run(args: Scale) -> Result<Exit, Fail> {
    let begun = Session::begun(&args.inventory)?;
    let standing = begun.standing;
    // The number that is asked for now is the last word on it.
    let set = begun
        .set_if(standing.is_between())
        .chain(args.set)
        .filter(|setting| !Session::is_replicas(setting));
    let overrides = Overrides {
        version: Some(begun.version()),
        set: set.collect(),
    };
    let mut session = Session::open(args.inventory, &overrides)?;
    session.lock(&format!("scale to {}", args.replicas))?;
    session.go_by_hosts().await?;
    let standing = session.permit(Ask::Scale)?;
    session.scale_to(args.replicas);
    let mut goal = match session.newest_rollout()?.filter(|_| standing.is_between()) {
        Some(rollout) => {
            let stands = rollout.outcome.clone().unwrap_or(Outcome::Interrupted);
            resume::goal(&session, rollout, GoOn::Scaled(stands))?
        }
        None => goal(&session, args.replicas)?,
    };
    goal.announcement = Some(format!("deployment \"{}\" scaled", session.subject.service));
    let stands = goal
        .earlier
        .as_ref()
        .and_then(|earlier| match &earlier.then {
            GoOn::Scaled(outcome) => Some(outcome.clone()),
            _ => None,
        });
    let ended = rollout::carry_out(session, goal, args.output).await?;
    // To stand as before, in other numbers, is what was asked for.
    let is_reached = matches!(&ended, Ended::As(outcome) if Some(outcome) == stands.as_ref());
    Ok(if is_reached {
        Exit::Done
    } else {
        ended.exit(Verb::Scale)
    })
}

fn goal(session: &Session, replicas: u32) -> Result<Goal, Fail> {
    let current = session.current_record()?;
    Ok(Goal {
        release: Release::of_history(session, &current.release, &current.definition),
        verb: Verb::Scale,
        cause: format!("scale to {replicas}"),
        playbook: current.playbook.clone(),
        earlier: None,
        announcement: None,
    })
}
