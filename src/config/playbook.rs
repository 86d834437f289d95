//! The playbook: what a service is, and how it is to be rolled out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::analysis::{Analysis, Way};
use crate::core::availability::Probing;
use crate::core::release::hook::{Hook, HookSite};
use crate::core::release::migration::Migration;
use crate::core::release::{Driver, Liveness, Readiness, own_user};

use super::artifact::{self, ArtifactConfig};
use super::command::command;
use super::diagnostic::{Diagnostic, Place};
use super::fields::{Fields, Sink};
use super::inventory::{Inventory, beside};
use super::notify::{self, MetricsConfig, NotifyConfig};
use super::readiness::{self, ReadinessPlaces};
use super::rollout::{self, RolloutConfig, RolloutPlaces};
use super::template::{SlotVars, render_slot, uses};
use super::traffic::{self, TrafficConfig, TrafficDriver, TrafficPlaces};
use super::tree::Node;
use super::unattended::{self, UnattendedConfig};
use super::value::{Located, choice, located, positive_duration};
use super::{analysis, hooks, liveness, migrations, names, probe};
use crate::config::service::{SecretsConfig, ServiceConfig};
use crate::config::templates::{Templates, place_within};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A service and how to roll it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    /// The file, as found from the inventory.
    pub path: PathBuf,
    pub version: String,
    pub service: ServiceConfig,
    /// The artifact that is sent to the hosts.
    pub artifact: ArtifactConfig,
    /// When an instance counts as ready.
    pub readiness: Readiness,
    /// When an instance counts as stuck; `None` where nobody asks.
    pub liveness: Option<Liveness>,
    pub rollout: RolloutConfig,
    /// The numbers by which a new version is judged.
    pub analyses: Vec<Analysis>,
    /// What is decided beforehand, for when nobody is there to be asked.
    pub unattended: UnattendedConfig,
    /// What stands before the instances; `None` where nothing does.
    pub traffic: Option<TrafficConfig>,
    /// How the service is asked meanwhile; `None` where nobody asks.
    pub probe: Option<Probing>,
    /// The user's commands at certain points.
    pub hooks: Vec<Hook>,
    /// The changes to what all instances share, in their order.
    pub migrations: Vec<Migration>,
    /// Who is told what a run came to; `None` where nobody is.
    pub notify: Option<NotifyConfig>,
    /// Where that is written down for a monitor; `None` where it is not.
    pub metrics: Option<MetricsConfig>,
}

impl Playbook {
    /// The user's commands that run on this machine.
    pub(super) fn commands_here(&self) -> impl Iterator<Item = &[String]> {
        let hooks = self
            .hooks
            .iter()
            .filter(|hook| hook.at == HookSite::Control)
            .map(|hook| &hook.command[..]);
        let analyses = self
            .analyses
            .iter()
            .filter_map(|analysis| match &analysis.way {
                Way::Command { words, .. } => Some(&words[..]),
                _ => None,
            });
        let notify = self
            .notify
            .iter()
            .filter_map(|notify| notify.command.as_deref());
        hooks.chain(analyses).chain(notify)
    }
}

/// What is known of a playbook before its inventory is.
pub(super) struct Draft {
    playbook: Option<Playbook>,
    templates: Templates,
    rollout: Option<RolloutConfig>,
    rollout_places: RolloutPlaces,
    traffic_places: TrafficPlaces,
    ports: Option<Located<usize>>,
}

