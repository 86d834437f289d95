//! The frame of a deployment of several services.

use std::collections::BTreeMap;

use super::super::message::Severity;
use super::super::text;
use super::content::ScreenMessage;
use super::frame::{FrameLayout, ScreenFrame};
use super::instances::{InstanceRank, InstanceRow};
use super::line::ScreenLine;
use super::member_view::{Attention, MemberView, is_stopping};
use super::service_lines;
use super::service_view::{ServiceView, elapsed};
use super::style::{self, GAP};
use crate::core::stack::{Deployment, StackDirection, StackOutcome, StackRun};
use crate::core::time::Time;

/// Rows of instances that take precedence over messages.
const ROWS_WANTED: usize = 4;

/// A deployment and how far it is.
#[derive(Clone, Debug)]
pub(super) struct ShownDeployment {
    pub(super) fleet: String,
    pub(super) deployment: Deployment,
    pub(super) run: StackRun,
}

/// The frame of a deployment. `views` are the rollouts that have begun.
pub(super) fn frame<'a>(
    shown: &'a ShownDeployment,
    views: &BTreeMap<&str, ServiceView<'a>>,
    now: Time,
    layout: &FrameLayout<'_>,
) -> ScreenFrame<'a> {
    let services: Vec<MemberView<'a>> = shown
        .deployment
        .services
        .iter()
        .filter_map(|it| {
            let view = views.get(it.service.as_str()).copied();
            MemberView::of(it, &shown.run, view)
        })
        .collect();
    let rows = rows(&services);
    let mut head = vec![header(shown, &services, now)];
    let details = FrameLayout::table_lines(rows.len().min(ROWS_WANTED));
    // At least half of the screen lists the services.
    let below = layout.height.saturating_sub(1);
    let room = below.saturating_sub(details).max(below.div_ceil(2));
    head.extend(service_lines::lines(&services, room, layout));
    ScreenFrame {
        head,
        rows,
        rows_wanted: ROWS_WANTED,
        log_heading: "MESSAGES",
        log: messages(&services),
        answers: answers(&services),
    }
}

/// `shop  deployment 3  rolling out  1m12s  5 of 12 services done, 1 failed`.
fn header(shown: &ShownDeployment, services: &[MemberView<'_>], now: Time) -> ScreenLine {
    let deployment = &shown.deployment;
    let (state, style) = state(shown);
    let elapsed = elapsed(deployment.began, deployment.ended, now);
    let count = |attention| {
        let all = services.iter().map(MemberView::attention);
        all.filter(|it| *it == attention).count()
    };
    let of = services.len();
    let progress = match shown.run.direction {
        StackDirection::Forward => format!("{} of {of} services done", count(Attention::Done)),
        StackDirection::Back => {
            let all = services.iter();
            let restored = all.filter(|it| it.is_as_before()).count();
            format!("{restored} of {of} services as before")
        }
    };
    let line = ScreenLine::default()
        .and(&text::clean(&shown.fleet), style::STRONG)
        .and(
            &format!("{GAP}deployment {}{GAP}", deployment.number),
            style::NONE,
        )
        .and(state, style)
        .and(&format!("{GAP}{elapsed}{GAP}{progress}"), style::NONE);
    match count(Attention::Failed) {
        0 => line,
        failed => line.and(&format!(", {failed} failed"), style::BAD),
    }
}

/// The state of the deployment in a few words.
fn state(shown: &ShownDeployment) -> (&'static str, anstyle::Style) {
    match shown.deployment.outcome {
        Some(StackOutcome::Deployed) => ("rolled out", style::GOOD),
        Some(StackOutcome::RolledBack) => ("rolled back", style::BAD),
        Some(StackOutcome::Held) => ("held, needs a decision", style::BAD),
        Some(StackOutcome::RollbackFailed) => ("rollback failed, needs a decision", style::BAD),
        Some(StackOutcome::Stopped) => ("stopped", style::WAITING),
        None if shown.run.direction == StackDirection::Back => ("rolling back", style::BAD),
        None if is_stopping(&shown.run) => ("stopping, nothing new starts", style::BAD),
        None => ("rolling out", style::GOOD),
    }
}

/// The instances, the most interesting ones first: of rollouts in flight all, and of those that have
/// failed the ones with a problem.
fn rows<'a>(services: &[MemberView<'a>]) -> Vec<InstanceRow<'a>> {
    let mut rows = Vec::new();
    for service in services {
        let rank_max = match service.attention() {
            _ if service.is_in_flight() => InstanceRank::Running,
            Attention::Failed => InstanceRank::Problem,
            _ => continue,
        };
        let all = service.view.map(|view| view.rows()).unwrap_or_default();
        rows.extend(all.into_iter().filter(|row| row.rank() <= rank_max));
    }
    // Those that change keep their order while they do.
    rows.sort_by_key(|row| match row.rank() {
        InstanceRank::Running => (row.rank(), row.age_s()),
        rank => (rank, 0),
    });
    rows
}

/// The messages of all services, except for those about progress, which the lines of the services
/// show. The failures are last: if only a few messages fit, the last ones are shown.
fn messages(services: &[MemberView<'_>]) -> Vec<ScreenMessage> {
    let mut messages = Vec::new();
    for service in services {
        let name = text::clean(&service.deployed.service);
        let log = service.view.into_iter().flat_map(|it| &it.content.log);
        let log = log.filter(|message| message.severity != Severity::Sentence);
        messages.extend(log.map(|message| ScreenMessage {
            subject: prefixed(&name, &message.subject),
            ..message.clone()
        }));
    }
    messages.sort_by_key(|message| (message.severity == Severity::Failure, message.at));
    messages
}

/// The answers of the instances of all services in flight.
fn answers(services: &[MemberView<'_>]) -> Vec<(Time, String, String)> {
    let mut answers = Vec::new();
    for service in services.iter().filter(|service| service.is_in_flight()) {
        let name = text::clean(&service.deployed.service);
        let of_service = service.view.into_iter().flat_map(|it| &it.content.answers);
        answers.extend(of_service.map(|(at, slot, answer)| {
            let slot = text::clean(&slot.to_string());
            (*at, prefixed(&name, &slot), answer.clone())
        }));
    }
    answers.sort_by_key(|(at, ..)| *at);
    answers
}

fn prefixed(name: &str, subject: &str) -> String {
    if subject.is_empty() {
        return name.to_owned();
    }
    format!("{name}{GAP}{subject}")
}
