//! `ship contract`: takes away what only older versions needed, because a person says so.

use super::args::Contract;
use super::exit::{Exit, Fail};
use super::note;
use super::releases::Release;
use super::rollout::{self, Goal};
use super::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::Ask;
use crate::core::rollout::task;
use crate::core::rollout::verb::Verb;

pub(super) async fn run(args: Contract) -> Result<Exit, Fail> {
    let begun = Session::begun(&args.inventory)?;
    let overrides = Overrides {
        version: Some(begun.version()),
        set: args.set,
    };
    let mut session = Session::open(args.inventory, &overrides)?;
    session.lock("contract")?;
    session.permit(Ask::Contract)?;
    session.want_as_many()?;
    let current = session.current_record()?.clone();
    let left = task::contracts(
        &current.definition,
        &session.store.migrations_made(&session.subject)?,
    );
    if left.is_empty() {
        note(&format!(
            "nothing to do: no contract of {} is left to be made",
            current.definition.version
        ));
        session.store.release_lease()?;
        return Ok(Exit::Done);
    }
    let cause = args.cause.unwrap_or_else(|| {
        let names: Vec<_> = left.into_iter().map(|chore| chore.name).collect();
        names.join(", ")
    });
    let goal = Goal {
        release: Release::of_history(&session, &current.release, &current.definition),
        verb: Verb::Contract,
        cause,
        playbook: current.playbook,
        earlier: None,
        announcement: None,
    };
    Ok(rollout::carry_out(session, goal, args.output)
        .await?
        .exit(Verb::Contract))
}
