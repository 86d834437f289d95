//! The page of a deployment: all services on one time axis.

use std::time::Duration;

use super::deployment_steps::deployment_steps;
use super::incident::Incident;
use super::overview::{OverviewService, action, overview};
use super::page_context::{Heading, PageContext, ServiceRow};
use super::page_input::{DeploymentInput, ServiceInput};
use super::section::{ReplayedRollout, Section, ServiceStory};
use super::time_axis::Span;
use super::verdict::{PageVerdict, was_aborted};
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{DeployedService, OnStackFailure, StackDirection, StackOutcome};
use crate::core::time::Human;
use crate::report::clock::LocalClock;

/// The events of all services. More would make the page too large; the journals have all of them.
const EVENTS_MAX: usize = 6000;

/// A service of the deployment. The input and the story are missing if the inventory no longer has
/// the service.
struct DeploymentPart<'a> {
    deployed: &'a DeployedService,
    known: Option<(&'a ServiceInput<'a>, ServiceStory)>,
}

/// The context; `None` if a journal does not begin with the start of a rollout.
pub(super) fn page_context(input: &DeploymentInput<'_>) -> Option<PageContext> {
    let deployment = input.deployment;
    let span = span(input);
    let events_max = EVENTS_MAX / deployment.services.len().max(1);
    let all = deployment.services.iter();
    let parts = all.map(|deployed| DeploymentPart::of(input, deployed, span, events_max));
    let mut parts: Vec<_> = parts.collect::<Option<_>>()?;
    let (incidents, failed_hosts) = troubles(&mut parts);
    let verdict = {
        let rollouts = parts.iter().flat_map(DeploymentPart::rollouts);
        PageVerdict::of_deployment(deployment.outcome, rollouts.map(|it| &it.summary))
    };
    let clock = clock(input);
    let mut sections = vec![overview_section(input, &parts, span, &clock)];
    let rows = parts.iter().map(|part| part.row(span)).collect();
    sections.extend(parts.into_iter().map(|part| part.section(&clock)));
    Some(PageContext {
        heading: heading(input, verdict, incidents.first(), span),
        services: rows,
        basics: basics(input, span, &clock),
        incidents,
        failed_hosts,
        next: deployment_steps(input),
        sections,
        foot: format!(
            "deployment {} · ship {}",
            deployment.number,
            env!("CARGO_PKG_VERSION")
        ),
    })
}

/// From the beginning of the deployment to its end, or to the present while it runs.
fn span(input: &DeploymentInput<'_>) -> Span {
    let rollouts = input.services.iter().flat_map(|it| &it.rollouts);
    let last = rollouts.filter_map(|it| it.journal.last()).map(|it| it.at);
    let last = last.max().unwrap_or(input.deployment.began);
    let end = input.deployment.ended.unwrap_or(input.now);
    Span {
        begin: input.deployment.began,
        end: end.max(last),
    }
}

fn clock(input: &DeploymentInput<'_>) -> LocalClock {
    let first = input.services.first().map(|it| it.setup.clock.clone());
    first.unwrap_or_else(LocalClock::local)
}

