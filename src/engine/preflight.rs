//! The first observation of every host, before anything is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt, stream};

use super::clock::Clock;
use super::executor::Executor;
use crate::core::fleet::health::{Thresholds, Verdict};
use crate::core::fleet::identity::Identity;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::traffic::Traffic;
use crate::core::fleet::{Fleet, Judgement};
use crate::core::ids::{Epoch, HostId, ReleaseId};
use crate::core::release::Definition;
use crate::remote::HostUnavailable;

/// The maximum number of concurrent observations, and of concurrent probes.
const POLL_CONCURRENCY: usize = 64;

/// The state of the fleet before a rollout.
#[derive(Debug, Default)]
pub struct Preflight {
    /// The fleet, with every running instance probed once.
    pub fleet: Fleet,
    /// The hosts that cannot be used. In `fleet`, they are lost.
    pub unusable: BTreeMap<HostId, HostUnavailable>,
    /// The owner of each host: the fleet and the history that last deployed to it.
    pub owners: BTreeMap<HostId, Owner>,
    /// The identity of each host's machine, where it could be read.
    pub identities: BTreeMap<HostId, Identity>,
    /// The balancers that cannot be used.
    pub unusable_balancers: BTreeMap<HostId, HostUnavailable>,
}

impl Preflight {
    /// The newest epoch that any reachable host or balancer has seen.
    pub fn newest_epoch(&self) -> Epoch {
        let hosts = self.fleet.hosts.values().map(|host| host.epoch);
        let balancers = self
            .fleet
            .balancers
            .values()
            .filter_map(|balancer| balancer.view.epoch);
        hosts.chain(balancers).max().unwrap_or_default()
    }
}

/// Observes every host and balancer, and probes every instance once.
pub async fn preflight<E: Executor + ?Sized>(
    executor: &Arc<E>,
    hosts: &[HostId],
    traffic: Option<&Traffic>,
    definitions: &BTreeMap<ReleaseId, Definition>,
    clock: &dyn Clock,
) -> Preflight {
    let mut found = Preflight::default();
    let observations = stream::iter(hosts.iter().cloned()).map(|host| {
        let executor = Arc::clone(executor);
        async move {
            let begun = clock.now();
            let observed = executor.observe_host(&host).await;
            (host, begun, observed)
        }
    });
    let mut observations = observations.buffer_unordered(POLL_CONCURRENCY);
    while let Some((host, begun, observed)) = observations.next().await {
        match observed {
            Ok(observation) => {
                found
                    .owners
                    .extend(observation.owner.clone().map(|owner| (host.clone(), owner)));
                found.identities.extend(
                    observation
                        .identity
                        .clone()
                        .map(|identity| (host.clone(), identity)),
                );
                found.fleet.observe(&host, observation, begun);
            }
            Err(unusable) => {
                found
                    .fleet
                    .mark_unreachable(&host, clock.now(), &unusable.why);
                found.unusable.insert(host, unusable);
            }
        }
    }
    drop(observations);
    let balancers = traffic
        .map(|traffic| found.fleet.balancers_to_observe(traffic))
        .unwrap_or_default();
    let observations = balancers.iter().map(|balancer| async move {
        (balancer.clone(), executor.observe_balancer(balancer).await)
    });
    for (balancer, observed) in join_all(observations).await {
        match observed {
            Ok(view) => found.fleet.observe_balancer(&balancer, view),
            Err(unusable) => {
                found
                    .fleet
                    .mark_balancer_unreachable(&balancer, clock.now(), &unusable.why);
                found.unusable_balancers.insert(balancer, unusable);
            }
        }
    }
    probe_all(executor, &mut found.fleet, definitions, clock).await;
    found
}

/// Probes every running instance once. A single pass makes such an instance ready, because
/// `success_threshold` applies only to changes during the rollout.
async fn probe_all<E: Executor + ?Sized>(
    executor: &Arc<E>,
    fleet: &mut Fleet,
    definitions: &BTreeMap<ReleaseId, Definition>,
    clock: &dyn Clock,
) {
    let running = fleet
        .instances()
        .filter(|(_, host, instance)| host.is_reachable() && instance.is_running());
    let running: Vec<_> = running
        .map(|(slot, _, instance)| (slot, instance.clone()))
        .collect();
    let probes = stream::iter(running).map(|(slot, instance)| {
        let executor = Arc::clone(executor);
        async move {
            let begun = clock.now();
            let verdict = executor.probe(&slot, &instance).await;
            (slot, begun, verdict)
        }
    });
    let mut probes = probes.buffer_unordered(POLL_CONCURRENCY);
    // A verdict dates from the time at which its probe was sent: ship may have been suspended
    // since.
    while let Some((slot, begun, verdict)) = probes.next().await {
        let Some(instance) = fleet.instance_mut(&slot) else {
            continue;
        };
        let definition = definitions.get(&instance.release);
        let thresholds = definition
            .map(|definition| definition.readiness.thresholds())
            .unwrap_or_default();
        let judged = match definition {
            Some(definition) => instance.judge(verdict, definition, slot.number),
            None => Judgement::Counts(verdict),
        };
        let verdict = match judged {
            Judgement::Counts(verdict) => verdict,
            Judgement::ObserveAgain => Verdict::Fail("nothing listens on the port".into()),
        };
        let since = instance.started;
        instance.health.record(
            verdict,
            begun,
            since,
            &Thresholds {
                success_threshold: 1,
                ..thresholds
            },
        );
    }
}
