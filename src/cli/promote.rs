//! `ship promote`: a rollout that waits at a step may go on.

use super::args::Promote;
use super::exit::{Exit, Fail};
use super::rollout::{self, GoOn, Goal};
use super::session::{Session, StoreAccess, who};
use super::{pause, resume};
use crate::config::Overrides;
use crate::core::policy::service_state::{Ask, Standing};
use crate::store::Wish;

pub(super) async fn run(args: Promote) -> Result<Exit, Fail> {
    let mut session = Session::recall(
        args.inventory.clone(),
        &Overrides::default(),
        StoreAccess::Write,
    )?;
    let service = session.subject.service.clone();
    let told = if args.full {
        "promoted through all steps"
    } else {
        "promoted"
    };
    if session.standing()? == Standing::Running {
        let rollout = session
            .newest_rollout()?
            .ok_or_else(Session::nothing_deployed)?;
        let wish = match rollout.step.reached {
            _ if args.full => Wish::PromoteFully,
            Some(_) => Wish::Promote {
                step: rollout.step.passed + 1,
            },
            None => return Err(not_at_a_gate(&service)),
        };
        pause::ask(&mut session, Ask::Promote, wish)?;
        return super::print(&format!("deployment \"{service}\" {told}\n"));
    }
    drop(session);
    let mut session = resume::reopen(
        args.inventory,
        args.probe.after(args.set),
        "promote",
        Ask::Promote,
    )?;
    session.is_unattended(args.unattended);
    let rollout = session
        .newest_rollout()?
        .ok_or_else(Session::nothing_deployed)?;
    if rollout.step.reached.is_none() && !args.full {
        return Err(not_at_a_gate(&service));
    }
    let announcement = Some(format!("deployment \"{service}\" {told}"));
    let (user, host) = who();
    let then = GoOn::Promoted {
        by: format!("{user}@{host}"),
        full: args.full,
    };
    let goal = Goal {
        announcement,
        ..resume::goal(&session, rollout, then)?
    };
    let verb = goal.verb;
    Ok(rollout::carry_out(session, goal, args.output)
        .await?
        .exit(verb))
}

fn not_at_a_gate(service: &str) -> Fail {
    Fail::refused(format!(
        "error: deployment \"{service}\" does not wait at a step; `ship promote --full` lets it \
         go through all that \
         are left, `ship resume` goes on where it stands still"
    ))
}
