//! From events to what a person is told. Pure: a fold of events that yields lines.

mod control;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use super::message::{RolloutMessage, Severity, notable, quoted, routine, sentence};
use super::{failure, loss, phrases, summary, text};
use crate::core::analysis::measurement::Finding;
use crate::core::ids::{ActionId, HostId, InstanceId, ReleaseId, Slot};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event, Generation, Progress};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::time::{Human, Time};
use crate::report::reporter::Setup;

/// Fleets of more hosts than this are told of in sums.
const HOSTS_TOLD_ONE_BY_ONE_MAX: usize = 10;
/// In sums, every so many percent.
const PERCENT_TOLD: usize = 10;

/// What `kubectl rollout status` says first.
const FIRST_SENTENCE: &str = "Waiting for deployment spec update to be observed...";

/// What has been told so far, as far as the rest depends on it.
#[derive(Debug)]
pub(super) struct Narrator {
    setup: Setup,
    rollout: Option<RolloutView>,
    orders: BTreeMap<ActionId, StartedAction>,
    born: BTreeMap<InstanceId, Time>,
    sick: BTreeSet<InstanceId>,
    lost: BTreeMap<HostId, Time>,
    staging: BTreeMap<ReleaseId, Staging>,
    /// What each analysis found last.
    found: BTreeMap<String, Finding>,
    /// The last sentence, or what stands for it in a large fleet.
    last_sentence: String,
}

/// An order whose end is to be told.
#[derive(Debug)]
struct StartedAction {
    action: Action,
    instance: Option<InstanceId>,
    /// The version it is about, where it is about one.
    version: String,
    since: Time,
}

/// How far a release has been brought to the hosts.
#[derive(Debug, Default)]
struct Staging {
    done: usize,
    percent_told: usize,
}

