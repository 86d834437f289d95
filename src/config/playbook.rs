//! The playbook: the service, and how it is rolled out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::core::analysis::{Analysis, MeasurementMethod};
use crate::core::availability::MonitorSettings;
use crate::core::release::hook::{Hook, HookSite};
use crate::core::release::migration::Migration;
use crate::core::release::slots::{SlotPorts, Slots};
use crate::core::release::unit::Directives;
use crate::core::release::{Liveness, Readiness};

use super::artifact::ArtifactConfig;
use super::diagnostic::Diagnostic;
use super::fields::{Fields, Sink};
use super::inventory::Inventory;
use super::notify::{self, MetricsConfig, NotifyConfig};
use super::playbook_tables::PlaybookTables;
use super::rollout::{self, RolloutConfig, RolloutPlaces};
use super::server_check;
use super::template::{SlotVars, render_slot, uses};
use super::toml_tree::Node;
use super::traffic::{self, TrafficConfig, TrafficDriver, TrafficPlaces};
use super::unattended::{self, UnattendedConfig};
use super::value::Located;
use super::{analysis, hooks, liveness, migrations, monitor, reload};
use crate::config::service::ServiceConfig;
use crate::config::templates::{Templates, place_within};

/// A service and how to roll it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    /// The file, relative to the inventory.
    pub path: PathBuf,
    pub version: String,
    pub service: ServiceConfig,
    /// Directives of the instances' units.
    pub systemd: Directives,
    pub artifact: ArtifactConfig,
    /// When an instance counts as ready.
    pub readiness: Readiness,
    /// When an instance counts as stuck; `None` without a liveness probe.
    pub liveness: Option<Liveness>,
    pub rollout: RolloutConfig,
    pub analyses: Vec<Analysis>,
    pub unattended: UnattendedConfig,
    /// `None` without balancers.
    pub traffic: Option<TrafficConfig>,
    /// `None` if the availability monitor is off.
    pub monitor: Option<MonitorSettings>,
    pub hooks: Vec<Hook>,
    /// In the order of the file.
    pub migrations: Vec<Migration>,
    pub notify: Option<NotifyConfig>,
    pub metrics: Option<MetricsConfig>,
}

impl Playbook {
    /// The commands that run on this machine.
    pub(super) fn local_commands(&self) -> impl Iterator<Item = &[String]> {
        let hooks = self
            .hooks
            .iter()
            .filter(|hook| hook.at == HookSite::Control)
            .map(|hook| &hook.command[..]);
        let analyses = self
            .analyses
            .iter()
            .filter_map(|analysis| match &analysis.method {
                MeasurementMethod::Command { words, .. } => Some(&words[..]),
                _ => None,
            });
        let notify = self
            .notify
            .iter()
            .filter_map(|notify| notify.command.as_deref());
        hooks.chain(analyses).chain(notify)
    }
}

/// A playbook before it is checked against its inventory.
pub(super) struct PlaybookDraft {
    playbook: Option<Playbook>,
    templates: Templates,
    rollout: Option<RolloutConfig>,
    rollout_places: RolloutPlaces,
    traffic_places: TrafficPlaces,
    slots: Option<Located<usize>>,
}

/// Reads the playbook; errors go to `sink`.
pub(super) fn read(root: &Node, path: &Path, sink: &Sink) -> Option<PlaybookDraft> {
    let tables = PlaybookTables::of(&Fields::new(root, "the playbook", sink)?);
    let dir = path.parent().unwrap_or(Path::new(""));
    let version = tables.version.as_deref();
    let mut templates = Templates::default();

    let service = tables.read_service(dir, &mut templates, sink);
    let slots = tables.count_slots(service.as_ref());
    let systemd = tables.read_systemd(service.as_ref(), &mut templates, sink);
    let has_reload = service
        .as_ref()
        .is_some_and(|service| !service.reload.is_empty());
    if has_reload {
        // So far, these are the templates of the process.
        reload::check_templates(&templates, sink);
    }
    tables.check_port_tables(service.as_ref(), sink);
    let artifact = tables.read_artifact(dir, sink);
    let readiness = tables.read_readiness(service.as_ref(), &mut templates, sink);
    tables.check_notify_type(readiness.as_ref(), systemd.as_ref(), sink);
    let service_slots = service.as_ref().map(|service| &service.slots);
    let liveness = tables
        .liveness
        .read(|fields| liveness::read(fields, service_slots, &mut templates, sink));
    tables.check_liveness_supervisor(service.as_ref(), sink);
    let unattended = tables.unattended.as_ref().and_then(unattended::read);
    let analyses = analysis::read(&tables.analyses, version, sink);
    tables.check_comparisons(service.as_ref(), analyses.as_deref());
    let (rollout_places, rollout) = tables.read_rollout(service.as_ref(), readiness.as_ref(), sink);
    let hooks = hooks::read(&tables.hooks, version, &mut templates);
    let migrations = migrations::read(&tables.migrations, version, rollout.as_ref(), sink);
    let mut traffic_places = TrafficPlaces::default();
    let traffic = tables.traffic.read(|fields| {
        let (places, traffic) = traffic::read(fields, service.as_ref(), &mut templates, sink);
        traffic_places = places;
        traffic
    });
    let monitor = tables.monitor.read(|fields| monitor::read(fields, sink));
    let monitor = monitor.map(Option::flatten);
    let notify = tables.notify.read(|fields| notify::read(fields, dir, sink));
    let metrics = tables
        .metrics
        .read(|fields| notify::read_metrics(fields, dir));
    let checked = |rollout: Option<RolloutConfig>| {
        Some(Playbook {
            path: path.to_owned(),
            version: tables.version?,
            service: service?,
            systemd: systemd?,
            artifact: artifact?,
            readiness: readiness?,
            liveness: liveness?,
            rollout: rollout?,
            analyses: analyses?,
            unattended: unattended?,
            traffic: traffic?,
            monitor: monitor?,
            hooks: hooks?,
            migrations: migrations?,
            notify: notify?,
            metrics: metrics?,
        })
    };
    Some(PlaybookDraft {
        playbook: checked(rollout.clone()),
        templates,
        rollout,
        rollout_places,
        traffic_places,
        slots,
    })
}

