//! `[rollout]`: capacity, pace and failure handling of a rollout.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::release::Driver;
use crate::core::release::waits::Waits;
use crate::core::spec::budget::Amount;
use crate::core::spec::impossible::Impossible;
use crate::core::spec::step::Step;
use crate::core::spec::{Amounts, OnFailure};

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::inventory::Inventory;
use super::link;
use super::names;
use super::readiness::ReadinessPlaces;
use super::service::ServiceConfig;
use super::toml_tree::{Node, Value};
use super::value::{
    Faults, ValueError, amount, boolean, choice, count, duration, positive_duration,
};

const PROGRESS_DEADLINE: Duration = Duration::from_mins(10);
const STEPS_EXAMPLE: &str =
    "steps = [1, { instances = \"25%\", soak = \"10m\", pause = true }, \"100%\"]";
const HISTORY_LIMIT: u32 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutConfig {
    /// Number of instances; `None` for one per host.
    pub replicas: Option<u32>,
    /// Additional instances that may run during a rollout.
    pub max_surge: Amount,
    /// Instances that may be unavailable during a rollout.
    pub max_unavailable: Amount,
    /// How long an instance must have been ready to count as available.
    pub min_ready: Duration,
    /// The longest time without progress before a rollout fails.
    pub progress_deadline: Duration,
    /// The default soak time of the steps.
    pub soak: Option<Duration>,
    pub steps: Vec<Step>,
    /// Revisions that the history keeps.
    pub history_limit: u32,
    /// Failed hosts that a rollout tolerates.
    pub max_failed_hosts: u32,
    pub on_failure: OnFailure,
    /// The label whose values are the zones; `None` without zones.
    pub zones: Option<String>,
}

impl RolloutConfig {
    /// The amounts for a fleet of `hosts` hosts.
    pub fn amounts(&self, hosts: usize) -> Amounts {
        let one_per_host = u32::try_from(hosts).unwrap_or(u32::MAX);
        Amounts {
            replicas: self.replicas.unwrap_or(one_per_host),
            max_surge: self.max_surge,
            max_unavailable: self.max_unavailable,
        }
    }
}

/// The places of the keys that may make a rollout impossible.
#[derive(Default)]
pub(super) struct RolloutPlaces {
    replicas: Option<SourceSpan>,
    max_surge: Option<SourceSpan>,
    max_unavailable: Option<SourceSpan>,
    steps: Option<SourceSpan>,
    min_ready: Option<SourceSpan>,
    progress_deadline: Option<SourceSpan>,
    zones: Option<SourceSpan>,
}

impl RolloutPlaces {
    /// Reports hosts without the label that names their zone.
    pub(super) fn check_zones(&self, config: &RolloutConfig, inventory: &Inventory, sink: &Sink) {
        let Some((place, label)) = self.zones.as_ref().zip(config.zones.as_ref()) else {
            return;
        };
        let hosts = inventory.hosts.iter();
        let without = hosts.filter(|host| !host.labels.contains_key(label));
        let without: Vec<_> = without.map(|host| host.name.as_str()).collect();
        let Some(first) = without.first() else { return };
        let message = match without.len() {
            1 => format!("the host {first} has no label `{label}`"),
            count => format!(
                "{count} hosts have no label `{label}`: {}",
                without.join(", ")
            ),
        };
        let labels: BTreeSet<_> = inventory
            .hosts
            .iter()
            .flat_map(|host| host.labels.keys().map(String::as_str))
            .collect();
        let known = match labels.len() {
            0 => "no host has labels".to_owned(),
            _ => format!("labels of the hosts: {}", Vec::from_iter(labels).join(", ")),
        };
        let help = format!("add labels = {{ {label} = \"a\" }} to each host; {known}");
        sink.push(Diagnostic::at(place, message).help(help));
    }

