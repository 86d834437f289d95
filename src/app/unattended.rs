//! A deploy that nobody watches: what is looked up for `core::night` and `core::calendar` to decide
//! on.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::error::Error;
use super::session::Session;
use crate::config::UnattendedConfig;
use crate::core::ids::ReleaseId;
use crate::core::journal::rollout_summary::Account;
use crate::core::policy::service_state::Standing;
use crate::core::policy::unattended::{self, Attempt, Left, Resolution};
use crate::core::rollout::Direction;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::spec::windows::{self, Hours};
use crate::store::RevisionRecord;

/// Refuses a deploy while the fleet is frozen, or where there is no window for it: before anything
/// is fetched.
pub fn permit_now(session: &Session) -> Result<(), Error> {
    if session.attendance.force {
        return Ok(());
    }
    if let Some(freeze) = session
        .store
        .freeze(&session.subject)?
        .filter(|freeze| freeze.holds(session.now()))
    {
        return Err(Error::closed(&format!(
            "deployment \"{}\" is frozen by {freeze}",
            session.subject.service
        )));
    }
    let hours = hours(session);
    match hours.refusal(session.now(), hours.turn) {
        Some(why) => Err(Error::closed(&why)),
        None => Ok(()),
    }
}

/// When the rollout may begin something, and how long that takes. Who is there decides that
/// himself.
pub fn hours(session: &Session) -> Hours {
    let UnattendedConfig {
        windows, time_zone, ..
    } = &session.project.playbook.unattended;
    if !session.attendance.unattended || session.attendance.force || windows.is_empty() {
        return Hours::default();
    }
    let zone = time_zone.clone().unwrap_or_else(TimeZone::system);
    let readiness = &session.project.playbook.readiness;
    let repeats = readiness.interval * readiness.successes.saturating_sub(1);
    Hours {
        openings: windows::openings(windows, &zone, session.clock.now()),
        are_limited: true,
        turn: session.project.playbook.rollout.min_ready + readiness.initial_delay + repeats,
        usual: usual(&session.revisions),
    }
}

/// What a deploy takes at least, as far as the history tells.
fn usual(revisions: &[RevisionRecord]) -> Duration {
    let good = |record: &RevisionRecord| {
        record.verb == Verb::Deploy && record.outcome == Some(Outcome::Succeeded) && record.proven
    };
    // A deploy of what runs already only repairs, or changes the number.
    let before = [None].into_iter().chain(revisions.iter().map(Some));
    let new = revisions.iter().zip(before).filter(|(record, before)| {
        good(record) && before.is_none_or(|before| before.release != record.release)
    });
    new.filter_map(|(record, _)| Some(record.ended?.since(record.began)))
        .min()
        .unwrap_or_default()
}

/// What becomes of the deploy of a release. The lease must be held: nobody else is at work.
pub fn resolve(
    session: &Session,
    standing: Standing,
    release: &ReleaseId,
) -> Result<Resolution, Error> {
    let rollout = session.newest_rollout()?;
    let left = Left {
        standing,
        is_going_back: rollout
            .as_ref()
            .is_some_and(|rollout| matches!(rollout.direction, Direction::Back(_))),
        has_a_way_back: rollout
            .as_ref()
            .is_some_and(|rollout| rollout.fallback.is_some()),
    };
    let attempts: Vec<_> = session
        .revisions
        .iter()
        .map(|record| attempt(session, record))
        .collect::<Result<_, _>>()?;
    let resolution = unattended::resolve(
        left,
        &attempts,
        release,
        session.project.playbook.unattended.interrupted,
    );
    Ok(match resolution {
        Resolution::Skip { .. } | Resolution::Refuse { .. } if session.attendance.force => {
            Resolution::Go
        }
        resolution => resolution,
    })
}

fn attempt(session: &Session, record: &RevisionRecord) -> Result<Attempt, Error> {
    let journal = match record.outcome {
        None | Some(Outcome::Succeeded) => None,
        Some(_) => session
            .store
            .journal_of(&session.subject, record.revision)?,
    };
    Ok(Attempt {
        revision: record.revision,
        release: record.release.clone(),
        version: record.definition.version.clone(),
        verb: record.verb,
        proven: record.proven,
        outcome: record.outcome.clone(),
        failure: journal
            .and_then(|journal| Account::of(&journal))
            .and_then(|account| account.failure),
    })
}

/// Why a new version does not begin on the fleet as it is.
pub fn unhealthy(
    session: &Session,
    release: &ReleaseId,
    available: u32,
) -> Result<Option<String>, Error> {
    let newest = session
        .newest()?
        .and_then(|(_, journal)| Account::of(&journal));
    let standing = Standing::of(newest.as_ref(), false);
    let repairs = session
        .current()
        .is_some_and(|current| current.release == *release);
    let is_new = matches!(standing, Standing::New) || repairs || standing.is_between();
    if !session.attendance.unattended || session.attendance.force || is_new {
        return Ok(None);
    }
    let wanted = newest
        .map_or(0, |account| account.replicas)
        .min(session.amounts()?.replicas);
    Ok(unattended::unhealthy(available, wanted))
}