impl PlaybookDraft {
    /// Runs the checks that need the inventory.
    pub(super) fn checked_against(
        self,
        inventory: Option<&Inventory>,
        sink: &Sink,
    ) -> Option<Playbook> {
        let Some(inventory) = inventory else {
            return self.playbook;
        };
        if let (Some(config), Some(slots)) = (&self.rollout, &self.slots) {
            let slots = (&slots.place, slots.value);
            rollout::check_amounts(
                config,
                &self.rollout_places,
                slots,
                inventory.schedulable_hosts().count(),
                sink,
            );
        }
        if let Some(config) = &self.rollout {
            self.rollout_places.check_zones(config, inventory, sink);
        }
        self.check_templates(inventory, sink);
        if let Some(playbook) = &self.playbook {
            let (traffic, places) = (playbook.traffic.as_ref(), &self.traffic_places);
            if playbook.service.slots.has_ports() {
                traffic::check_balancers(traffic, places, inventory, sink);
            }
            let has_weights = playbook
                .rollout
                .steps
                .iter()
                .any(|step| step.weight_percent.is_some());
            let driver = traffic.map(|traffic| &traffic.driver);
            if has_weights && !driver.is_some_and(TrafficDriver::has_weights) {
                self.rollout_places.report_weights(sink);
            }
            if driver.is_some_and(TrafficDriver::is_on_hosts) {
                self.rollout_places.check_replicas_per_host(
                    &playbook.rollout,
                    inventory.schedulable_hosts().count(),
                    sink,
                );
            }
            if let Some(traffic) = traffic {
                server_check::check_servers(traffic, places, &playbook.service, inventory, sink);
            }
        }
        self.playbook
    }

    /// Renders every template for the first host. A template with labels is rendered for one host
    /// of each set of labels.
    fn check_templates(&self, inventory: &Inventory, sink: &Sink) {
        let slots = self.playbook.as_ref().map_or_else(
            || Slots::Ports(vec![SlotPorts::Single(1)]),
            |playbook| playbook.service.slots.clone(),
        );
        let slot = slots.numbers().first().copied().unwrap_or(1);
        let mut seen = BTreeSet::new();
        let differing: Vec<_> = inventory
            .hosts
            .iter()
            .filter(|host| seen.insert(&host.labels))
            .collect();
        for template in self.templates.iter() {
            // Errors in the ports are reported elsewhere.
            if self.playbook.is_none() && uses(&template.value, "ports") {
                continue;
            }
            let hosts = if uses(&template.value, "labels") {
                differing.len()
            } else {
                1
            };
            let fault = differing.iter().take(hosts).find_map(|host| {
                let vars = SlotVars {
                    version: self
                        .playbook
                        .as_ref()
                        .map_or("0", |playbook| &playbook.version),
                    slot,
                    port: slots.port(slot, None),
                    ports: slots.named_ports(slot),
                    address: &host.address,
                    host: &host.name,
                    service: self
                        .playbook
                        .as_ref()
                        .map_or("service", |playbook| &playbook.service.name),
                    fleet: &inventory.fleet,
                    labels: &host.labels,
                };
                render_slot(&template.value, &vars).err()
            });
            let Some(fault) = fault else { continue };
            let diagnostic = Diagnostic::at(&place_within(&template.place, &fault), fault.message);
            sink.push(match fault.help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
        }
    }
}
