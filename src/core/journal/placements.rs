//! The slots of the instances according to the journals. A report on a past rollout uses them,
//! because it cannot observe the hosts of that time.

use std::collections::BTreeMap;

use crate::core::ids::{InstanceId, ReleaseId, Slot};
use crate::core::journal::pending_orders::{PendingOrder, PendingOrders};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};

/// The instances that were started and not stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placements {
    present: BTreeMap<InstanceId, Placement>,
    orders: PendingOrders,
}

/// The slot and the release of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub slot: Slot,
    pub release: ReleaseId,
}

impl Placements {
    /// The instances after these events of all rollouts, oldest first.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut placements = Self::default();
        for entry in entries {
            placements.apply(entry);
        }
        placements
    }

    /// The instances, by name.
    pub fn present(&self) -> &BTreeMap<InstanceId, Placement> {
        &self.present
    }

    /// Applies the next event of a journal. The journal of the next rollout follows its last event.
    pub fn apply(&mut self, entry: &Entry) {
        let ended = self.orders.apply(entry);
        match &entry.event {
            Event::ActionDone { .. } => {
                if let Some(stopped) = ended.as_ref().and_then(PendingOrder::stops) {
                    self.present.remove(stopped);
                }
                if let Some((reloaded, slot, release)) =
                    ended.as_ref().and_then(PendingOrder::start)
                {
                    self.place(reloaded, slot, release);
                }
            }
            Event::ActionFailed { .. } => {
                if let Some((started, ..)) = ended.as_ref().and_then(PendingOrder::start) {
                    self.present.remove(started);
                }
            }
            Event::ActionStarted {
                // A reload may fail, and the present instance then continues.
                action:
                    Action::Start {
                        slot,
                        release,
                        reloads: None,
                    },
                instance: Some(instance),
                ..
            }
            | Event::InstanceReady {
                slot,
                instance,
                release,
                ..
            }
            | Event::InstanceNotReady {
                slot,
                instance,
                release,
                ..
            } => self.place(instance, slot, release),
            _ => {}
        }
    }

    /// Records an instance in a slot. An earlier instance in the same slot is gone.
    fn place(&mut self, instance: &InstanceId, slot: &Slot, release: &ReleaseId) {
        self.present.retain(|_, placement| placement.slot != *slot);
        self.present.insert(
            instance.clone(),
            Placement {
                slot: slot.clone(),
                release: release.clone(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::ActionId;
    use crate::core::rollout::action::StopReason;
    use crate::core::time::Time;

    fn start(id: u64, host: &str, instance: &str) -> Event {
        let action = Action::Start {
            slot: Slot::new(host, 1),
            release: "r".into(),
            reloads: None,
        };
        Event::ActionStarted {
            id: ActionId(id),
            action,
            instance: Some(instance.into()),
        }
    }

    fn stop(id: u64, host: &str, instance: &str) -> Event {
        let (slot, why) = (Slot::new(host, 1), StopReason::Replaced);
        let action = Action::Stop {
            slot,
            instance: instance.into(),
            why,
            restore_after: None,
            ended: None,
        };
        Event::ActionStarted {
            id: ActionId(id),
            action,
            instance: None,
        }
    }

    fn after(events: impl IntoIterator<Item = Event>) -> Vec<String> {
        let mut placements = Placements::default();
        for event in events {
            placements.apply(&Entry { at: Time(0), event });
        }
        placements
            .present()
            .iter()
            .map(|(name, post)| format!("{name}@{}", post.slot.host))
            .collect()
    }

    #[test]
    fn placements_have_instances_that_were_started_and_not_stopped() {
        let done = |id| Event::ActionDone { id: ActionId(id) };
        let failed = Event::ActionFailed {
            id: ActionId(3),
            error: String::new(),
        };
        let unknown = Event::ActionUnknown {
            id: ActionId(4),
            why: String::new(),
        };
        let events = [
            start(1, "a", "a1"),
            done(1),
            start(2, "b", "b1"),
            start(3, "c", "c1"),
            failed,
            stop(4, "b", "b1"),
        ];
        assert_eq!(after(events.clone()), ["a1@a", "b1@b"]);
        assert_eq!(after(events.clone().into_iter().chain([done(4)])), ["a1@a"]);
        assert_eq!(
            after(events.clone().into_iter().chain([unknown.clone()])),
            ["a1@a", "b1@b"]
        );
        assert_eq!(
            after(events.into_iter().chain([unknown, start(5, "b", "b2")])),
            ["a1@a", "b2@b"]
        );
    }

    #[test]
    fn reloaded_instance_is_present_until_the_reload_is_done() {
        let reload = Event::ActionStarted {
            id: ActionId(2),
            action: Action::Start {
                slot: Slot::new("a", 1),
                release: "r".into(),
                reloads: Some("a1".into()),
            },
            instance: Some("a2".into()),
        };
        let events = [start(1, "a", "a1"), reload];
        assert_eq!(after(events.clone()), ["a1@a"]);
        let failed = Event::ActionFailed {
            id: ActionId(2),
            error: String::new(),
        };
        assert_eq!(after(events.clone().into_iter().chain([failed])), ["a1@a"]);
        let done = Event::ActionDone { id: ActionId(2) };
        assert_eq!(after(events.into_iter().chain([done])), ["a2@a"]);
    }
}
