//! Scaling up, as in Kubernetes: which instances are started, and where.

use std::collections::VecDeque;

use crate::core::ids::{ReleaseId, Slot};
use crate::core::planner::host_count::HostCount;
use crate::core::planner::plan_builder::PlanBuilder;
use crate::core::planner::situation::Situation;
use crate::core::planner::{allowance, reload, singleton, steps, windows};
use crate::core::rollout::action::Action;

/// Starts `min(replicas + surge − running, replicas − new)` instances on hosts that have fewer than
/// their share.
pub(super) fn start_new(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let mut below = candidates(s, plan);
    // A host that is busy only for now keeps its share: other hosts do not take it over.
    s.spread.retain_below(&mut below);
    start_on(s, plan, in_zone_to_change(s, below));
}

/// Starts instances on any hosts if nothing else is possible.
pub(super) fn start_beyond_share(s: &Situation<'_>, plan: &mut PlanBuilder) {
    if plan.is_empty() && s.is_settled() {
        let hosts = first_zone(candidates(s, plan), |host| s.spread.new_in_zone(host));
        start_on(s, plan, hosts);
    }
}

fn start_on(s: &Situation<'_>, plan: &mut PlanBuilder, hosts: Vec<&HostCount<'_>>) {
    let mut hosts = VecDeque::from(hosts);
    for release in releases_to_start(s) {
        // Each release has its own slots, so the first host may have no free slot for it.
        let found = hosts
            .iter()
            .enumerate()
            .find_map(|(index, host)| Some((index, *host, free_slot(s, host, release)?)));
        let Some((index, host, slot)) = found else {
            continue;
        };
        hosts.remove(index);
        // In a rollback, a host may never have had the release.
        let is_staged = host
            .host
            .is_some_and(|host| host.releases.contains(release));
        let release = release.clone();
        plan.order(if is_staged {
            Action::Start {
                slot,
                release,
                reloads: None,
            }
        } else {
            Action::Stage {
                host: slot.host,
                release,
            }
        });
    }
}

/// The release of each instance that may be started now.
pub(super) fn releases_to_start<'a>(s: &Situation<'a>) -> Vec<&'a ReleaseId> {
    let room = s.budget.max_running().saturating_sub(s.census.running);
    let wanted = steps::new_limit(s).saturating_sub(s.census.new);
    let mut room = room.min(wanted);
    if s.closing.is_some() {
        room = room.min(windows::starts_to_finish_batch(s));
    }
    let missing = s.census.missing();
    // What is reloaded needs no start.
    let to_start = missing.values().sum::<u32>();
    room = room.min(to_start.saturating_sub(reload::possible(s)));
    missing
        .into_iter()
        .flat_map(|(release, count)| std::iter::repeat_n(release, count as usize))
        .take(room as usize)
        .skip(hosts_staging_for_start(s))
        .collect()
}

/// The hosts that can get an instance now, those with the fewest first.
fn candidates<'a>(s: &Situation<'a>, plan: &PlanBuilder) -> Vec<&'a HostCount<'a>> {
    let missing = s.census.missing();
    let offers = |host: &HostCount<'_>| {
        let mut releases = missing.keys();
        releases.any(|release| free_slot(s, host, release).is_some())
    };
    let hosts = s.census.hosts.iter();
    let mut candidates: Vec<_> = hosts
        .filter(|host| host.is_idle() && !plan.has_order(host.id) && !s.has_failed_on(host.id))
        .filter(|host| offers(host))
        .collect();
    candidates.sort_by_key(|host| (host.new, host.running));
    candidates
}

/// The hosts in the zones that are disturbed already. Otherwise, those in the zone that is replaced
/// first; none while old instances can stop in another one.
fn in_zone_to_change<'a>(
    s: &Situation<'_>,
    hosts: Vec<&'a HostCount<'a>>,
) -> Vec<&'a HostCount<'a>> {
    let (disturbed, others): (Vec<_>, Vec<_>) = hosts
        .into_iter()
        .partition(|host| s.spread.is_disturbed(host));
    if !disturbed.is_empty() {
        return disturbed;
    }
    let next = first_zone(others, |host| s.spread.rank(host));
    let waits = |host: &&HostCount<'_>| {
        !s.is_settled() && s.spread.other_disturbed(host).is_some()
            || !s.spread.is_next(host) && allowance::may_stop_old(s)
    };
    if next.first().is_some_and(waits) {
        Vec::new()
    } else {
        next
    }
}

/// The hosts of one zone: the one with the lowest key.
fn first_zone<'a, K: Ord>(
    mut hosts: Vec<&'a HostCount<'a>>,
    key: impl Fn(&HostCount<'a>) -> K,
) -> Vec<&'a HostCount<'a>> {
    let first = hosts.iter().min_by_key(|host| key(host));
    let first = first.map(|host| host.zone);
    hosts.retain(|host| Some(host.zone) == first);
    hosts
}

/// The slot of a host in which an instance of a release can be started now.
pub(super) fn free_slot(
    s: &Situation<'_>,
    host: &HostCount<'_>,
    release: &ReleaseId,
) -> Option<Slot> {
    let is_due = |slot: &Slot| {
        let attempts = s.rollout.attempt.starts.get(slot);
        attempts.is_none_or(|attempts| attempts.next_at() <= s.now)
    };
    let mut slots = host.usable_slots(s.spec, s.rollout, release);
    slots.find(|slot| is_due(slot) && singleton::may_start_in(s, slot))
}

/// The number of hosts that stage a release for a start.
fn hosts_staging_for_start(s: &Situation<'_>) -> usize {
    let stages = |host: &&HostCount<'_>| {
        s.stages_on_demand() && matches!(host.busy, Some(Action::Stage { .. }))
    };
    s.census.hosts.iter().filter(stages).count()
}

/// Starts one more instance on a host that has fewer than the others, so that a host that was
/// unreachable gets its share again. Then the surplus instance stops on the host with the most.
pub(super) fn rebalance(s: &Situation<'_>, plan: &mut PlanBuilder) {
    let census = s.census;
    // All instances must serve: one that is not ready yet would be the first surplus to stop.
    let is_settled = census.new == census.desired && plan.is_empty() && s.is_settled();
    if !is_settled || s.closing.is_some() || census.running >= s.budget.max_running() {
        return;
    }
    if let Some(slot) = underloaded_slot(s) {
        let release = s.rollout.target_release().clone();
        plan.order(Action::Start {
            slot,
            release,
            reloads: None,
        });
    }
}

/// The slot in which one more instance would spread the instances more evenly.
pub(super) fn underloaded_slot(s: &Situation<'_>) -> Option<Slot> {
    if s.budget.surge == 0 || s.stages_on_demand() {
        return None;
    }
    let usable_hosts = || s.usable_hosts().filter(|host| host.is_idle());
    let may_take_one = |host: &HostCount<'_>| {
        s.spread.is_underloaded(host) && host.running == host.new && !s.has_failed_on(host.id)
    };
    let target = s.rollout.target_release();
    usable_hosts()
        .filter(|host| may_take_one(host))
        .filter_map(|host| {
            let slot = free_slot(s, host, target)?;
            Some((s.spread.new_in_zone(host), host.new, slot))
        })
        .min_by_key(|(in_zone, on_host, _)| (*in_zone, *on_host))
        .map(|(.., slot)| slot)
}
