//! Messages about actions: the commands that ship sends to hosts.

use super::super::message::{RolloutMessage, notable, routine};
use super::granularity::{Granularity, rounded_percent};
use crate::core::ids::{HostId, ReleaseId, Slot};
use crate::core::journal::event_context::EventContext;
use crate::core::journal::pending_orders::PendingOrder;
use crate::core::journal::status::Status;
use crate::core::release::patch::Transfer;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::{Human, Time};
use crate::report::text::{self, Versions};

/// An action in flight and the version that it concerns; empty if it concerns none.
#[derive(Clone, Copy)]
pub(super) struct VersionedAction<'a> {
    pub(super) pending: &'a PendingOrder,
    pub(super) version: &'a str,
}

/// The version that an action concerns; empty if it concerns none.
pub(super) fn version_of(action: &Action, versions: &Versions, status: &Status) -> String {
    match action {
        Action::Stage { release, .. } | Action::Start { release, .. } => {
            versions.of(release).to_owned()
        }
        Action::Admit { instance, .. }
        | Action::Drain { instance, .. }
        | Action::Stop { instance, .. } => {
            let row = status.instances.iter().find(|row| row.name == *instance);
            row.map_or_else(|| instance.to_string(), |row| row.version.clone())
        }
        Action::Claim { .. } | Action::Prune { .. } | Action::Disarm { .. } => String::new(),
    }
}

/// The message about an action that starts. Only the first staging of a release has one.
pub(super) fn started(
    at: Time,
    action: &Action,
    version: &str,
    context: &EventContext,
) -> Option<RolloutMessage> {
    let Action::Stage { release, .. } = action else {
        return None;
    };
    let is_first = context.hosts_staged(release).is_none();
    let text = format!("staging {version} on the hosts");
    is_first.then(|| routine(at, String::new(), "", &text))
}

/// The message about a transfer of a difference, or from another host.
pub(super) fn transferred(at: Time, host: &HostId, transfer: &Transfer) -> RolloutMessage {
    let text = text::transfer(transfer);
    if transfer.has_failed_first() {
        notable(at, host.to_string(), "received", &text)
    } else {
        routine(at, host.to_string(), "received", &text)
    }
}

impl VersionedAction<'_> {
    /// The message about the end of this action.
    pub(super) fn ended(
        &self,
        entry: &Entry,
        context: &EventContext,
        granularity: Granularity,
    ) -> Option<RolloutMessage> {
        let (at, host) = (entry.at, self.pending.action.host());
        match &entry.event {
            Event::ActionDone { .. } => match &self.pending.action {
                Action::Stage { release, .. } => self.staged(at, release, context, granularity),
                _ => self.done(at, context).filter(|_| granularity.is_per_host()),
            },
            Event::ActionFailed { error, .. } => {
                let (what, took) = (self.verb_phrase(), self.took(at));
                let text = format!("cannot {what}: {} (after {took})", host.without_name(error));
                // Releases that were not removed do not affect the rollout.
                let is_harmless = matches!(self.pending.action, Action::Prune { .. });
                let label = if is_harmless { "warning" } else { "failed" };
                Some(notable(at, self.subject(), label, &text))
            }
            Event::ActionUnknown { why, .. } => {
                let (what, why) = (self.gerund_phrase(), host.without_name(why));
                let text = format!("lost contact while {what} ({why}); checking the host");
                Some(notable(at, self.subject(), "unknown", &text))
            }
            _ => None,
        }
    }

    fn done(&self, at: Time, context: &EventContext) -> Option<RolloutMessage> {
        let (version, took) = (self.version, self.took(at));
        let (label, text) = match &self.pending.action {
            // A claim or disarm has a message only if it fails; a drain has its own event.
            Action::Claim { .. }
            | Action::Disarm { .. }
            | Action::Drain { .. }
            | Action::Stage { .. } => return None,
            Action::Admit { weight_percent, .. } => {
                let share = weight_percent
                    .map(|weight| format!(" with {weight} % of the weight"))
                    .unwrap_or_default();
                ("admitted", format!("{version}{share} in {took}"))
            }
            Action::Start { reloads, .. } => {
                let name = self.pending.instance.as_ref();
                let name = name.map(|name| format!(" as {name}")).unwrap_or_default();
                let label = if reloads.is_some() {
                    "reloaded"
                } else {
                    "started"
                };
                (label, format!("{version}{name}"))
            }
            Action::Stop {
                instance,
                why,
                ended,
                ..
            } => {
                // An instance that lingers has an event of its own.
                if *why != StopReason::Lingered && context.lingers(instance) {
                    return None;
                }
                let ended = ended.as_ref().map(|how| format!(": {how}"));
                let ended = ended.unwrap_or_default();
                ("stopped", format!("{version} ({why}{ended}) in {took}"))
            }
            Action::Prune { releases, .. } => {
                ("pruned", text::count(releases.len(), "old release"))
            }
        };
        Some(routine(at, self.subject(), label, &text))
    }

    fn staged(
        &self,
        at: Time,
        release: &ReleaseId,
        context: &EventContext,
        granularity: Granularity,
    ) -> Option<RolloutMessage> {
        let version = self.version;
        if granularity.is_per_host() {
            let text = format!("{version} in {}", self.took(at));
            return Some(routine(at, self.subject(), "staged", &text));
        }
        let hosts = granularity.hosts;
        let before = context.hosts_staged(release).unwrap_or_default();
        let done = before + 1;
        let percent = rounded_percent(done, hosts);
        let text = format!("staged {version} on {done} of {hosts} hosts ({percent}%)");
        let is_new_step = percent > rounded_percent(before, hosts);
        is_new_step.then(|| routine(at, String::new(), "", &text))
    }

    /// The action, as in "cannot …".
    fn verb_phrase(&self) -> String {
        match &self.pending.action {
            Action::Claim { .. } => "claim the host".to_owned(),
            Action::Prune { .. } => "prune old releases".to_owned(),
            action if action.is_reload() => format!("reload with {}", self.version),
            action => format!("{} {}", action.verb(), self.version),
        }
    }

    /// The action, as in "lost contact while …".
    fn gerund_phrase(&self) -> String {
        let version = self.version;
        match &self.pending.action {
            Action::Claim { .. } => "claiming the host".to_owned(),
            Action::Prune { .. } => "pruning old releases".to_owned(),
            Action::Stage { .. } => format!("staging {version}"),
            Action::Start {
                reloads: Some(_), ..
            } => format!("reloading with {version}"),
            Action::Start { .. } => format!("starting {version}"),
            Action::Stop { .. } => format!("stopping {version}"),
            Action::Admit { .. } => format!("admitting {version}"),
            Action::Drain { .. } => format!("draining {version}"),
            Action::Disarm { .. } => "disarming the dead-man switch".to_owned(),
        }
    }

    /// The slot, or the host if the action does not concern a slot.
    fn subject(&self) -> String {
        let action = &self.pending.action;
        let slot = action.slot().map(Slot::to_string);
        slot.unwrap_or_else(|| action.host().to_string())
    }

    fn took(&self, at: Time) -> Human {
        Human(at.since(self.pending.since))
    }
}