/// Reads the playbook. What is wrong goes to `sink`.
pub(super) fn read(root: &Node, path: &Path, sink: &Sink) -> Option<Draft> {
    let top = Fields::new(root, "the playbook", sink)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut templates = Templates::default();

    let version = top.required("version", "version = \"0.8\"", names::version);
    let service_fields = top.table("service", "[service]", "[service]\nname = \"testpage\"");
    let artifact_fields = top.table(
        "artifact",
        "[artifact]",
        "[artifact]\nsource = \"testpage.tar.gz\"",
    );
    let readiness_fields = top.table_or_empty("readiness", "[readiness]");
    let liveness_place = top.key_place("liveness");
    let liveness_fields = top.table_or_empty("liveness", "[liveness]");
    let rollout_fields = top.table_or_empty("rollout", "[rollout]");
    let analysis_fields = top.tables_if_any("analysis", "[[analysis]]", analysis::EXAMPLE);
    let unattended_fields = top.table_or_empty("unattended", "[unattended]");
    let has_traffic = top.key_place("traffic").is_some();
    let traffic_fields = top.table_or_empty("traffic", "[traffic]");
    let has_probe = top.key_place("probe").is_some();
    let probe_fields = top.table_or_empty("probe", "[probe]");
    let hook_fields = top.tables_if_any("hooks", "[[hooks]]", hooks::EXAMPLE);
    let migration_fields = top.tables_if_any("migrations", "[[migrations]]", migrations::EXAMPLE);
    let has_notify = top.key_place("notify").is_some();
    let notify_fields = top.table_or_empty("notify", "[notify]");
    let has_metrics = top.key_place("metrics").is_some();
    let metrics_fields = top.table_or_empty("metrics", "[metrics]");
    top.finish();

    let place_in_service = |key| {
        service_fields
            .as_ref()
            .and_then(|fields| fields.place_of(key))
    };
    let (ports, driver_place) = (place_in_service("ports"), place_in_service("driver"));
    let service =
        service_fields.and_then(|fields| read_service(&fields, dir, &mut templates, sink));
    let artifact =
        artifact_fields.and_then(|fields| artifact::read(&fields, dir, version.as_deref(), sink));
    let readiness_places = readiness_fields
        .as_ref()
        .map(ReadinessPlaces::of)
        .unwrap_or_default();
    let readiness =
        readiness_fields.and_then(|fields| readiness::read(&fields, &mut templates, sink));
    let liveness = match liveness_place {
        None => Some(None),
        Some(_) => liveness_fields
            .and_then(|fields| liveness::read(&fields, &mut templates, sink))
            .map(Some),
    };
    if let (
        Some(liveness),
        Some(ServiceConfig {
            driver: Driver::Process,
            ..
        }),
        Some(driver),
    ) = (liveness_place, &service, &driver_place)
    {
        liveness::refuse_without_supervisor(liveness, driver, sink);
    }
    let unattended = unattended_fields.and_then(|fields| unattended::read(&fields));
    let analyses = analysis::read(&analysis_fields, version.as_deref(), sink);
    let is_analysed = !analysis_fields.is_empty();
    let (rollout_places, rollout) = rollout_fields
        .map(|fields| rollout::read(&fields, is_analysed, sink))
        .unwrap_or_default();
    if let Some((rollout, readiness)) = rollout.as_ref().zip(readiness.as_ref()) {
        rollout_places.refuse_too_late(rollout, (&readiness_places, readiness.waits()), sink);
    }

    let hooks = hooks::read(&hook_fields, version.as_deref(), &mut templates);
    let migrations = migrations::read(
        &migration_fields,
        version.as_deref(),
        rollout.as_ref(),
        sink,
    );

    let name = service.as_ref().map(|service| service.name.as_str());
    let (traffic_places, traffic) = match traffic_fields.filter(|_| has_traffic) {
        Some(fields) => {
            let (places, traffic) = traffic::read(&fields, name, &mut templates, sink);
            (places, traffic.map(Some))
        }
        None => (TrafficPlaces::default(), (!has_traffic).then_some(None)),
    };
    let probe = if has_probe {
        probe_fields.and_then(|fields| probe::read(&fields, sink))
    } else {
        Some(None)
    };
    let notify = match notify_fields.filter(|_| has_notify) {
        Some(fields) => notify::read(&fields, dir, sink).map(Some),
        None => (!has_notify).then_some(None),
    };
    let metrics = match metrics_fields.filter(|_| has_metrics) {
        Some(fields) => notify::read_metrics(&fields, dir).map(Some),
        None => (!has_metrics).then_some(None),
    };

    let ports = service.as_ref().zip(ports).map(|(service, place)| Located {
        value: service.ports.len(),
        place,
    });
    let checked = |rollout: Option<RolloutConfig>| {
        Some(Playbook {
            path: path.to_owned(),
            version: version?,
            service: service?,
            artifact: artifact?,
            readiness: readiness?,
            liveness: liveness?,
            rollout: rollout?,
            analyses: analyses?,
            unattended: unattended?,
            traffic: traffic?,
            probe: probe?,
            hooks: hooks?,
            migrations: migrations?,
            notify: notify?,
            metrics: metrics?,
        })
    };
    Some(Draft {
        playbook: checked(rollout.clone()),
        templates,
        rollout,
        rollout_places,
        traffic_places,
        ports,
    })
}

