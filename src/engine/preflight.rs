//! The first observation of every host, before anything is touched.

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

/// The limit of concurrent observations, and of concurrent probes.
const TOGETHER: usize = 64;

/// What ship observed before it changes anything.
#[derive(Debug, Default)]
pub struct Preflight {
    /// The fleet, with every running instance probed once.
    pub fleet: Fleet,
    /// The hosts that cannot be used. The fleet knows them as lost.
    pub unusable: BTreeMap<HostId, HostUnavailable>,
    /// The records of who last deployed to each host.
    pub owners: BTreeMap<HostId, Owner>,
    /// The machine of each host, where it could be identified.
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
    let looks = stream::iter(hosts.iter().cloned()).map(|host| {
        let executor = Arc::clone(executor);
        async move {
            let begun = clock.now();
            let looked = executor.observe_host(&host).await;
            (host, begun, looked)
        }
    });
    let mut looks = looks.buffer_unordered(TOGETHER);
    while let Some((host, begun, looked)) = looks.next().await {
        match looked {
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
                found.fleet.lose(&host, clock.now(), &unusable.why);
                found.unusable.insert(host, unusable);
            }
        }
    }
    drop(looks);
    let balancers = traffic
        .map(|traffic| found.fleet.balancers_to_ask(traffic))
        .unwrap_or_default();
    let views = balancers.iter().map(|balancer| async move {
        (balancer.clone(), executor.observe_balancer(balancer).await)
    });
    for (balancer, viewed) in join_all(views).await {
        match viewed {
            Ok(view) => found.fleet.view(&balancer, view),
            Err(unusable) => {
                found
                    .fleet
                    .lose_balancer(&balancer, clock.now(), &unusable.why);
                found.unusable_balancers.insert(balancer, unusable);
            }
        }
    }
    ask_all(executor, &mut found.fleet, definitions, clock).await;
    found
}

/// One pass makes an instance ready that ran before anybody asked: its thresholds are about
/// changes.
async fn ask_all<E: Executor + ?Sized>(
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
    let asks = stream::iter(running).map(|(slot, instance)| {
        let executor = Arc::clone(executor);
        async move {
            let asked = clock.now();
            let verdict = executor.probe(&slot, &instance).await;
            (slot, asked, verdict)
        }
    });
    let mut asks = asks.buffer_unordered(TOGETHER);
    // A verdict is as old as its question: this process may have slept over it.
    while let Some((slot, asked, verdict)) = asks.next().await {
        let Some(instance) = fleet.instance_mut(&slot) else {
            continue;
        };
        let readiness = definitions
            .get(&instance.release)
            .map(|definition| &definition.readiness);
        let thresholds = readiness
            .map(crate::core::release::Readiness::thresholds)
            .unwrap_or_default();
        let judged = match readiness {
            Some(readiness) => instance.judge(verdict, &readiness.check),
            None => Judgement::Counts(verdict),
        };
        let verdict = match judged {
            Judgement::Counts(verdict) => verdict,
            Judgement::LookAgain => Verdict::Fail("nobody listens on the port".into()),
        };
        let since = instance.started;
        instance.health.record(
            verdict,
            asked,
            since,
            &Thresholds {
                success_threshold: 1,
                ..thresholds
            },
        );
    }
}