/// The failures of all services, in their order.
fn troubles(parts: &mut [DeploymentPart<'_>]) -> (Vec<Incident>, Vec<[String; 2]>) {
    let (mut incidents, mut failed_hosts) = (Vec::new(), Vec::new());
    for part in parts {
        let name = &part.deployed.service;
        let Some((_, story)) = &mut part.known else {
            continue;
        };
        let own = std::mem::take(&mut story.incidents).into_iter();
        incidents.extend(own.map(|incident| incident.of_service(name)));
        let own = std::mem::take(&mut story.failed_hosts).into_iter();
        failed_hosts.extend(own.map(|[host, why]| [format!("{name}: {host}"), why]));
    }
    incidents.sort_by_key(|incident| incident.moment);
    (incidents, failed_hosts)
}

fn heading(
    input: &DeploymentInput<'_>,
    verdict: PageVerdict,
    first_incident: Option<&Incident>,
    span: Span,
) -> Heading {
    let (deployment, fleet) = (input.deployment, input.fleet);
    let word = deployment.outcome.map_or("running", StackOutcome::word);
    let number = deployment.number;
    let took = Human(span.end.since(span.begin));
    let so_far = if deployment.ended.is_some() {
        ""
    } else {
        " so far"
    };
    Heading {
        title: format!("{} deployment {number} on {fleet}: {word}", verdict.sign),
        verdict,
        reason: first_incident.map(Incident::headline).unwrap_or_default(),
        summary: format!(
            "{} of {} in {took}{so_far}",
            deployment.verb.noun(),
            deployment.versions()
        ),
        kind: "deployment",
        subject: format!("deployment {number}"),
        fleet: fleet.to_owned(),
        from: String::new(),
        to: String::new(),
    }
}

fn basics(input: &DeploymentInput<'_>, span: Span, clock: &LocalClock) -> Vec<[String; 2]> {
    let deployment = input.deployment;
    let on_failure = match deployment.on_failure {
        OnStackFailure::RollBack => "all services roll back",
        OnStackFailure::Hold => "the other services stay",
    };
    let is_back = deployment.outcome.is_none() && deployment.direction == StackDirection::Back;
    let ended = deployment.ended;
    let facts = [
        (
            "command",
            Some(format!("{} by {}", deployment.verb.noun(), deployment.who)),
        ),
        (
            "reason",
            // Without one, the reason is the command.
            Some(deployment.reason.clone()).filter(|reason| reason != deployment.verb.noun()),
        ),
        ("started", Some(clock.day_and_time(deployment.began))),
        ("ended", ended.map(|ended| clock.day_and_time(ended))),
        (
            "duration",
            ended.map(|_| Human(span.end.since(span.begin)).to_string()),
        ),
        ("direction", is_back.then(|| "rolls back".to_owned())),
        ("if one fails", Some(on_failure.to_owned())),
    ];
    facts
        .into_iter()
        .filter_map(|(name, fact)| Some([name.to_owned(), fact?]))
        .collect()
}

fn overview_section(
    input: &DeploymentInput<'_>,
    parts: &[DeploymentPart<'_>],
    span: Span,
    clock: &LocalClock,
) -> Section {
    let services: Vec<_> = parts.iter().map(DeploymentPart::overview).collect();
    Section {
        began: clock.day_and_time(span.begin),
        timeline: Some(overview(&services, input.deployment.verb, span, clock)),
        ..Section::default()
    }
}

impl<'a> DeploymentPart<'a> {
    fn of(
        input: &'a DeploymentInput<'a>,
        deployed: &'a DeployedService,
        span: Span,
        events_max: usize,
    ) -> Option<Self> {
        let mut services = input.services.iter();
        let known = match services.find(|it| it.service == deployed.service) {
            Some(service) => Some((service, ServiceStory::of(service, span, events_max)?)),
            None => None,
        };
        Some(Self { deployed, known })
    }

    fn rollouts(&self) -> impl Iterator<Item = &ReplayedRollout> {
        let stories = self.known.iter();
        stories.flat_map(|(_, story)| &story.rollouts)
    }

    fn overview(&self) -> OverviewService<'_> {
        let known = self.known.iter();
        OverviewService {
            service: &self.deployed.service,
            rollouts: known
                .flat_map(|(input, story)| input.rollouts.iter().zip(&story.rollouts))
                .collect(),
        }
    }

    fn verdict(&self) -> PageVerdict {
        let Some(last) = self.rollouts().last() else {
            return PageVerdict::NOT_BEGUN;
        };
        let verdict = PageVerdict::of_rollout(&last.summary);
        match last.view.start.verb {
            _ if verdict != PageVerdict::SUCCEEDED => verdict,
            Verb::Rollback => PageVerdict::ROLLED_BACK,
            Verb::Migrate => PageVerdict::MIGRATED,
            _ => verdict,
        }
    }

    /// `1 → 2`, or `2` if nothing ran before.
    fn versions(&self) -> String {
        let to = &self.deployed.version;
        let known = self.known.as_ref();
        match known.and_then(|(input, _)| input.version_before) {
            Some(from) => format!("{from} → {to}"),
            None => to.clone(),
        }
    }

    /// The time in rollouts, without the waits between them.
    fn duration(&self, span: Span) -> String {
        let each = self.rollouts().map(|it| {
            let ended = it.view.ended.unwrap_or(span.end);
            ended.since(it.view.began)
        });
        let took: Option<Duration> = each.reduce(|sum, one| sum + one);
        took.map(|took| Human(took).to_string()).unwrap_or_default()
    }

    fn availability(&self) -> String {
        let Some((_, story)) = &self.known else {
            return String::new();
        };
        let fewest = story.section.chart.as_ref();
        let fewest = fewest.map(|chart| chart.fewest.clone());
        let reports = story.rollouts.iter();
        let reports: Vec<_> = reports
            .filter_map(|it| it.summary.monitor.as_ref())
            .collect();
        let requests: u64 = reports.iter().map(|report| report.requests).sum();
        let failed: u64 = reports.iter().map(|report| report.failed).sum();
        let requests =
            (!reports.is_empty()).then(|| format!("{failed} of {requests} requests failed"));
        let parts: Vec<_> = fewest.into_iter().chain(requests).collect();
        parts.join(", ")
    }

    fn row(&self, span: Span) -> ServiceRow {
        let PageVerdict {
            sign,
            headline,
            tone,
        } = self.verdict();
        ServiceRow {
            sign,
            tone,
            service: self.deployed.service.clone(),
            versions: self.versions(),
            outcome: headline.to_owned(),
            duration: self.duration(span),
            availability: self.availability(),
        }
    }

    fn section(self, clock: &LocalClock) -> Section {
        let PageVerdict {
            sign,
            headline,
            tone,
        } = self.verdict();
        let subtitle = format!("{}: {headline}", self.versions());
        let title = self.deployed.service.clone();
        let Some((input, story)) = self.known else {
            return Section {
                title,
                sign,
                tone,
                subtitle: format!("{subtitle}; the inventory no longer has this service"),
                is_folded: true,
                ..Section::default()
            };
        };
        let rollouts = input.rollouts.iter().zip(&story.rollouts);
        let rollouts = rollouts.map(|(input, replayed)| line(input.rollout, replayed, clock));
        Section {
            title,
            sign,
            tone,
            subtitle,
            is_folded: has_ended_well(&story.rollouts),
            rollouts: rollouts.collect(),
            ..story.section
        }
    }
}

/// Whether a service runs one release and did not fail itself. If another one failed, its rollout
/// was aborted.
fn has_ended_well(rollouts: &[ReplayedRollout]) -> bool {
    let mut summaries = rollouts.iter().map(|it| &it.summary);
    let settled = [Outcome::Succeeded, Outcome::RolledBack].map(Some);
    let is_settled = rollouts
        .last()
        .is_none_or(|last| settled.contains(&last.summary.outcome));
    is_settled
        && summaries.all(|summary| {
            let has_failed = summary.failure.is_some() && !was_aborted(summary);
            !has_failed && summary.failed_hosts.is_empty()
        })
}

/// A rollout of a service in one line.
fn line(number: i64, rollout: &ReplayedRollout, clock: &LocalClock) -> [String; 2] {
    let summary = &rollout.summary;
    let outcome = summary.outcome.as_ref();
    let outcome = outcome.map_or("running, or interrupted", Outcome::word);
    let took = summary.ended.map(|ended| ended.since(summary.began));
    let took = took.map_or_else(String::new, |took| format!(", {}", Human(took)));
    let text = format!(
        "{} (revision {}), {}{took}: {outcome}",
        action(rollout),
        rollout.view.start.target.revision,
        clock.time_of_day(summary.began)
    );
    [format!("rollout {number}"), text]
}
