//! Builds the spec of a fleet from the files and the history.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::error::{Error, Refused};
use super::session::Session;
use crate::config::{HostConfig, Project, UnattendedConfig};
use crate::core::ids::{ReleaseId, Revision};
use crate::core::policy::history::{self, PastRevision};
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::unattended::RunMode;
use crate::core::release::Definition;
use crate::core::release::reload::reload_group;
use crate::core::rollout::verb::Verb;
use crate::core::spec::Spec;
use crate::core::spec::step::{OnGate, Step, one_first};
use crate::core::spec::windows::{self, DeployWindows};
use crate::core::spec::zones::Zones;
use crate::core::time::Time;

/// The spec of the fleet; `goal` is the release to be deployed.
pub(crate) fn spec(
    session: &Session,
    definitions: &BTreeMap<ReleaseId, Definition>,
    goal: Option<&ReleaseId>,
) -> Result<Spec, Error> {
    let playbook = &session.project.playbook;
    let rollout = &playbook.rollout;
    let hosts: Vec<_> = session
        .project
        .inventory
        .schedulable_hosts()
        .map(|host| host.name.clone())
        .collect();
    let playbook_slots = playbook.service.slots.numbers();
    let release_slots: BTreeMap<_, _> = definitions
        .iter()
        .filter_map(|(release, definition)| Some((release.clone(), definition.slots()?.numbers())))
        .collect();
    let slots = goal
        .and_then(|goal| release_slots.get(goal))
        .unwrap_or(&playbook_slots);
    let budget = session
        .amounts()
        .resolve(hosts.len(), slots.len())
        .map_err(Refused::Impossible)?;
    Ok(Spec {
        service: playbook.service.name.clone(),
        hosts,
        zones: zones(&session.project),
        slots: playbook_slots,
        release_slots,
        without_ports: definitions
            .iter()
            .filter(|(_, definition)| definition.slots.is_some())
            .map(|(release, _)| release.clone())
            .collect(),
        slot_ports: definitions
            .iter()
            .filter_map(|(release, definition)| {
                let slots = definition.slots()?.by_number();
                let has_several = slots.values().any(|ports| ports.len() > 1);
                has_several.then(|| (release.clone(), slots))
            })
            .collect(),
        reload_groups: definitions
            .iter()
            .filter_map(|(release, definition)| {
                let group = reload_group(definition)?;
                Some((release.clone(), group))
            })
            .collect(),
        is_singleton: playbook.service.is_singleton,
        budget,
        rollback_budget: None,
        min_ready: rollout.min_ready,
        progress_deadline: rollout.progress_deadline,
        max_failed_hosts: rollout.max_failed_hosts,
        on_failure: rollout.on_failure,
        thresholds: by_release(definitions, |definition| definition.readiness.thresholds()),
        waits: by_release(definitions, Definition::waits),
        steps: steps(session, budget.replicas),
        deploy_windows: deploy_windows(
            &session.project,
            session.mode,
            &session.history,
            session.now(),
        ),
        tasks: Vec::new(),
        analyses: playbook.analyses.clone(),
        on_gate: if session.mode.unattended {
            playbook.unattended.on_gate
        } else {
            OnGate::Wait
        },
        traffic: session.traffic(),
        keep: releases_to_keep(session, goal),
    })
}

/// The zone of each host, by the label that the playbook names. Hosts that are drained have one, too.
fn zones(project: &Project) -> Zones {
    let label = project.playbook.rollout.zones.as_ref();
    let zone_of = |host: &HostConfig| {
        let zone = host.labels.get(label?)?;
        Some((host.name.clone(), zone.clone()))
    };
    Zones::new(project.inventory.hosts.iter().filter_map(zone_of))
}

fn by_release<T>(
    definitions: &BTreeMap<ReleaseId, Definition>,
    value: impl Fn(&Definition) -> T,
) -> BTreeMap<ReleaseId, T> {
    let pair =
        |(release, definition): (&ReleaseId, &Definition)| (release.clone(), value(definition));
    definitions.iter().map(pair).collect()
}

/// The releases that stay on the hosts after the rollout.
fn releases_to_keep(session: &Session, goal: Option<&ReleaseId>) -> BTreeSet<ReleaseId> {
    let mut past = session.history.past();
    let mut newest = past
        .iter()
        .map(|entry| entry.revision)
        .max()
        .unwrap_or_default();
    if let Some(goal) = goal.filter(|goal| past.last().is_none_or(|last| last.release != **goal)) {
        newest = Revision(newest.0 + 1);
        past.push(PastRevision {
            revision: newest,
            release: goal.clone(),
            verb: Verb::Deploy,
            proven: true,
        });
    }
    let limit = session.project.playbook.rollout.history_limit;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let retained = history::retained(&past, newest, limit);
    history::kept_releases(&past, &retained)
}

fn steps(session: &Session, replicas: u32) -> Vec<Step> {
    let playbook = &session.project.playbook;
    if session.mode.unattended {
        one_first(&playbook.rollout.steps, playbook.unattended.soak, replicas)
    } else {
        playbook.rollout.steps.clone()
    }
}

/// When an unattended rollout may start replacements. An attended rollout has no windows.
pub fn deploy_windows(
    project: &Project,
    mode: RunMode,
    history: &ServiceHistory,
    now: Time,
) -> DeployWindows {
    let playbook = &project.playbook;
    let UnattendedConfig {
        windows, time_zone, ..
    } = &playbook.unattended;
    if !mode.unattended || mode.force || windows.is_empty() {
        return DeployWindows::default();
    }
    let zone = time_zone.clone().unwrap_or_else(TimeZone::system);
    let readiness = &playbook.readiness;
    DeployWindows {
        upcoming: windows::upcoming_windows(windows, &zone, now),
        is_limited: true,
        replacement_time_min: playbook.rollout.min_ready + readiness.waits().until_ready(),
        fastest_deploy: history.fastest_deploy(),
    }
}
