//! Who asks the service all the while: begins before anything is touched.

use std::sync::Arc;

use super::error::{Error, Internal, Refused};
use super::goal::Goal;
use super::session::Session;
use super::survey::Survey;
use crate::core::rollout::verb::Verb;
use crate::probe::Monitor;

/// So many requests without one right answer, while instances serve: the question is wrong.
const ATTEMPTS: u64 = 3;

/// Begins to ask, if anybody is to. Where instances serve, the service must answer, or what is
/// asked is not the service.
pub(crate) async fn begin(
    session: &Session,
    survey: &Survey,
    goal: &Goal,
) -> Result<Option<Monitor>, Error> {
    // A service that is switched off answers nobody, and shall not.
    let probing = session
        .project
        .playbook
        .monitor
        .clone()
        .filter(|_| survey.admission.spec.budget.replicas > 0);
    let Some(probing) = probing else {
        return Ok(None);
    };
    let known = survey
        .definitions
        .values()
        .map(|definition| definition.version.clone())
        .collect();
    let (url, clock) = (probing.url.clone(), Arc::clone(&session.clock));
    let asker = Monitor::start(probing, known, Arc::new(move || clock.now())).map_err(|why| {
        Internal::NoMonitor {
            url: url.clone(),
            why,
        }
    })?;
    let serving = survey
        .found
        .fleet
        .instances()
        .filter(|(.., instance)| instance.health.ready_since.is_some())
        .count();
    // What goes on or goes back is the way out of trouble, and waits for nobody.
    let is_new = goal.continuation.is_none() && matches!(goal.verb, Verb::Deploy | Verb::Restart);
    if is_new && serving > 0 {
        asker
            .wait_for_first_success(ATTEMPTS)
            .await
            .map_err(|why| Refused::MonitorFails {
                ready: serving,
                attempts: ATTEMPTS,
                url,
                why,
            })?;
    }
    Ok(Some(asker))
}
