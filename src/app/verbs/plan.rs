//! `ship plan`: what a deploy would do. It is the planner itself, played through.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::adoption::Adopt;
use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::Error;
use crate::app::goal::Goal;
use crate::app::session::Session;
use crate::app::verbs::deploy;
use crate::app::{channels, orphans, survey};
use crate::config::Overrides;
use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::planner::preview::{self, preview};
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::Rollout;
use crate::core::spec::Spec;
use crate::report::Versions;
use crate::store::ServiceKey;

pub struct DeployPlan {
    pub subject: ServiceKey,
    pub spec: Spec,
    /// The release that is to run.
    pub release: ReleaseId,
    /// The rollout as it would begin.
    pub rollout: Rollout,
    /// The fleet as it was found.
    pub fleet: Fleet,
    /// All batches to the end.
    pub played: preview::Preview,
    /// Why nothing is done at first about a host.
    pub holds: BTreeMap<HostId, WaitReason>,
    pub versions: Versions,
}

/// Shows what a deploy would do, and touches nothing.
///
/// # Errors
/// Why it could not be made.
pub async fn plan(env: &Arc<dyn Environment>, overrides: Overrides) -> Result<DeployPlan, Error> {
    let overrides = channels::resolve(env, overrides).await?.overrides;
    let session = Session::open(env, &overrides, Reading::Strict, StoreAccess::Read)?;
    let release = env
        .prepare_release(&session.project, &session.place)
        .await?;
    let goal = deploy::goal(&session, release, None);
    preview_of(session, goal).await
}

/// Shows what would be done for a goal, and touches nothing.
pub(super) async fn preview_of(mut session: Session, goal: Goal) -> Result<DeployPlan, Error> {
    orphans::tell(&session)?;
    let survey = survey::look(&mut session, &goal, Adopt::Show).await?;
    let admission = survey.admission;
    let fleet = survey.found.fleet;
    let now = session.now();
    Ok(DeployPlan {
        played: preview(&admission.spec, &admission.rollout, &fleet, now),
        holds: admission.plan.holds,
        spec: admission.spec,
        release: goal.release.id,
        rollout: admission.rollout,
        fleet,
        versions: session.versions(),
        subject: session.subject,
    })
}
