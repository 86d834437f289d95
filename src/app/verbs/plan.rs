//! `ship plan`: simulates a deploy with the planner itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::adoption::Adopt;
use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::goal::Goal;
use crate::app::identity_note::identity_note;
use crate::app::session::Session;
use crate::app::verbs::deploy;
use crate::app::{channels, orphans, recovery, survey};
use crate::config::Overrides;
use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::planner::preview::{self, preview};
use crate::core::planner::wait_reason::WaitReason;
use crate::core::rollout::Rollout;
use crate::core::rollout::verb::Verb;
use crate::core::spec::Spec;
use crate::report::Versions;
use crate::store::ServiceKey;
use crate::store::StoreAccess;

pub struct DeployPlan {
    pub service_key: ServiceKey,
    pub spec: Spec,
    /// The release to deploy.
    pub release: ReleaseId,
    /// The rollout at its start.
    pub rollout: Rollout,
    /// The fleet as it was observed.
    pub fleet: Fleet,
    /// The simulated rollout, to its end.
    pub simulated: preview::Preview,
    /// Why ship would do nothing on a host at first.
    pub wait_reasons: BTreeMap<HostId, WaitReason>,
    pub versions: Versions,
    /// What identifies the release, if ship does not run its processes.
    pub identity_note: Option<String>,
}

/// Simulates a deploy. Makes no changes.
///
/// # Errors
/// Why the deploy would be refused.
pub async fn plan(env: &Arc<dyn Environment>, overrides: Overrides) -> Result<DeployPlan, Error> {
    let overrides = channels::resolve(env, overrides).await?.overrides;
    let session = Session::open(env, &overrides, Reading::Strict, StoreAccess::Read)?;
    let release = env
        .prepare_release(&session.project, &session.state_dir, None)
        .await?;
    let goal = deploy::goal(&session, release, None);
    Box::pin(preview_of(session, goal)).await
}

/// Simulates a rollout to a goal. Makes no changes.
pub(super) async fn preview_of(mut session: Session, goal: Goal) -> Result<DeployPlan, Error> {
    orphans::report_orphans(&session)?;
    let survey = survey::survey(&mut session, &goal, Adopt::Show).await?;
    if goal.verb == Verb::Rollback {
        Box::pin(recovery::check(&session, &survey, &goal)).await?;
    }
    let admission = survey.admission;
    let fleet = survey.preflight.fleet;
    let now = session.now();
    Ok(DeployPlan {
        simulated: preview(&admission.spec, &admission.rollout, &fleet, now),
        wait_reasons: admission.plan.wait_reasons,
        spec: admission.spec,
        release: goal.release.id,
        rollout: admission.rollout,
        fleet,
        versions: session.versions(),
        identity_note: identity_note(&goal.release.definition),
        service_key: session.service_key,
    })
}