    /// Reports keys with which no instance could become available before the deadline. Points at
    /// the key that takes the most time.
    pub(super) fn check_deadline(
        &self,
        config: &RolloutConfig,
        readiness: (&ReadinessPlaces, Waits),
        sink: &Sink,
    ) {
        let (places, waits) = readiness;
        let Some(why) =
            Impossible::available_too_late(waits, config.min_ready, config.progress_deadline)
        else {
            return;
        };
        let repeats = waits.until_ready().saturating_sub(waits.initial_delay);
        let causes = [
            (config.min_ready, &self.min_ready, "shorten min_ready"),
            (
                waits.initial_delay,
                &places.initial_delay,
                "shorten initial_delay",
            ),
            (
                repeats,
                &places.repeats,
                "lower `success_threshold` or shorten `interval`",
            ),
        ];
        let Some((_, place, remedy)) = causes.into_iter().max_by_key(|(takes, ..)| *takes) else {
            return;
        };
        let Some(place) = place.as_ref().or(self.progress_deadline.as_ref()) else {
            return;
        };
        let help = format!("{remedy}, or lengthen progress_deadline (default 10m)");
        sink.push(Diagnostic::at(place, why.to_string()).help(help));
    }

    /// Reports a `weight` that no balancer can apply.
    pub(super) fn report_weights(&self, sink: &Sink) {
        let Some(place) = &self.steps else { return };
        let diagnostic = Diagnostic::at(
            place,
            "a step has a `weight`, but no balancer supports weights",
        );
        let help = "use [traffic] with driver = \"haproxy\" or \"nginx\", or leave out `weight`";
        sink.push(diagnostic.help(help));
    }

    /// Reports more than one instance per host if each host has one public port, because the second
    /// instance would receive no requests.
    pub(super) fn check_replicas_per_host(
        &self,
        config: &RolloutConfig,
        hosts: usize,
        sink: &Sink,
    ) {
        let Some((place, replicas)) = self.replicas.as_ref().zip(config.replicas) else {
            return;
        };
        if usize::try_from(replicas).is_ok_and(|replicas| replicas > hosts) {
            let message = format!(
                "`replicas` cannot be {replicas}: there are {hosts} hosts with one public port each"
            );
            let help = "with driver = \"nftables\", only one instance per host receives requests: \
                        add hosts, or lower `replicas`";
            sink.push(Diagnostic::at(place, message).help(help));
        }
    }
}

/// Reads the table. The defaults depend on the service. With analyses and without steps, the whole
/// rollout is one step.
pub(super) fn read(
    fields: &Fields<'_>,
    is_analysed: bool,
    service: Option<&ServiceConfig>,
    sink: &Sink,
) -> (RolloutPlaces, Option<RolloutConfig>) {
    let driver = service.map(|service| service.driver);
    let is_singleton = service.is_some_and(|service| service.is_singleton);
    let (surge, unavailable) = if is_singleton || driver == Some(Driver::Link) {
        (Amount::Count(0), Amount::Count(1))
    } else {
        (Amount::Count(1), Amount::Count(0))
    };
    let replicas = fields.optional("replicas", count);
    let max_surge = fields.optional_or("max_surge", surge, amount);
    let max_unavailable = fields.optional_or("max_unavailable", unavailable, amount);
    let (fits_singleton, replicas) = if is_singleton {
        let fits = check_singleton(fields, replicas.flatten(), max_surge);
        (fits, replicas.map(|replicas| replicas.or(Some(1))))
    } else {
        (true, replicas)
    };
    let min_ready = fields.optional_or("min_ready", Duration::ZERO, duration);
    let progress_deadline =
        fields.optional_or("progress_deadline", PROGRESS_DEADLINE, positive_duration);
    let soak_set = fields.optional("soak", duration);
    let soak = soak_set.map(Option::unwrap_or_default);
    let steps = fields.each("steps", STEPS_EXAMPLE, |node| {
        step(node, soak.unwrap_or_default(), sink)
    });
    // Without `steps`, the whole rollout is one step if it has to soak or to be analysed.
    let steps = steps.zip(soak).map(|(mut steps, soak)| {
        if fields.key_place("steps").is_none() && (is_analysed || !soak.is_zero()) {
            steps.push(Step {
                instances: Amount::Percent(100),
                soak,
                pause: false,
                weight_percent: None,
            });
        }
        steps
    });
    let history_limit = fields.optional_or("history_limit", HISTORY_LIMIT, count);
    let max_failed_hosts = fields.optional_or("max_failed_hosts", 0, count);
    let on_failure = fields.optional_or(
        "on_failure",
        OnFailure::RollBack,
        choice(&[("rollback", OnFailure::RollBack), ("hold", OnFailure::Hold)]),
    );
    let zones = fields.optional("zones", names::label);
    fields.finish();
    let fits_driver = link::check_amounts(fields, driver, (max_surge, max_unavailable));

    let places = RolloutPlaces {
        replicas: fields.place_of("replicas"),
        max_surge: fields.place_of("max_surge"),
        max_unavailable: fields.place_of("max_unavailable"),
        steps: fields.place_of("steps"),
        min_ready: fields.place_of("min_ready"),
        progress_deadline: fields.place_of("progress_deadline"),
        zones: fields.place_of("zones"),
    };
    let config = || {
        Some(RolloutConfig {
            replicas: replicas?,
            max_surge: max_surge?,
            max_unavailable: max_unavailable?,
            min_ready: min_ready?,
            progress_deadline: progress_deadline?,
            soak: soak_set?,
            steps: steps?,
            history_limit: history_limit?,
            max_failed_hosts: max_failed_hosts?,
            on_failure: on_failure?,
            zones: zones?,
        })
    };
    (places, config().filter(|_| fits_driver && fits_singleton))
}