impl Narrator {
    /// Nothing told yet.
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            rollout: None,
            orders: BTreeMap::new(),
            born: BTreeMap::new(),
            sick: BTreeSet::new(),
            lost: BTreeMap::new(),
            staging: BTreeMap::new(),
            found: BTreeMap::new(),
            last_sentence: String::new(),
        }
    }

    /// The rollout, once it has begun.
    pub(super) fn rollout(&self) -> Option<&RolloutView> {
        self.rollout.as_ref()
    }

    /// How moments and signs are shown, and to whom.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The columns that the longest name of a slot takes.
    pub(super) fn whom_width(&self) -> usize {
        let host = self
            .setup
            .hosts
            .iter()
            .map(|host| text::width(host.as_str()))
            .max()
            .unwrap_or(0);
        let port = self
            .setup
            .ports
            .iter()
            .map(|port| port.to_string().len())
            .max()
            .unwrap_or(0);
        host + 1 + port
    }

    /// Takes in the next event; what is worth telling of it.
    pub(super) fn tell(&mut self, entry: &Entry, status: &Status) -> Vec<RolloutMessage> {
        // A failure on the way back is one of the version gone back to, hence before the rollout
        // turns.
        let version = self
            .rollout
            .as_ref()
            .map(|rollout| rollout.version().to_owned())
            .unwrap_or_default();
        if let Some(rollout) = &mut self.rollout {
            rollout.apply(entry);
        }
        let message = match &entry.event {
            Event::RolloutStarted(start) => {
                return self.begin(entry, &start.target, start.fallback.as_ref(), status);
            }
            Event::RolloutFinished { outcome } => return self.finish(entry.at, outcome, status),
            Event::Progress(progress) => self.sentence(entry.at, progress, status),
            Event::ActionStarted { .. }
            | Event::ActionDone { .. }
            | Event::ActionFailed { .. }
            | Event::ActionUnknown { .. } => self.action(entry, status),
            Event::InstanceReady { .. }
            | Event::InstanceNotReady { .. }
            | Event::Drained { .. } => self.instance(entry),
            Event::HostLost { .. }
            | Event::HostFound { .. }
            | Event::BalancerLost { .. }
            | Event::BalancerFound { .. } => self.reach(entry),
            Event::RolloutFailed { .. } | Event::HostQuarantined { .. } => {
                self.failure(entry, status, &version)
            }
            Event::HookRan { slot, .. } => tasks::hook(entry).filter(|message| {
                message.severity != Severity::Routine || slot.is_none() || self.one_by_one()
            }),
            Event::ChoreStarted { .. } | Event::ChoreEnded { .. } => tasks::task(entry),
            Event::Measured {
                analysis,
                outcome,
                detail,
                dry_run,
                ..
            } => self.measured(entry.at, analysis, *outcome, detail, *dry_run),
            Event::StepReached { .. } | Event::StepPassed { .. } | Event::Promoted { .. } => {
                control::step(entry)
            }
            Event::Woke { .. }
            | Event::Paused { .. }
            | Event::Frozen { .. }
            | Event::Aborted { .. }
            | Event::Interrupted { .. }
            | Event::Fenced { .. } => control::request(entry),
            // The failure or the last word says it.
            Event::Probed(_) => None,
        };
        message.into_iter().collect()
    }

    fn action(&mut self, entry: &Entry, status: &Status) -> Option<RolloutMessage> {
        match &entry.event {
            Event::ActionStarted {
                id,
                action,
                instance,
            } => self.order(entry.at, *id, action, instance.as_ref(), status),
            Event::ActionDone { id } => self
                .orders
                .remove(id)
                .and_then(|order| self.done(entry.at, &order)),
            Event::ActionFailed { id, error } => {
                let order = self.orders.remove(id);
                order.map(|order| {
                    let error = order.action.host().unnamed(error);
                    let text = format!(
                        "could not {} after {}: {error}",
                        order.what(),
                        order.took(entry.at)
                    );
                    notable(entry.at, order.whom(), "failed", &text)
                })
            }
            Event::ActionUnknown { id, why } => {
                let order = self.orders.remove(id);
                order.map(|order| {
                    let why = order.action.host().unnamed(why);
                    let text = format!("whether it did {}: {why}; looking again", order.what());
                    notable(entry.at, order.whom(), "unknown", &text)
                })
            }
            _ => None,
        }
    }

    fn instance(&mut self, entry: &Entry) -> Option<RolloutMessage> {
        match &entry.event {
            Event::InstanceReady {
                slot,
                instance,
                release,
                answer,
            } => self.ready(entry.at, slot, instance, release, answer),
            Event::InstanceNotReady {
                slot,
                instance,
                release,
                answer,
            } => {
                self.sick.insert(instance.clone());
                let text = format!("{}: {}", self.setup.versions.of(release), quoted(answer));
                Some(notable(entry.at, slot.to_string(), "not ready", &text))
            }
            Event::Drained { slot, receipt, .. } if receipt.cut > 0 => Some(notable(
                entry.at,
                slot.to_string(),
                "drained",
                &receipt.to_string(),
            )),
            Event::Drained { slot, receipt, .. } => self
                .one_by_one()
                .then(|| routine(entry.at, slot.to_string(), "drained", &receipt.to_string())),
            _ => None,
        }
    }

    fn reach(&mut self, entry: &Entry) -> Option<RolloutMessage> {
        match &entry.event {
            Event::HostLost { host, why } => {
                self.lost.entry(host.clone()).or_insert(entry.at);
                Some(notable(
                    entry.at,
                    host.to_string(),
                    "lost",
                    host.unnamed(why),
                ))
            }
            Event::HostFound { host } => {
                let after = self
                    .lost
                    .remove(host)
                    .map(|since| format!(" after {}", Human(entry.at.since(since))));
                Some(notable(
                    entry.at,
                    host.to_string(),
                    "found",
                    &format!("again{}", after.unwrap_or_default()),
                ))
            }
            Event::BalancerLost { balancer, why } => {
                self.lost.entry(balancer.clone()).or_insert(entry.at);
                Some(notable(
                    entry.at,
                    balancer.to_string(),
                    "lost",
                    balancer.unnamed(why),
                ))
            }
            Event::BalancerFound { balancer } => {
                let after = self
                    .lost
                    .remove(balancer)
                    .map(|since| format!(" after {}", Human(entry.at.since(since))));
                Some(notable(
                    entry.at,
                    balancer.to_string(),
                    "found",
                    &format!("again{}", after.unwrap_or_default()),
                ))
            }
            _ => None,
        }
    }

    fn failure(&self, entry: &Entry, status: &Status, version: &str) -> Option<RolloutMessage> {
        match &entry.event {
            Event::RolloutFailed { failure, log, .. } => {
                self.rollout.as_ref().map(|rollout| RolloutMessage {
                    at: entry.at,
                    severity: Severity::Failure,
                    subject: whom(failure),
                    label: "FAILED",
                    text: text::clean(&failure::headline(failure, version)),
                    details: failure::block(failure, version, log, &failure::now(rollout, status)),
                })
            }
            Event::HostQuarantined { failure, log } => self.rollout.as_ref().map(|rollout| {
                let details = failure::block(
                    failure,
                    version,
                    log,
                    &failure::now_without(rollout, status),
                );
                let text = format!("left behind: {}", failure::headline(failure, version));
                RolloutMessage {
                    details,
                    ..notable(entry.at, whom(failure), "FAILED", &text)
                }
            }),
            _ => None,
        }
    }

    fn finish(&self, at: Time, outcome: &Outcome, status: &Status) -> Vec<RolloutMessage> {
        let Some(rollout) = &self.rollout else {
            return Vec::new();
        };
        let (text, mut details) = summary::summary(rollout, outcome, status, at);
        details.extend(
            rollout
                .availability()
                .into_iter()
                .flat_map(|report| loss::lines(report, &self.setup.clock)),
        );
        let summary = RolloutMessage {
            at,
            severity: Severity::Summary,
            subject: String::new(),
            label: "",
            text,
            details,
        };
        let sentence = phrases::last_sentence(rollout, outcome).map(|text| sentence(at, &text));
        sentence.into_iter().chain([summary]).collect()
    }

    fn begin(
        &mut self,
        entry: &Entry,
        target: &Generation,
        fallback: Option<&Generation>,
        status: &Status,
    ) -> Vec<RolloutMessage> {
        for generation in std::iter::once(target).chain(fallback) {
            self.setup
                .versions
                .insert(generation.release.clone(), generation.version.clone());
        }
        let versions = status.instances.iter().map(|row| row.version.clone());
        self.rollout = RolloutView::begin(entry, versions.collect());
        let Some(rollout) = &self.rollout else {
            return Vec::new();
        };
        let now = phrases::mix(status);
        let from = if rollout.versions_before.is_empty() || now.is_empty() {
            String::new()
        } else {
            format!(" (now {now})")
        };
        let replicas = text::count(rollout.replicas() as usize, "replica");
        let text = format!(
            "{} on {}: {replicas}{from}",
            phrases::title(rollout),
            rollout.start.fleet
        );
        vec![
            routine(entry.at, String::new(), "", &text),
            sentence(entry.at, FIRST_SENTENCE),
        ]
    }

    fn order(
        &mut self,
        at: Time,
        id: ActionId,
        action: &Action,
        instance: Option<&InstanceId>,
        status: &Status,
    ) -> Option<RolloutMessage> {
        let version = match action {
            Action::Stage { release, .. } | Action::Start { release, .. } => {
                self.setup.versions.of(release).to_owned()
            }
            Action::Admit { instance, .. }
            | Action::Drain { instance, .. }
            | Action::Stop { instance, .. } => {
                let row = status.instances.iter().find(|row| row.name == *instance);
                row.map_or_else(|| instance.to_string(), |row| row.version.clone())
            }
            Action::Claim { .. } | Action::Prune { .. } | Action::Disarm { .. } => String::new(),
        };
        if let (Action::Start { .. }, Some(instance)) = (action, instance) {
            self.born.insert(instance.clone(), at);
        }
        let order = StartedAction {
            action: action.clone(),
            instance: instance.cloned(),
            version,
            since: at,
        };
        let first = match action {
            Action::Stage { release, .. } if !self.staging.contains_key(release) => {
                self.staging.insert(release.clone(), Staging::default());
                Some(routine(
                    at,
                    String::new(),
                    "",
                    &format!("staging {} on the hosts", order.version),
                ))
            }
            _ => None,
        };
        self.orders.insert(id, order);
        first
    }

    fn done(&mut self, at: Time, order: &StartedAction) -> Option<RolloutMessage> {
        let took = order.took(at);
        let version = &order.version;
        match &order.action {
            // A formality between ship and the host; only its failure is worth a word. Of a drain
            // the receipt says more.
            Action::Claim { .. } | Action::Disarm { .. } | Action::Drain { .. } => None,
            Action::Admit { weight_percent, .. } => self.one_by_one().then(|| {
                let share = weight_percent
                    .map(|weight| format!(" with {weight} % of the weight"))
                    .unwrap_or_default();
                routine(
                    at,
                    order.whom(),
                    "admitted",
                    &format!("{version}{share} in {took}"),
                )
            }),
            Action::Stage { release, .. } => self.staged(at, release, order),
            Action::Start { .. } => {
                let name = order
                    .instance
                    .as_ref()
                    .map(|name| format!(" as {name}"))
                    .unwrap_or_default();
                self.one_by_one()
                    .then(|| routine(at, order.whom(), "started", &format!("{version}{name}")))
            }
            Action::Stop { why, ended, .. } => {
                let ended = ended
                    .as_ref()
                    .map(|how| format!(": {how}"))
                    .unwrap_or_default();
                let text = format!("{version} ({why}{ended}) in {took}");
                self.one_by_one()
                    .then(|| routine(at, order.whom(), "stopped", &text))
            }
            Action::Prune { releases, .. } => self.one_by_one().then(|| {
                routine(
                    at,
                    order.whom(),
                    "pruned",
                    &text::count(releases.len(), "old release"),
                )
            }),
        }
    }

    /// What passes is told once; what does not, each time.
    fn measured(
        &mut self,
        at: Time,
        analysis: &str,
        found: Finding,
        detail: &str,
        dry_run: bool,
    ) -> Option<RolloutMessage> {
        let is_news = self.found.insert(analysis.to_owned(), found) != Some(found);
        let dry = if dry_run { " (dry run)" } else { "" };
        let text = format!("analysis {analysis}{dry}: {found}: {detail}");
        match found {
            Finding::Failure | Finding::Error => Some(notable(at, String::new(), "", &text)),
            Finding::Success | Finding::Inconclusive => {
                is_news.then(|| routine(at, String::new(), "", &text))
            }
        }
    }

    fn staged(
        &mut self,
        at: Time,
        release: &ReleaseId,
        order: &StartedAction,
    ) -> Option<RolloutMessage> {
        let hosts = self.setup.hosts.len();
        let one_by_one = self.one_by_one();
        let staging = self.staging.entry(release.clone()).or_default();
        staging.done += 1;
        if one_by_one {
            return Some(routine(
                at,
                order.whom(),
                "staged",
                &format!("{} in {}", order.version, order.took(at)),
            ));
        }
        let percent = staging.done * 100 / hosts / PERCENT_TOLD * PERCENT_TOLD;
        (percent > staging.percent_told).then(|| {
            staging.percent_told = percent;
            let text = format!(
                "staged {} on {} of {hosts} hosts ({percent}%)",
                order.version, staging.done
            );
            routine(at, String::new(), "", &text)
        })
    }

    fn ready(
        &mut self,
        at: Time,
        slot: &Slot,
        instance: &InstanceId,
        release: &ReleaseId,
        answer: &str,
    ) -> Option<RolloutMessage> {
        let answer = if answer.trim().is_empty() {
            String::new()
        } else {
            format!(": {}", quoted(answer))
        };
        if self.sick.remove(instance) {
            let text = format!("{} again{answer}", self.setup.versions.of(release));
            return Some(notable(at, slot.to_string(), "ready", &text));
        }
        // One that was there before the rollout is as it should be: nothing to tell.
        let born = self.born.get(instance)?;
        let text = format!(
            "{} after {}{answer}",
            self.setup.versions.of(release),
            Human(at.since(*born))
        );
        Some(routine(at, slot.to_string(), "ready", &text))
    }

    fn sentence(
        &mut self,
        at: Time,
        progress: &Progress,
        status: &Status,
    ) -> Option<RolloutMessage> {
        // Whether that is the end is told with the outcome: hooks, a soak or an analysis may still
        // object.
        if progress.is_complete() {
            return None;
        }
        let text = progress.sentence(&status.service);
        let key = if self.one_by_one() {
            text.clone()
        } else {
            let percent =
                progress.updated_available as usize * 100 / (progress.desired as usize).max(1);
            format!("{}", percent / PERCENT_TOLD)
        };
        (key != self.last_sentence).then(|| {
            self.last_sentence = key;
            sentence(at, &text)
        })
    }

    fn one_by_one(&self) -> bool {
        self.setup.hosts.len() <= HOSTS_TOLD_ONE_BY_ONE_MAX
    }
}

impl StartedAction {
    /// What it does, as in "could not …".
    fn what(&self) -> String {
        match &self.action {
            Action::Claim { .. } => "claim the host".to_owned(),
            Action::Prune { .. } => "prune old releases".to_owned(),
            action => format!("{} {}", action.verb(), self.version),
        }
    }

    fn whom(&self) -> String {
        self.action
            .slot()
            .map_or_else(|| self.action.host().to_string(), Slot::to_string)
    }

    fn took(&self, at: Time) -> Human {
        Human(at.since(self.since))
    }
}

/// Where it failed.
fn whom(failure: &Failure) -> String {
    let host = || {
        failure
            .host
            .as_ref()
            .map_or_else(String::new, HostId::to_string)
    };
    failure.slot.as_ref().map_or_else(host, Slot::to_string)
}
