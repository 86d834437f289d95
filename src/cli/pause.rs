//! `ship pause`: asks the process that carries out a rollout to start nothing new.

use std::time::Duration;

use super::args::Pause;
use super::exit::{Exit, Fail};
use super::print;
use super::session::{Session, StoreAccess};
use crate::config::Overrides;
use crate::core::policy::service_state::Ask;
use crate::core::rollout::failure::Outcome;
use crate::core::time::Human;
use crate::store::{RolloutId, Wish};

/// How often to look whether the other process has done it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is in flight has bounds of its own; after this long the caller is not kept any longer.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn run(args: Pause) -> Result<Exit, Fail> {
    let mut session = Session::recall(args.inventory, &Overrides::default(), StoreAccess::Write)?;
    let service = session.subject.service.clone();
    let rollout = ask(&mut session, Ask::Pause, Wish::Pause)?;
    let text = match await_end(&session, rollout, PATIENCE).await? {
        Some(Outcome::Paused { .. }) => {
            format!(
                "deployment \"{service}\" paused; `ship resume` goes on, `ship abort` goes back\n"
            )
        }
        Some(outcome) => {
            let why = format!(
                "error: deployment \"{service}\" had ended before it could pause: {}",
                outcome.word()
            );
            return Err(Fail::refused(why));
        }
        None => format!(
            "deployment \"{service}\" is asked to pause, but has not ended what is in flight \
             after {}; `ship status` \
             shows it\n",
            Human(PATIENCE)
        ),
    };
    print(&text)
}

/// Asks something of the process that carries out the newest rollout; which that is.
pub(super) fn ask(session: &mut Session, ask: Ask, wish: Wish) -> Result<RolloutId, Fail> {
    if let Some(refusal) = session.standing()?.refusal(ask, &session.subject.service) {
        return Err(refusal.into());
    }
    let (rollout, _) = session.newest()?.ok_or_else(Session::nothing_deployed)?;
    session.ask(rollout, wish)?;
    Ok(rollout)
}

/// Waits until a rollout has ended, or its process is gone; how it ended, if it did.
pub(super) async fn await_end(
    session: &Session,
    rollout: RolloutId,
    patience: Duration,
) -> Result<Option<Outcome>, Fail> {
    let waited = async {
        loop {
            let is_carried_out = session.is_carried_out()?;
            let outcome = session.store.outcome(rollout)?;
            if outcome.is_some() || !is_carried_out {
                return Ok(outcome);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(patience, waited)
        .await
        .unwrap_or(Ok(None))
}
