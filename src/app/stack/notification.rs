//! The notification about a deployment: one for the whole stack.

use std::path::Path;
use std::sync::Arc;

use super::environment::DeploymentEnvironment;
use super::report::report;
use super::services::StackServices;
use crate::app::after_rollout::{self, RunSummary, send};
use crate::app::environment::{Environment, Reading};
use crate::app::exit::Exit;
use crate::app::notice::Notice;
use crate::app::opened_service::OpenedService;
use crate::app::report_destination::{ReportDestination, ReportOutput};
use crate::app::session::Session;
use crate::config::{NotifyConfig, Overrides, StackOverrides};
use crate::core::journal::notification::{Notification, NotificationKind};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::stack::{Deployment, StackOutcome};
use crate::core::time::Human;
use crate::report::LocalClock;
use crate::report::clock::rfc3339;
use crate::store::StoreAccess;

/// Writes the page about a deployment, and sends one notification to each recipient that the
/// services name.
pub(super) async fn publish(stack: &StackServices, deployment: &Deployment, exit: Exit) {
    let members = stack.services.iter();
    let members = members.filter(|it| deployment.service(&it.name).is_some());
    let services: Vec<_> = members.filter_map(|it| open(&it.env)).collect();
    let Some(first) = services.first() else {
        return;
    };
    let notification = Notification {
        why: services
            .iter()
            .find_map(failure)
            .filter(|_| deployment.outcome != Some(StackOutcome::Deployed)),
        report: write_page(stack, deployment, &*first.env),
        ..notification(deployment, &stack.fleet, exit)
    };
    let mut known: Vec<&NotifyConfig> = Vec::new();
    for service in &services {
        let playbook = &service.project.playbook;
        let Some(config) = playbook.notify.as_ref().filter(|it| !known.contains(it)) else {
            continue;
        };
        known.push(config);
        let dir = playbook.path.parent().unwrap_or(Path::new("."));
        send(&*service.env, config, &notification, dir).await;
    }
}

/// Publishes a run without a deployment: the metrics of each service, and one notification for each
/// recipient. If the files are invalid, the recipients are not known.
pub(super) async fn publish_run(
    stack: &StackServices,
    overrides: &StackOverrides,
    end: &RunSummary,
) {
    let mut known = Vec::new();
    for service in &stack.services {
        let own = overrides.of(&service.name);
        let (env, access) = (&service.env, StoreAccess::Write);
        let Ok(mut session) = Session::open(env, &own, Reading::Strict, access) else {
            continue;
        };
        let config = session.project.playbook.notify.clone();
        if known.contains(&config) {
            // Only the metrics.
            let env = DeploymentEnvironment::of(&service.env, &session.store, &session.clock);
            session.join_deployment(&env);
        }
        known.push(config);
        after_rollout::publish(&session, end.clone()).await;
    }
}

/// The path of the page; `None` if it could not be written.
fn write_page(
    stack: &StackServices,
    deployment: &Deployment,
    env: &dyn Environment,
) -> Option<String> {
    let number = deployment.number;
    match report(stack, Some(number), ReportDestination::StateDirectory) {
        Ok(ReportOutput::Written(path)) => Some(path.display().to_string()),
        Ok(ReportOutput::Html(_)) => None,
        Err(why) => {
            let text = format!("warning: cannot write the page of deployment {number}: {why}");
            env.notify(&Notice::NotPublished(text));
            None
        }
    }
}

fn open(env: &Arc<dyn Environment>) -> Option<OpenedService> {
    if !env.publishes() {
        return None;
    }
    let any = Overrides::any_version();
    OpenedService::open(env, &any, Reading::LastKnownGood, StoreAccess::Read).ok()
}

/// The failure of the newest rollout of a service, with its name.
fn failure(service: &OpenedService) -> Option<String> {
    let newest = service.newest_rollout().ok()??;
    let journal = service.store.lock().journal(newest).ok()?;
    let failure = RolloutSummary::of(&journal)?.failure?;
    Some(format!("{}: {failure}", service.service_key.service))
}

/// The notification without a reason and a page.
fn notification(deployment: &Deployment, fleet: &str, exit: Exit) -> Notification {
    let outcome = deployment.outcome.unwrap_or(StackOutcome::Stopped);
    let is_done = exit == Exit::Done;
    let ended = deployment.ended.unwrap_or(deployment.began);
    let took = ended.since(deployment.began);
    let number = deployment.number;
    let names: Vec<_> = deployment
        .services
        .iter()
        .map(|it| it.service.as_str())
        .collect();
    let first = deployment.services.first().map(|it| it.version.clone());
    let is_same = |version: &String| deployment.services.iter().all(|it| it.version == *version);
    Notification {
        occasion: match outcome {
            _ if is_done => NotificationKind::Success,
            StackOutcome::Deployed => NotificationKind::Success,
            StackOutcome::Stopped => NotificationKind::Paused,
            StackOutcome::RolledBack | StackOutcome::Held | StackOutcome::RollbackFailed => {
                NotificationKind::Failure
            }
        },
        outcome: outcome.word().to_owned(),
        summary: format!(
            "deployment {number} of {} on {fleet}: {} after {}",
            deployment.versions(),
            outcome.word(),
            Human(took)
        ),
        service: names.join(", "),
        fleet: fleet.to_owned(),
        verb: deployment.verb.noun().to_owned(),
        version: first.filter(is_same),
        previous_version: None,
        revision: None,
        rollout: None,
        who: deployment.who.clone(),
        began: rfc3339(deployment.began),
        ended: rfc3339(ended),
        duration_s: took.as_secs_f64(),
        when: format!(
            "{}, for {}",
            LocalClock::local().day_and_time(deployment.began),
            Human(took)
        ),
        exit_code: exit.code(),
        why: None,
        next: next(outcome).map(str::to_owned),
        report: None,
    }
}

/// What the user should do next.
fn next(outcome: StackOutcome) -> Option<&'static str> {
    match outcome {
        StackOutcome::Deployed => None,
        StackOutcome::RolledBack => Some("fix the problem and deploy again"),
        StackOutcome::Held | StackOutcome::RollbackFailed | StackOutcome::Stopped => {
            Some("see ship status; ship resume continues, ship abort undoes the deployment")
        }
    }
}
