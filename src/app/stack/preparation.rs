//! What happens before a deployment changes any instance: every service is surveyed, and its release
//! is on every host.

use std::sync::Arc;

use futures::future::try_join_all;

use super::environment::DeploymentEnvironment;
use super::services::{StackServiceEnv, of_service};
use super::staging::stage;
use crate::app::conclusion::Conclusion;
use crate::app::environment::Environment;
use crate::app::error::Error;
use crate::app::goal::Goal;
use crate::app::preparation::keep_leases;
use crate::app::rollout::{self, Preparation, PreparedRollout};
use crate::app::session::Session;
use crate::core::ids::Revision;
use crate::core::policy::revision::RevisionRecord;
use crate::core::stack::DeployedService;
use crate::store::StoreHandle;

/// A service of a deployment, with the store that holds its lease.
pub(super) struct LeasedService {
    pub(super) name: String,
    pub(super) store: StoreHandle,
    /// The environment for verbs that are a part of the deployment.
    pub(super) env: Arc<dyn Environment>,
}

/// What a service does in a deployment.
pub(super) enum ServiceGoal {
    RollOut(Box<Goal>),
    Unchanged(Conclusion),
}

/// A service that is ready to roll out.
pub(super) struct ReadyService {
    pub(super) leased: LeasedService,
    pub(super) deployed: DeployedService,
    pub(super) session: Session,
    pub(super) rollout: PreparedRollout,
}

/// The services of a deployment before its first change.
pub(super) struct ReadyStack {
    pub(super) services: Vec<ReadyService>,
    pub(super) unchanged: Vec<Conclusion>,
    /// The leases of the services that do not change. They are released at the end.
    pub(super) idle: Vec<StoreHandle>,
}

/// Surveys the hosts of all services and stages the releases on them.
///
/// # Errors
/// The first error of a service. No instance was changed.
pub(super) async fn prepare(
    services: &[StackServiceEnv],
    goals: Vec<(Session, ServiceGoal)>,
) -> Result<ReadyStack, Error> {
    let stores: Vec<_> = goals
        .iter()
        .map(|(session, _)| session.store.clone())
        .collect();
    let surveys = services
        .iter()
        .zip(goals)
        .map(|(service, (session, goal))| survey(service, session, goal));
    let surveyed = keep_leases(&stores, try_join_all(surveys)).await?;
    let mut ready = ReadyStack {
        services: Vec::new(),
        unchanged: Vec::new(),
        idle: Vec::new(),
    };
    for surveyed in surveyed {
        match surveyed {
            Surveyed::Ready(service) => ready.services.push(*service),
            Surveyed::Unchanged { store, conclusion } => {
                ready.unchanged.push(conclusion);
                ready.idle.push(store);
            }
        }
    }
    for service in &mut ready.services {
        let numbers = rollout::allocate(&service.session, &service.rollout)?;
        service.rollout.numbers = Some(numbers);
        service.deployed.revision = numbers.revision;
    }
    let staged = ready.services.iter_mut().map(|service| async {
        let ReadyService {
            session, rollout, ..
        } = service;
        let staged = stage(session, rollout).await;
        staged.map_err(of_service(&service.leased.name))
    });
    keep_leases(&stores, try_join_all(staged)).await?;
    Ok(ready)
}

enum Surveyed {
    Ready(Box<ReadyService>),
    Unchanged {
        store: StoreHandle,
        conclusion: Conclusion,
    },
}

async fn survey(
    service: &StackServiceEnv,
    mut session: Session,
    goal: ServiceGoal,
) -> Result<Surveyed, Error> {
    let store = session.store.clone();
    let goal = match goal {
        ServiceGoal::RollOut(goal) => *goal,
        ServiceGoal::Unchanged(conclusion) => return Ok(Surveyed::Unchanged { store, conclusion }),
    };
    let env = DeploymentEnvironment::of(&service.env, &store, &session.clock);
    session.join_deployment(&env);
    let version = goal.release.definition.version.clone();
    let prepared = Box::pin(rollout::prepare_rollout(&mut session, goal)).await;
    match prepared.map_err(of_service(&service.name))? {
        Preparation::NothingToDo(conclusion) => Ok(Surveyed::Unchanged { store, conclusion }),
        Preparation::Ready(prepared) => Ok(Surveyed::Ready(Box::new(ReadyService {
            deployed: DeployedService {
                service: service.name.clone(),
                after: service.after.clone(),
                version,
                revision: Revision::default(),
                before: revision_before(&session, &prepared),
                set: session.set.clone(),
                undo: None,
                contract: None,
            },
            leased: LeasedService {
                name: service.name.clone(),
                store,
                env,
            },
            session,
            rollout: *prepared,
        }))),
    }
}

/// The revision to which the service returns if the deployment fails: the current one, unless it is
/// not proven, then the rollback target of the rollout.
fn revision_before(session: &Session, prepared: &PreparedRollout) -> Option<Revision> {
    let current = session.history.current();
    let is_same = |record: &&RevisionRecord| record.release == prepared.goal.release.id;
    let target = prepared.survey.admission.rollback_target.as_ref();
    let same = current.filter(is_same).map(|record| record.revision);
    same.or_else(|| target.map(|target| target.revision))
}
