//! Finds the tables of a playbook before any of them is read.

use std::path::Path;

use super::artifact::{self, ArtifactConfig};
use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, OptionalTable, Sink};
use super::readiness::{self, ReadinessPlaces};
use super::rollout::{self, RolloutConfig, RolloutPlaces};
use super::service::{self, ServiceConfig};
use super::templates::Templates;
use super::value::{Located, ValueError};
use super::{analysis, hooks, link, liveness, migrations, names, systemd};
use crate::core::analysis::{Analysis, MeasurementMethod};
use crate::core::release::unit::{Directives, UnitSection};
use crate::core::release::{Check, Driver, Readiness};

/// The tables and the version. A `None` was reported as an error.
pub(super) struct PlaybookTables<'a> {
    pub(super) version: Option<String>,
    service: Option<Fields<'a>>,
    systemd: OptionalTable<'a>,
    artifact: Option<Fields<'a>>,
    readiness: Option<Fields<'a>>,
    liveness_place: Option<&'a SourceSpan>,
    pub(super) liveness: OptionalTable<'a>,
    rollout: Option<Fields<'a>>,
    pub(super) analyses: Vec<Fields<'a>>,
    pub(super) unattended: Option<Fields<'a>>,
    traffic_place: Option<&'a SourceSpan>,
    pub(super) traffic: OptionalTable<'a>,
    monitor_place: Option<&'a SourceSpan>,
    pub(super) monitor: OptionalTable<'a>,
    pub(super) hooks: Vec<Fields<'a>>,
    pub(super) migrations: Vec<Fields<'a>>,
    pub(super) notify: OptionalTable<'a>,
    pub(super) metrics: OptionalTable<'a>,
}

impl<'a> PlaybookTables<'a> {
    /// Finds the tables, in the order in which messages list the known keys.
    pub(super) fn of(top: &Fields<'a>) -> Self {
        let version = top.required("version", "version = \"0.8\"", names::version);
        let service = top.table("service", "[service]", "[service]\nname = \"testpage\"");
        let systemd = top.table_if_any("systemd", "[systemd]");
        let artifact = top.table(
            "artifact",
            "[artifact]",
            "[artifact]\nsource = \"testpage.tar.gz\"",
        );
        let found = Self {
            version,
            service,
            systemd,
            artifact,
            readiness: top.table_or_empty("readiness", "[readiness]"),
            liveness_place: top.key_place("liveness"),
            liveness: top.table_if_any("liveness", "[liveness]"),
            rollout: top.table_or_empty("rollout", "[rollout]"),
            analyses: top.tables_if_any("analysis", "[[analysis]]", analysis::EXAMPLE),
            unattended: top.table_or_empty("unattended", "[unattended]"),
            traffic_place: top.key_place("traffic"),
            monitor_place: top.key_place("monitor"),
            traffic: top.table_if_any("traffic", "[traffic]"),
            monitor: top.table_if_any("monitor", "[monitor]"),
            hooks: top.tables_if_any("hooks", "[[hooks]]", hooks::EXAMPLE),
            migrations: top.tables_if_any("migrations", "[[migrations]]", migrations::EXAMPLE),
            notify: top.table_if_any("notify", "[notify]"),
            metrics: top.table_if_any("metrics", "[metrics]"),
        };
        top.finish();
        found
    }

    pub(super) fn read_service(
        &self,
        dir: &Path,
        templates: &mut Templates,
        sink: &Sink,
    ) -> Option<ServiceConfig> {
        service::read(self.service.as_ref()?, dir, templates, sink)
    }

    pub(super) fn read_artifact(&self, dir: &Path, sink: &Sink) -> Option<ArtifactConfig> {
        artifact::read(self.artifact.as_ref()?, dir, self.version.as_deref(), sink)
    }

    pub(super) fn read_readiness(
        &self,
        service: Option<&ServiceConfig>,
        templates: &mut Templates,
        sink: &Sink,
    ) -> Option<Readiness> {
        readiness::read(self.readiness.as_ref()?, service, templates, sink)
    }

    /// Reads `[systemd]`.
    pub(super) fn read_systemd(
        &self,
        service: Option<&ServiceConfig>,
        templates: &mut Templates,
        sink: &Sink,
    ) -> Option<Directives> {
        let driver = service.map(|service| service.driver);
        let read = self
            .systemd
            .read(|fields| systemd::read(fields, driver, templates, sink));
        read.map(Option::unwrap_or_default)
    }

