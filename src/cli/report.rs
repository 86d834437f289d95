//! `ship report`: one page about a rollout.

use std::path::Path;

use super::args::ReportArgs;
use super::exit::{Exit, Fail};
use super::output::print;
use super::terminal;
use crate::app::environment::{Reading, StoreAccess};
use crate::app::error::{Error, Refused};
use crate::app::page::{self, Retrospect};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::store::RolloutId;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Fail> {
    // The version is of no account here, and the playbook may name none.
    let env = terminal::quiet(args.inventory.clone());
    let overrides = Overrides::default();
    let session = Session::open(&env, &overrides, Reading::LastKnownGood, StoreAccess::Read)?;
    let id = rollout(&session, args.rollout)?;
    let past = Retrospect::of(&session, id, None)?;
    let html = past.page(&session, past.exit())?;
    if args.to.as_deref() == Some(Path::new("-")) {
        return print(&html);
    }
    let path = match &args.to {
        Some(path) => {
            page::write(path, &html)?;
            path.clone()
        }
        None => page::keep(&session, id, &html)?,
    };
    print(&format!("{}\n", path.display()))
}

/// The rollout that is meant: the newest, unless a number is given.
fn rollout(session: &Session, number: Option<i64>) -> Result<RolloutId, Fail> {
    let known: Vec<_> = session
        .store
        .rollouts(&session.subject)?
        .into_iter()
        .map(|known| known.id)
        .collect();
    let Some(newest) = known.last() else {
        return Err(Error::from(Refused::NothingDeployed).into());
    };
    let Some(number) = number else {
        return Ok(*newest);
    };
    known
        .iter()
        .find(|id| id.0 == number)
        .copied()
        .ok_or_else(|| {
            let numbers: Vec<_> = known.iter().map(|id| id.0.to_string()).collect();
            let (service, fleet) = (&session.subject.service, &session.subject.fleet);
            Fail::refused(format!(
                "error: the history has no rollout {number} of {service} on {fleet}; it has {}",
                numbers.join(", ")
            ))
        })
}