/// Whether the amounts fit a singleton; reports those with which two instances could run.
fn check_singleton(fields: &Fields<'_>, replicas: Option<u32>, max_surge: Option<Amount>) -> bool {
    let refuse = |key, why: &str, help: &str| {
        fields.report(key, ValueError::new(why.to_owned()).help(help));
    };
    let are_several = replicas.is_some_and(|replicas| replicas > 1);
    if are_several {
        let help = "write `replicas = 1`, or remove `singleton`";
        refuse("replicas", "must be 1 for a singleton", help);
    }
    let surges = max_surge.is_some_and(|surge| !surge.is_zero());
    if surges {
        let help = "write `max_surge = 0`: the old instance stops before the new one starts";
        refuse("max_surge", "must be 0 for a singleton", help);
    }
    !are_several && !surges
}

/// Reads a step: a number of instances, or a table.
fn step(node: &Node, soak: Duration, sink: &Sink) -> Result<Option<Step>, Faults> {
    if !matches!(node.value, Value::Table(_)) {
        let instances = positive_amount(node)?;
        return Ok(Some(Step {
            instances,
            soak,
            pause: false,
            weight_percent: None,
        }));
    }
    let Some(fields) = Fields::new(node, "a step", sink) else {
        return Ok(None);
    };
    let instances = fields.required("instances", "instances = \"25%\"", positive_amount);
    let soak = fields.optional_or("soak", soak, duration);
    let pause = fields.optional_or("pause", false, boolean);
    let weight_percent = fields.optional("weight", percent);
    fields.finish();
    let read = || {
        Some(Step {
            instances: instances?,
            soak: soak?,
            pause: pause?,
            weight_percent: weight_percent?,
        })
    };
    Ok(read())
}

fn positive_amount(node: &Node) -> Result<Amount, Faults> {
    match amount(node)? {
        amount if amount.is_zero() => Err(ValueError::new("must be more than 0")
            .help(STEPS_EXAMPLE)
            .into()),
        amount => Ok(amount),
    }
}

fn percent(node: &Node) -> Result<u32, Faults> {
    match amount(node)? {
        Amount::Percent(percent @ 1..) => Ok(percent),
        _ => Err(ValueError::new("must be a percentage from \"1%\" to \"100%\"").into()),
    }
}

/// Reports amounts with which no rollout is possible. Points at the key that a user would most
/// likely change.
pub(super) fn check_amounts(
    config: &RolloutConfig,
    places: &RolloutPlaces,
    slots: (&SourceSpan, usize),
    hosts: usize,
    sink: &Sink,
) {
    let Err(why) = config.amounts(hosts).resolve(hosts, slots.1) else {
        return;
    };
    let RolloutPlaces {
        replicas,
        max_surge,
        max_unavailable,
        ..
    } = places;
    let order = match why {
        Impossible::TooFewSlots { .. } => [replicas, max_surge, max_unavailable],
        Impossible::NoRoomForRollout => [max_surge, max_unavailable, replicas],
        _ => [max_surge, replicas, max_unavailable],
    };
    let place = order.into_iter().flatten().next().unwrap_or(slots.0);
    let text = why.to_string();
    sink.push(
        match text
            .split_once("\nhint: ")
            .or_else(|| text.split_once("; "))
        {
            Some((what, remedy)) => Diagnostic::at(place, what).help(remedy),
            None => Diagnostic::at(place, text),
        },
    );
}
