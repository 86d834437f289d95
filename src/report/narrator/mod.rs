//! Turns events into messages for the user. Pure: the narrator folds events and writes nothing.

mod actions;
mod control;
mod granularity;
mod instances;
mod tasks;

use std::collections::BTreeMap;

use self::actions::VersionedAction;
use self::granularity::{Granularity, rounded_percent};
use super::message::{RolloutMessage, Severity, notable, routine, sentence};
use super::{availability, failure, phrases, summary, text};
use crate::core::analysis::measurement::Finding;
use crate::core::ids::{ActionId, HostId, Slot};
use crate::core::journal::event_context::EventContext;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event, Progress, RolloutStart};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::time::Time;
use crate::report::reporter::ReporterSetup;

/// The first line of `kubectl rollout status`.
const FIRST_SENTENCE: &str = "Waiting for deployment spec update to be observed...";

/// Turns each event into its messages.
#[derive(Debug)]
pub(super) struct Narrator {
    setup: ReporterSetup,
    rollout: Option<RolloutView>,
    context: EventContext,
    /// The versions of the actions in flight. They are stored here because an instance may no
    /// longer exist when its action ends.
    action_versions: BTreeMap<ActionId, String>,
    /// The last status sentence, or in a large fleet its percentage.
    last_progress: String,
}

impl Narrator {
    /// A narrator before the first event.
    pub(super) fn new(setup: ReporterSetup) -> Self {
        Self {
            setup,
            rollout: None,
            context: EventContext::default(),
            action_versions: BTreeMap::new(),
            last_progress: String::new(),
        }
    }

    /// The rollout, once it has begun.
    pub(super) fn rollout(&self) -> Option<&RolloutView> {
        self.rollout.as_ref()
    }

    /// The hosts that have the target release since this rollout, and all that get it; `None` while
    /// none is getting it.
    pub(super) fn staging(&self) -> Option<(usize, usize)> {
        let release = &self.rollout()?.goal().release;
        let done = self.context.hosts_staged(release)?;
        match self.context.hosts_staging(release) {
            0 => None,
            pending => Some((done, done + pending)),
        }
    }

    /// The hosts, versions, time zone and glyphs of the output.
    pub(super) fn setup(&self) -> &ReporterSetup {
        &self.setup
    }

    /// The width of the longest slot name, in columns.
    pub(super) fn subject_width(&self) -> usize {
        let hosts = self.setup.hosts.iter();
        let host = hosts.map(|host| text::width(host.as_str())).max();
        let slots = self.setup.slots.iter();
        let number = slots.map(|number| number.to_string().len()).max();
        host.unwrap_or(0) + 1 + number.unwrap_or(0)
    }

    /// Applies the next event and returns its messages. `status` is the fleet after the event.
    pub(super) fn narrate(&mut self, entry: &Entry, status: &Status) -> Vec<RolloutMessage> {
        match &entry.event {
            Event::RolloutStarted(start) => {
                self.apply(entry);
                self.begin(entry, start, status)
            }
            Event::RolloutFailed { .. } | Event::HostFailed { .. } => {
                // The version that failed is the target from before the rollout changed its
                // direction.
                let rollout = self.rollout.as_ref();
                let version = rollout.map(|rollout| rollout.version().to_owned());
                self.apply(entry);
                let failure = self.failure(entry, status, &version.unwrap_or_default());
                failure.into_iter().collect()
            }
            Event::RolloutFinished { outcome } => {
                self.apply(entry);
                self.finish(entry.at, outcome, status)
            }
            // A message about any other event refers to the state before it.
            _ => {
                let message = self.message(entry, status);
                self.apply(entry);
                message.into_iter().collect()
            }
        }
    }

    fn apply(&mut self, entry: &Entry) {
        self.context.apply(entry);
        if let Some(rollout) = &mut self.rollout {
            rollout.apply(entry);
        }
    }

    fn message(&mut self, entry: &Entry, status: &Status) -> Option<RolloutMessage> {
        let is_per_host = self.granularity().is_per_host();
        match &entry.event {
            Event::Progress(progress) => self.progress(entry.at, progress, status),
            Event::ActionStarted { .. }
            | Event::ActionDone { .. }
            | Event::ActionFailed { .. }
            | Event::ActionUnknown { .. } => self.action(entry, status),
            Event::InstanceReady { .. } | Event::InstanceNotReady { .. } => {
                instances::instance(entry, &self.context, &self.setup.versions)
            }
            Event::Drained { .. }
            | Event::InstanceKilled { .. }
            | Event::InstanceLingers { .. }
            | Event::SlotAwaited { .. } => {
                instances::instance(entry, &self.context, &self.setup.versions)
                    .filter(|message| message.severity != Severity::Routine || is_per_host)
            }
            Event::Transferred { host, transfer } => {
                let message = actions::transferred(entry.at, host, transfer);
                Some(message).filter(|message| message.severity != Severity::Routine || is_per_host)
            }
            Event::HostLost { .. }
            | Event::HostRecovered { .. }
            | Event::BalancerLost { .. }
            | Event::BalancerRecovered { .. } => instances::reachability(entry, &self.context),
            Event::HookRan { slot, .. } => tasks::hook(entry).filter(|message| {
                message.severity != Severity::Routine || slot.is_none() || is_per_host
            }),
            Event::TaskStarted { .. } | Event::TaskEnded { .. } => tasks::task(entry),
            Event::Measured { .. } => self.measured(entry),
            Event::StepReached { .. } | Event::StepPassed { .. } | Event::Promoted { .. } => {
                control::step(entry)
            }
            Event::ControllerResumed { .. }
            | Event::Paused { .. }
            | Event::Frozen { .. }
            | Event::Aborted { .. }
            | Event::Interrupted { .. }
            | Event::Fenced { .. } => control::request(entry),
            // `narrate` handles these; the failure or the summary reports the requests.
            Event::AvailabilityReported(_)
            | Event::RolloutStarted(_)
            | Event::RolloutFailed { .. }
            | Event::HostFailed { .. }
            | Event::RolloutFinished { .. } => None,
        }
    }