    /// Reports `notify` if the unit is of a type that does not report its start.
    pub(super) fn check_notify_type(
        &self,
        readiness: Option<&Readiness>,
        systemd: Option<&Directives>,
        sink: &Sink,
    ) {
        let waits = readiness.is_some_and(|readiness| readiness.check == Check::Notify);
        let kind = systemd.and_then(|systemd| systemd.get(UnitSection::Service, "Type"));
        let Some(kind) = kind.filter(|kind| waits && !kind.starts_with("notify")) else {
            return;
        };
        let place = self.readiness.as_ref().and_then(|it| it.place_of("notify"));
        if let Some(place) = place {
            let message = format!("`notify` waits for READY=1, but the unit has Type={kind}");
            let help = "leave out `Type` in [systemd.Service]: ship writes Type=notify";
            sink.push(Diagnostic::at(&place, message).help(help));
        }
    }

    /// Reports analyses that compare requests, for a service without ports.
    pub(super) fn check_comparisons(
        &self,
        service: Option<&ServiceConfig>,
        analyses: Option<&[Analysis]>,
    ) {
        if service.is_none_or(|service| service.slots.has_ports()) {
            return;
        }
        let compares =
            |analysis: &Analysis| matches!(analysis.method, MeasurementMethod::Compare(_));
        let tables = self.analyses.iter().zip(analyses.unwrap_or_default());
        for (fields, _) in tables.filter(|(_, analysis)| compares(analysis)) {
            let fault =
                ValueError::new("compares requests, but the service has `slots` and no ports");
            fields.report(
                "kind",
                fault.help("use another kind, for example \"command\""),
            );
        }
    }

    /// Reports the tables that have no meaning for a service without ports.
    pub(super) fn check_port_tables(&self, service: Option<&ServiceConfig>, sink: &Sink) {
        if service.is_none_or(|service| service.slots.has_ports()) {
            return;
        }
        let tables = [
            (
                self.traffic_place,
                "[traffic]",
                "no load balancer sends it requests",
            ),
            (
                self.monitor_place,
                "[monitor]",
                "there are no requests to monitor",
            ),
        ];
        for (place, table, why) in tables {
            if let Some(place) = place {
                let message = format!("{table} needs ports, but the service has `slots`: {why}");
                sink.push(Diagnostic::at(place, message).help(format!("leave out {table}")));
            }
        }
    }

    pub(super) fn check_liveness_supervisor(&self, service: Option<&ServiceConfig>, sink: &Sink) {
        let driver = service.map(|service| service.driver);
        link::check_table(driver, "[liveness]", self.liveness_place, sink);
        let is_unsupervised = service.is_some_and(|service| service.driver == Driver::Process);
        let driver = self.place_in_service("driver").filter(|_| is_unsupervised);
        if let Some((liveness, driver)) = self.liveness_place.zip(driver) {
            liveness::report_missing_supervisor(liveness, &driver, sink);
        }
    }

    /// Reads `[rollout]`, with the defaults for this service, and checks its deadline against
    /// `readiness`.
    pub(super) fn read_rollout(
        &self,
        service: Option<&ServiceConfig>,
        readiness: Option<&Readiness>,
        sink: &Sink,
    ) -> (RolloutPlaces, Option<RolloutConfig>) {
        let Some(fields) = &self.rollout else {
            return <_>::default();
        };
        let (places, rollout) = rollout::read(fields, !self.analyses.is_empty(), service, sink);
        if let Some((rollout, readiness)) = rollout.as_ref().zip(readiness) {
            let readiness_places = self.readiness.as_ref().map(ReadinessPlaces::of);
            let readiness = (&readiness_places.unwrap_or_default(), readiness.waits());
            places.check_deadline(rollout, readiness, sink);
        }
        (places, rollout)
    }

    /// The number of slots per host, with the place of `ports` or `slots`.
    pub(super) fn count_slots(&self, service: Option<&ServiceConfig>) -> Option<Located<usize>> {
        let place = self.place_in_service("ports");
        let place = place.or_else(|| self.place_in_service("slots"))?;
        let value = service?.slots.numbers().len();
        Some(Located { value, place })
    }

    fn place_in_service(&self, key: &str) -> Option<SourceSpan> {
        self.service.as_ref()?.place_of(key)
    }
}
