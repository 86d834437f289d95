//! The intervals at which ship probes instances and observes hosts.

use std::time::Duration;

use crate::core::fleet::reach::Reach;
use crate::core::fleet::{Host, Instance};
use crate::core::release::Readiness;
use crate::core::time::Time;

/// The interval of observations of a balancer while no slot changes.
pub const BALANCER_INTERVAL: Duration = Duration::from_secs(2);
/// The first pause after a failed probe of an instance that starts.
const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(25);
/// The interval of observations of a host where an instance starts or has stopped answering.
const UNCERTAIN_HOST_INTERVAL: Duration = Duration::from_secs(1);
/// The interval of observations of a host where an instance lingers, whose slot may be needed.
const LINGERING_HOST_INTERVAL: Duration = Duration::from_secs(3);
/// The interval of observations of a healthy host.
const HEALTHY_HOST_INTERVAL: Duration = Duration::from_secs(10);
/// The longest interval of observations of an unreachable host.
const LOST_HOST_INTERVAL_MAX: Duration = Duration::from_secs(15);

/// The time from the last answer of an instance to its next probe.
///
/// ship probes a starting instance often at first, so that a rollout does not wait a whole interval
/// for a service that starts quickly. Each failed probe doubles the wait, up to the interval.
/// After the first pass, ship probes the instance once per interval.
pub fn probe_again_after(instance: &Instance, readiness: &Readiness) -> Duration {
    let health = &instance.health;
    if health.ready_since.is_some() || health.passes > 0 {
        return readiness.interval;
    }
    let doublings = health.failures.saturating_sub(1).min(16);
    FIRST_PROBE_PAUSE
        .saturating_mul(1 << doublings)
        .min(readiness.interval)
}

/// The time of the first probe of an instance: after the initial delay, and not before it can pass.
pub fn first_probe_at(instance: &Instance, readiness: &Readiness) -> Time {
    instance.started + readiness.waits().until_first_probe()
}

/// The time from the last observation of a host to the next one. `misses` is the number of failed
/// observations in a row, or that of actions in a row whose result is unknown.
pub fn observe_again_after(host: &Host, misses: u32) -> Duration {
    match host.reach {
        Reach::Lost { .. } | Reach::NotSeen => UNCERTAIN_HOST_INTERVAL
            .saturating_mul(1 << misses.saturating_sub(1).min(8))
            .min(LOST_HOST_INTERVAL_MAX),
        Reach::Reachable => {
            let is_uncertain = |instance: &Instance| {
                instance.lingering.is_none()
                    && (instance.health.ready_since.is_none() || instance.health.failures > 0)
            };
            let has_uncertain = host.instances().any(|(_, instance)| is_uncertain(instance));
            let mut instances = host.instances();
            if has_uncertain {
                UNCERTAIN_HOST_INTERVAL
            } else if instances.any(|(_, instance)| instance.lingers().is_some()) {
                LINGERING_HOST_INTERVAL
            } else {
                HEALTHY_HOST_INTERVAL
            }
        }
    }
}

/// Whether a host is observed at once after this many actions in a row whose result is unknown.
/// Usually, a connection broke once. If the next action has no result either, it is not tried again
/// and again without a pause.
pub fn observe_at_once_after(unknown_actions: u32) -> bool {
    unknown_actions == 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::fleet::health::{Health, Verdict};
    use crate::core::fleet::{Process, Sighting};
    use crate::core::ids::Revision;
    use crate::core::release::{Check, Via};

    fn readiness() -> Readiness {
        let second = Duration::from_secs(1);
        Readiness {
            check: Check::Tcp,
            port: None,
            via: Via::Direct,
            interval: second,
            timeout: second,
            success_threshold: 2,
            failure_threshold: 3,
            initial_delay: Duration::from_secs(5),
        }
    }

    fn instance() -> Instance {
        Instance {
            name: "page-1".into(),
            release: "r".into(),
            revision: Revision(1),
            started: Time(1000),
            process: Process::Running,
            lingering: None,
            restarts: 0,
            listeners: BTreeMap::new(),
            health: Health::default(),
            sighting: Sighting::default(),
        }
    }

    #[test]
    fn starting_instance_is_probed_often_at_first_and_at_least_once_per_interval() {
        let (readiness, mut instance) = (readiness(), instance());
        assert_eq!(first_probe_at(&instance, &readiness), Time(6000));
        let mut waits = Vec::new();
        for n in 0..8 {
            instance.health.record(
                Verdict::Fail("refused".into()),
                Time(n),
                Time(n),
                &readiness.thresholds(),
            );
            waits.push(probe_again_after(&instance, &readiness).as_millis());
        }
        assert_eq!(waits, [25, 50, 100, 200, 400, 800, 1000, 1000]);
        instance.health.record(
            Verdict::Pass("ok".into()),
            Time(9),
            Time(9),
            &readiness.thresholds(),
        );
        assert_eq!(probe_again_after(&instance, &readiness), readiness.interval);
    }

    #[test]
    fn unreachable_host_is_observed_at_growing_intervals_up_to_a_limit() {
        let mut host = Host {
            reach: Reach::Lost {
                since: Time(0),
                why: String::new(),
            },
            ..Host::default()
        };
        let waits: Vec<_> = [1, 2, 3, 4, 5, 99]
            .map(|misses| observe_again_after(&host, misses).as_secs())
            .into();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
        host.reach = Reach::Reachable;
        assert_eq!(observe_again_after(&host, 0), HEALTHY_HOST_INTERVAL);
    }
}