fn read_service(
    fields: &Fields<'_>,
    dir: &Path,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<ServiceConfig> {
    let name = fields.required("name", "name = \"testpage\"", names::service);
    let command = fields.required(
        "command",
        "command = \"/usr/bin/python3 testpage.py\"",
        command,
    );
    let ports = fields.required("ports", "ports = [8081, 8082]", super::value::ports);
    let env = fields.map(
        "env",
        |key| names::VARIABLE.check(key),
        located(names::variable_value),
    );
    let driver = fields.or(
        "driver",
        Driver::Systemd,
        choice(&[("systemd", Driver::Systemd), ("process", Driver::Process)]),
    );
    let user = fields.optional("user", names::user);
    let stop_timeout = fields.or("stop_timeout", STOP_TIMEOUT, positive_duration);
    let env_file = fields.optional("env_file", located(|node| beside(dir, node)));
    let secrets = fields.list("secrets", "secrets = [\"DB_PASSWORD\"]", names::variable);
    fields.finish();
    if let (Some(name), Some(Driver::Systemd), Some(None)) = (&name, &driver, &user) {
        refuse_long_user(name, fields.place_of("name"), sink);
    }

    templates.extend(
        fields.place_of("command"),
        command.as_deref().unwrap_or_default(),
    );
    for value in env.iter().flat_map(BTreeMap::values) {
        templates.extend(
            Some(value.place.clone()),
            std::slice::from_ref(&value.value),
        );
    }
    let (env, secrets) = (env?, secrets?);
    refuse_twice(&env, &secrets, sink);
    Some(ServiceConfig {
        name: name?,
        command: command?,
        ports: ports?,
        env: env
            .into_iter()
            .map(|(key, value)| (key, value.value))
            .collect(),
        driver: driver?,
        user: user?,
        stop_timeout: stop_timeout?,
        secrets: SecretsConfig {
            env_file: env_file?,
            names: secrets,
        },
    })
}

/// systemd takes no longer names of users than this, and Linux hardly.
const USER_CHARS_MAX: usize = 31;

/// Refuses a service whose name is too long for the user that ship makes for it.
fn refuse_long_user(service: &str, place: Option<Place>, sink: &Sink) {
    let (user, Some(place)) = (own_user(service), place) else {
        return;
    };
    if user.len() > USER_CHARS_MAX {
        let message = format!(
            "the service's user `{user}` would have {} characters, {USER_CHARS_MAX} are allowed",
            user.len()
        );
        sink.push(Diagnostic::at(&place, message).help("set `user`, or shorten the name"));
    }
}

/// One variable has one value: which of two would hold is nobody's guess.
fn refuse_twice(env: &BTreeMap<String, Located<String>>, secrets: &[Located<String>], sink: &Sink) {
    let mut seen: BTreeMap<&str, &Place> = env
        .iter()
        .map(|(key, value)| (key.as_str(), &value.place))
        .collect();
    for secret in secrets {
        if let Some(first) = seen.insert(&secret.value, &secret.place) {
            let message = format!("variable `{}` is given twice", secret.value);
            let diagnostic =
                Diagnostic::at(&secret.place, message).related(first, "the first time");
            sink.push(diagnostic.help("keep one of the two"));
        }
    }
}

impl Draft {
    /// What can be checked only with the inventory at hand.
    pub(super) fn checked_against(
        self,
        inventory: Option<&Inventory>,
        sink: &Sink,
    ) -> Option<Playbook> {
        let Some(inventory) = inventory else {
            return self.playbook;
        };
        if let (Some(config), Some(ports)) = (&self.rollout, &self.ports) {
            let ports = (&ports.place, ports.value);
            rollout::refuse_impossible(
                config,
                &self.rollout_places,
                ports,
                inventory.carriers().count(),
                sink,
            );
        }
        self.refuse_wrong_templates(inventory, sink);
        if let Some(playbook) = &self.playbook {
            let (traffic, places) = (playbook.traffic.as_ref(), &self.traffic_places);
            traffic::refuse_mismatch(traffic, places, inventory, sink);
            let weighs = playbook
                .rollout
                .steps
                .iter()
                .any(|step| step.weight_percent.is_some());
            let driver = traffic.map(|traffic| &traffic.driver);
            if weighs && !driver.is_some_and(TrafficDriver::has_weights) {
                self.rollout_places.refuse_weights(sink);
            }
            if driver.is_some_and(TrafficDriver::is_on_hosts) {
                self.rollout_places.refuse_more_than_one_a_host(
                    &playbook.rollout,
                    inventory.carriers().count(),
                    sink,
                );
            }
            if let Some(traffic) = traffic {
                traffic::refuse_wrong_servers(traffic, places, &playbook.service, inventory, sink);
            }
        }
        self.playbook
    }

    /// Renders every template for the first host; where it looks at labels, for the first host of
    /// those with the same.
    fn refuse_wrong_templates(&self, inventory: &Inventory, sink: &Sink) {
        let mut seen = BTreeSet::new();
        let differing: Vec<_> = inventory
            .hosts
            .iter()
            .filter(|host| seen.insert(&host.labels))
            .collect();
        for template in self.templates.iter() {
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
                    port: self
                        .playbook
                        .as_ref()
                        .and_then(|it| it.service.ports.first().copied())
                        .unwrap_or(1),
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
