//! The evidence for and against the new release: analyses, failed requests, and failures of the old
//! instances.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::analysis::measurement::Record;
use crate::core::availability::AvailabilityReport;
use crate::core::ids::InstanceId;
use crate::core::rollout::event::{Entry, Event};

/// The evidence for and against the new release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// Instances of the rollback target that became unhealthy during the rollout. If old instances
    /// fail too, the new release may not be the cause.
    pub rollback_target_turned_unhealthy: BTreeSet<InstanceId>,
    /// The measurements of the new version, by the name of the analysis.
    pub analyses: BTreeMap<String, Record>,
    /// The last report of the availability monitor.
    pub availability: Option<AvailabilityReport>,
}

impl Evidence {
    /// Applies the next event. `is_of_rollback_target` is whether the event concerns an instance of
    /// the rollback target that ship has not stopped.
    pub(super) fn apply(&mut self, entry: &Entry, is_of_rollback_target: bool) {
        match &entry.event {
            Event::InstanceReady { instance, .. } => {
                self.rollback_target_turned_unhealthy.remove(instance);
            }
            Event::InstanceNotReady { instance, .. } if is_of_rollback_target => {
                self.rollback_target_turned_unhealthy
                    .insert(instance.clone());
            }
            Event::Measured {
                analysis,
                outcome,
                detail,
                ..
            } => {
                let before = self.analyses.remove(analysis);
                let record = Record::add_to(before, entry.at, *outcome, detail);
                self.analyses.insert(analysis.clone(), record);
            }
            Event::AvailabilityReported(report) => self.availability = Some(report.clone()),
            _ => {}
        }
    }
}