    fn granularity(&self) -> Granularity {
        Granularity {
            hosts: self.setup.hosts.len(),
        }
    }

    fn begin(
        &mut self,
        entry: &Entry,
        start: &RolloutStart,
        status: &Status,
    ) -> Vec<RolloutMessage> {
        self.setup.add_versions(start);
        let versions = phrases::started(status).map(|row| row.version.clone());
        self.rollout = RolloutView::begin(entry, versions.collect());
        let Some(rollout) = &self.rollout else {
            return Vec::new();
        };
        let mix = phrases::mix(status);
        let current = if rollout.versions_before.is_empty() || mix.is_empty() {
            String::new()
        } else {
            format!(" (now {mix})")
        };
        let (title, fleet) = (phrases::title(rollout), &start.fleet);
        let replicas = text::count(rollout.replicas() as usize, "replica");
        let text = format!("{title} on {fleet}: {replicas}{current}");
        vec![
            routine(entry.at, String::new(), "", &text),
            sentence(entry.at, FIRST_SENTENCE),
        ]
    }

    fn action(&mut self, entry: &Entry, status: &Status) -> Option<RolloutMessage> {
        match &entry.event {
            Event::ActionStarted { id, action, .. } => {
                let version = actions::version_of(action, &self.setup.versions, status);
                let message = actions::started(entry.at, action, &version, &self.context);
                self.action_versions.insert(*id, version);
                message
            }
            Event::ActionDone { id }
            | Event::ActionFailed { id, .. }
            | Event::ActionUnknown { id, .. } => {
                let version = self.action_versions.remove(id)?;
                let action = VersionedAction {
                    pending: self.context.order(*id)?,
                    version: &version,
                };
                action.ended(entry, &self.context, self.granularity())
            }
            _ => None,
        }
    }

    /// A success or an inconclusive finding has a message only if it differs from the one before.
    fn measured(&self, entry: &Entry) -> Option<RolloutMessage> {
        let Event::Measured {
            analysis,
            outcome: finding,
            detail,
            dry_run,
            ..
        } = &entry.event
        else {
            return None;
        };
        let dry = if *dry_run { " (dry run)" } else { "" };
        let text = format!("analysis {analysis}{dry}: {finding}: {detail}");
        let rollout = self.rollout.as_ref();
        let previous = rollout.and_then(|rollout| rollout.finding(analysis));
        match finding {
            Finding::Failure | Finding::Error => Some(notable(entry.at, String::new(), "", &text)),
            Finding::Success | Finding::Inconclusive => {
                (previous != Some(*finding)).then(|| routine(entry.at, String::new(), "", &text))
            }
        }
    }

    fn progress(
        &mut self,
        at: Time,
        progress: &Progress,
        status: &Status,
    ) -> Option<RolloutMessage> {
        // Complete counts are not the end: a hook, a soak or an analysis may still fail the rollout.
        if progress.is_complete() {
            return None;
        }
        let text = progress.sentence(&status.service);
        let key = if self.granularity().is_per_host() {
            text.clone()
        } else {
            let (done, of) = (progress.updated_available, progress.desired);
            rounded_percent(done as usize, of as usize).to_string()
        };
        (key != self.last_progress).then(|| {
            self.last_progress = key;
            sentence(at, &text)
        })
    }

    fn failure(&self, entry: &Entry, status: &Status, version: &str) -> Option<RolloutMessage> {
        let rollout = self.rollout.as_ref()?;
        match &entry.event {
            Event::RolloutFailed { failure, log, .. } => Some(RolloutMessage {
                at: entry.at,
                severity: Severity::Failure,
                subject: subject(failure),
                label: "FAILED",
                text: text::clean(&failure::headline(failure, version)),
                details: failure::block(
                    failure,
                    version,
                    log,
                    &failure::next_after_failure(rollout, status),
                ),
            }),
            Event::HostFailed { failure, log } => {
                let next = failure::next_without_host(rollout, status);
                let text = failure::headline(failure, version);
                Some(RolloutMessage {
                    details: failure::block(failure, version, log, &next),
                    ..notable(entry.at, subject(failure), "FAILED", &text)
                })
            }
            _ => None,
        }
    }

    fn finish(&self, at: Time, outcome: &Outcome, status: &Status) -> Vec<RolloutMessage> {
        let Some(rollout) = &self.rollout else {
            return Vec::new();
        };
        let (text, mut details) = summary::summary(rollout, outcome, status, at);
        let availability = rollout.availability().into_iter();
        details
            .extend(availability.flat_map(|report| availability::lines(report, &self.setup.clock)));
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
}

/// The slot that failed, or the host if the failure does not concern a slot.
fn subject(failure: &Failure) -> String {
    let slot = failure.slot.as_ref().map(Slot::to_string);
    let host = failure.host.as_ref().map(HostId::to_string);
    slot.or(host).unwrap_or_default()
}
