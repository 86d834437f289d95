//! `ship abort`: back to the revision proven healthy, from a rollout that runs or stands still.

use std::time::Duration;

use super::args::Abort;
use super::exit::{Exit, Fail};
use super::rollout::{self, Ended, GoOn, Goal};
use super::session::{Session, StoreAccess, who};
use super::{note, pause, resume, rollback};
use crate::config::Overrides;
use crate::core::policy::service_state::{Ask, Standing};
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::rollout::{Direction, Rollout};
use crate::store::Wish;

/// A rollout on its way back ends by its own deadlines; this is longer than any of them.
const PATIENCE: Duration = Duration::from_hours(24);

pub(super) async fn run(args: Abort) -> Result<Exit, Fail> {
    let mut session = Session::recall(
        args.inventory.clone(),
        &Overrides::default(),
        StoreAccess::Write,
    )?;
    if session.standing()? == Standing::Running {
        let rollout = session
            .newest_rollout()?
            .ok_or_else(Session::nothing_deployed)?;
        has_a_way_back(&session, &rollout)?;
        let id = pause::ask(&mut session, Ask::Abort, Wish::Abort)?;
        note(&format!(
            "deployment \"{}\" aborted: it goes back to {}",
            session.subject.service,
            back(&rollout)
        ));
        if let Some(outcome) = pause::await_end(&session, id, PATIENCE).await? {
            return told(&session, outcome);
        }
        // Its process has died meanwhile: its part is taken over.
    }
    let session = resume::reopen(args.inventory, args.set, "abort", Ask::Abort)?;
    let rollout = session
        .newest_rollout()?
        .ok_or_else(Session::nothing_deployed)?;
    has_a_way_back(&session, &rollout)?;
    let announcement = format!(
        "deployment \"{}\" aborted: it goes back to {}",
        session.subject.service,
        back(&rollout)
    );
    let (user, host) = who();
    let goal = resume::goal(&session, rollout, GoOn::Back(format!("{user}@{host}")))?;
    let goal = Goal {
        announcement: Some(announcement),
        ..goal
    };
    let ended = rollout::carry_out(session, goal, args.output).await?;
    Ok(exit(&ended))
}

fn has_a_way_back(session: &Session, rollout: &Rollout) -> Result<(), Fail> {
    let is_back = matches!(rollout.direction, Direction::Back(_));
    if let Some(fallback) = rollout.fallback.as_ref().filter(|_| !is_back) {
        let record = session.revision(fallback.revision);
        return record.map_or(Ok(()), |record| {
            rollback::refuse_past_contract(session, record)
        });
    }
    if is_back {
        return Ok(());
    }
    Err(Fail::refused(format!(
        "error: there is no other revision proven healthy that this {} could go back to; `ship \
         pause` stops it where it \
         is, and `ship scale --replicas 0` stops the service",
        rollout.verb.noun()
    )))
}

fn back(rollout: &Rollout) -> String {
    let to = rollout.fallback.as_ref().unwrap_or(&rollout.goal);
    format!("{} (revision {})", to.version, to.revision)
}

/// How the other process has done it.
fn told(session: &Session, outcome: Outcome) -> Result<Exit, Fail> {
    let service = &session.subject.service;
    match &outcome {
        Outcome::RolledBack => note(&format!("deployment \"{service}\" rolled back")),
        Outcome::Succeeded => {
            return Err(Fail::refused(format!(
                "error: deployment \"{service}\" had succeeded before it could be aborted; `ship \
                 rollback` goes back"
            )));
        }
        outcome => note(&format!(
            "deployment \"{service}\" ended: {}; `ship status` shows it",
            outcome.word()
        )),
    }
    Ok(exit(&Ended::As(outcome)))
}

/// To go back is what was asked for here, not a failure.
fn exit(ended: &Ended) -> Exit {
    match ended {
        Ended::As(Outcome::RolledBack) => Exit::Done,
        ended => ended.exit(Verb::Rollback),
    }
}
