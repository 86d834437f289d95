//! What a seed determines: a fleet, releases, the calls of the users, and the rates of faults.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ship::config::{self, Overrides};
use ship::core::ids::{HostId, ReleaseId, SlotNumber};
use ship::core::release::unit::{Directives, StopSignal};
use ship::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use ship::core::spec::budget::{Amount, Budget};
use ship::core::spec::{Amounts, OnFailure};
use ship::store::ServiceKey;
use ship_testing::rng::SeededRng;

pub(crate) const SERVICE: &str = "page";
pub(crate) const FLEET: &str = "simulated";
/// Revisions kept besides the current one.
const HISTORY_LIMIT: usize = 3;

/// A fleet, its releases, the calls of its users, and the rates of faults.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) hosts: Vec<HostId>,
    pub(crate) slots: Vec<SlotNumber>,
    pub(crate) max_surge: Amount,
    pub(crate) max_unavailable: Amount,
    pub(crate) min_ready: Duration,
    pub(crate) progress_deadline: Duration,
    pub(crate) max_failed_hosts: u32,
    pub(crate) on_failure: OnFailure,
    pub(crate) driver: Driver,
    pub(crate) readiness: Readiness,
    /// The first release is good. Instances that run before the first call belong to it.
    pub(crate) releases: Vec<Quality>,
    /// The number of instances that run before the first call.
    pub(crate) initial_instances: u32,
    /// The calls in order. The last one is repeated when the random faults have ended.
    pub(crate) calls: Vec<Call>,
    pub(crate) fault_rates: FaultRates,
    /// The time that each call of the store takes.
    pub(crate) store_latency: Duration,
    /// How long a replaced instance may finish its work.
    pub(crate) linger: Option<Duration>,
    /// Whether two instances must never run at once.
    pub(crate) is_singleton: bool,
    /// Whether an instance can be reloaded with the files of another release.
    pub(crate) can_reload: bool,
    /// Whether the hosts are in two zones, in turn.
    pub(crate) has_zones: bool,
}

/// How a release behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    /// Good, but slow to start.
    Slow,
    /// It answers every request with an error.
    ServesErrors,
    /// It never listens.
    Mute,
    /// It exits soon after its start.
    Exits,
    /// It alternates between good answers and errors.
    Flaps,
    /// It answers well for a while, then only with errors.
    Degrades,
    /// It listens once the gate is open.
    Gated,
    /// Good, but it exits if it is started while the gate is open.
    Fragile,
    /// It exits unless it is started while the gate is open; then it is good.
    Needy,
}

/// A command of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Deploy { release: usize, replicas: u32 },
    Rollback { replicas: u32 },
    Restart { replicas: u32 },
    Scale { replicas: u32 },
    Resume,
    Abort,
}

/// How often faults occur.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultRates {
    /// The probability of each kind of fault in a call to a host, in thousandths.
    pub(crate) call_faults_per_mille: u32,
    /// The longest time between two faults of the world; `None` if there are none.
    pub(crate) fault_interval_max: Option<Duration>,
    /// The number of controllers that are disrupted.
    pub(crate) disruptions: u32,
    /// How long random faults occur.
    pub(crate) duration: Duration,
}

impl Quality {
    /// Whether a rollout of it must succeed without faults.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Quality::Good | Quality::Slow)
    }

    /// Whether a rollout of it must fail. A release that exits soon may be proven healthy before.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Quality::ServesErrors | Quality::Mute)
    }
}

impl Scenario {
    pub(crate) fn draw(rng: &mut SeededRng) -> Self {
        loop {
            let scenario = Self::draw_any(rng);
            let scenario = if rng.chance(150) {
                scenario.singleton()
            } else {
                scenario
            };
            if scenario
                .calls
                .iter()
                .filter_map(|call| call.replicas())
                .all(|replicas| scenario.budget(replicas).is_some() && scenario.is_valid(replicas))
            {
                return scenario;
            }
        }
    }

    fn draw_any(rng: &mut SeededRng) -> Self {
        let hosts = rng.count(1..=4);
        let slots_per_host = if hosts == 1 { 2 } else { rng.count(1..=2) };
        let slots = hosts * slots_per_host;
        let replicas = rng.count(1..=slots.min(4));
        let qualities = [
            Quality::Good,
            Quality::Good,
            Quality::Good,
            Quality::Slow,
            Quality::ServesErrors,
            Quality::Mute,
            Quality::Exits,
            Quality::Flaps,
            Quality::Degrades,
        ];
        let releases = vec![Quality::Good, *rng.pick(&qualities), *rng.pick(&qualities)];
        let initial_instances = match rng.below(10) {
            0 => 0,
            1 => rng.count(1..=slots),
            _ => replicas,
        };
        let min_ready = *rng.pick(&[0, 0, 2, 5]);
        let driver = *rng.pick(&[Driver::Process, Driver::Systemd]);
        Self {
            hosts: (1..=hosts).map(|n| HostId::from(format!("h{n}"))).collect(),
            slots: (8081..)
                .take(usize::try_from(slots_per_host).expect("one or two"))
                .collect(),
            max_surge: *rng.pick(&[
                Amount::Count(0),
                Amount::Count(1),
                Amount::Count(1),
                Amount::Percent(50),
            ]),
            max_unavailable: *rng.pick(&[
                Amount::Count(0),
                Amount::Count(0),
                Amount::Count(1),
                Amount::Percent(50),
            ]),
            min_ready: Duration::from_secs(min_ready),
            progress_deadline: Duration::from_secs(rng.within(15..=40)),
            max_failed_hosts: u32::from(hosts > 1 && rng.chance(250)),
            on_failure: if rng.chance(100) {
                OnFailure::Hold
            } else {
                OnFailure::RollBack
            },
            driver,
            readiness: Readiness {
                check: Check::Tcp,
                port: None,
                via: Via::Direct,
                interval: Duration::from_secs(rng.within(1..=3)),
                timeout: Duration::from_secs(1),
                success_threshold: rng.count(1..=2),
                failure_threshold: rng.count(1..=3),
                initial_delay: Duration::from_secs(rng.within(0..=1)),
            },
            releases,
            initial_instances,
            calls: Self::draw_calls(rng, replicas, slots),
            fault_rates: FaultRates::draw(rng),
            store_latency: match rng.below(3) {
                0 => rng.millis(1..=200),
                _ => Duration::ZERO,
            },
            linger: rng
                .chance(250)
                .then(|| Duration::from_secs(rng.within(2..=8))),
            is_singleton: false,
            can_reload: driver == Driver::Systemd && rng.chance(300),
            has_zones: hosts > 1 && rng.chance(300),
        }
    }

    /// The same with one instance, of which there must never be two.
    fn singleton(mut self) -> Self {
        self.is_singleton = true;
        self.max_surge = Amount::Count(0);
        self.max_unavailable = Amount::Count(1);
        self.initial_instances = self.initial_instances.min(1);
        for call in &mut self.calls {
            if let Call::Deploy { replicas, .. }
            | Call::Rollback { replicas }
            | Call::Restart { replicas }
            | Call::Scale { replicas } = call
            {
                *replicas = (*replicas).min(1);
            }
        }
        self
    }

    fn draw_calls(rng: &mut SeededRng, replicas: u32, slots: u32) -> Vec<Call> {
        let mut calls = vec![Call::Deploy {
            release: 1,
            replicas,
        }];
        match rng.below(12) {
            0 => calls.push(Call::Rollback { replicas }),
            1 => calls.push(Call::Deploy {
                release: 2,
                replicas,
            }),
            2 => calls.push(Call::Deploy {
                release: 0,
                replicas,
            }),
            3 => calls.insert(
                0,
                Call::Deploy {
                    release: 0,
                    replicas: rng.count(0..=slots),
                },
            ),
            4 => calls.push(Call::Deploy {
                release: 1,
                replicas: rng.count(0..=slots),
            }),
            5 | 6 => calls.push(Call::Scale {
                replicas: rng.count(0..=slots),
            }),
            7 | 8 => calls.push(Call::Restart { replicas }),
            _ => {}
        }
        calls
    }

    /// The text of the inventory or the playbook.
    pub(crate) fn file(&self, path: &Path) -> String {
        match path.file_name().and_then(|name| name.to_str()) {
            Some("inventory.toml") => self.inventory(),
            _ => self.playbook(),
        }
    }

    /// The zone of a host by its position.
    pub(crate) fn zone_of(number: usize) -> usize {
        number % 2
    }

    fn inventory(&self) -> String {
        let head = format!("playbook = \"playbook.toml\"\n[fleet]\nname = \"{FLEET}\"\n");
        let hosts = self.hosts.iter().enumerate().map(|(number, host)| {
            format!(
                "[[hosts]]\nname = \"{host}\"\naddress = \"192.0.2.{}\"\nlabels = {{ zone = \"{}\" }}\n",
                number + 1,
                Self::zone_of(number)
            )
        });
        hosts.fold(head, |text, host| text + &host)
    }

    fn playbook(&self) -> String {
        let Self {
            slots,
            readiness,
            driver,
            ..
        } = self;
        let amount = |amount: Amount| match amount {
            Amount::Count(count) => count.to_string(),
            Amount::Percent(percent) => format!("\"{percent}%\""),
        };
        let on_failure = match self.on_failure {
            OnFailure::RollBack => "rollback",
            OnFailure::Hold => "hold",
        };
        let driver = match driver {
            Driver::Process => "process",
            Driver::Systemd => "systemd",
            Driver::Link => "link",
        };
        let singleton = if self.is_singleton {
            "singleton = true\n"
        } else {
            ""
        };
        let reload = if self.can_reload {
            "reload = \"kill -HUP $MAINPID\"\n"
        } else {
            ""
        };
        let zones = if self.has_zones {
            "zones = \"zone\"\n"
        } else {
            ""
        };
        let linger = self.linger.map_or_else(String::new, |linger| {
            format!("linger = \"{}s\"\n", linger.as_secs())
        });
        format!(
            "version = \"0.0\"\n[service]\nname = \"{SERVICE}\"\ncommand = \"./page\"\nports = \
             {slots:?}\ndriver = \"{driver}\"\nstop_timeout = \"3s\"\n{linger}{singleton}{reload}[artifact]\nsource = \
             \"page\"\n[readiness]\ntcp = true\ninterval = \"{}s\"\ntimeout = \
             \"1s\"\nsuccess_threshold = {}\nfailure_threshold = {}\ninitial_delay = \"{}s\"\n[rollout]\n{zones}\
             max_surge = {}\nmax_unavailable = {}\nmin_ready = \"{}s\"\nprogress_deadline = \
             \"{}s\"\nmax_failed_hosts = {}\non_failure = \"{on_failure}\"\nhistory_limit = \
             {HISTORY_LIMIT}\n",
            readiness.interval.as_secs(),
            readiness.success_threshold,
            readiness.failure_threshold,
            readiness.initial_delay.as_secs(),
            amount(self.max_surge),
            amount(self.max_unavailable),
            self.min_ready.as_secs(),
            self.progress_deadline.as_secs(),
            self.max_failed_hosts,
        )
    }

    /// Whether the files are valid with this number of replicas.
    fn is_valid(&self, replicas: u32) -> bool {
        let overrides = Overrides {
            version: None,
            set: vec![format!("rollout.replicas={replicas}")],
        };
        let read = |path: &Path| Ok(self.file(path).into_bytes());
        config::load_with(Path::new("inventory.toml"), &overrides, read).is_ok()
    }

    /// The capacity limits of a rollout; `None` if no rollout to this number of replicas is
    /// possible.
    pub(crate) fn budget(&self, replicas: u32) -> Option<Budget> {
        let amounts = self.amounts(replicas);
        amounts.resolve(self.hosts.len(), self.slots.len()).ok()
    }

    /// The capacity limits of a rollback.
    pub(crate) fn rollback_budget(&self, replicas: u32) -> Budget {
        let amounts = self.amounts(replicas);
        amounts.resolve_rollback(self.hosts.len(), self.slots.len())
    }

    fn amounts(&self, replicas: u32) -> Amounts {
        Amounts {
            replicas,
            max_surge: self.max_surge,
            max_unavailable: self.max_unavailable,
        }
    }

    /// The full definition of a release.
    pub(crate) fn definition(&self, release: usize) -> Definition {
        Definition {
            service: SERVICE.into(),
            version: format!("0.{release}"),
            command: vec!["./page".into()],
            activate: Vec::new(),
            reload: if self.can_reload {
                ["kill", "-HUP", "$MAINPID"].map(str::to_owned).to_vec()
            } else {
                Vec::new()
            },
            ports: Vec::new(),
            slots: None,
            server: None,
            env: BTreeMap::new(),
            driver: self.driver,
            user: None,
            stop_signal: StopSignal::Term,
            stop_timeout: Duration::from_secs(3),
            linger: self.linger,
            systemd: Directives::default(),
            shared_dirs: Vec::new(),
            readiness: self.readiness.clone(),
            liveness: None,
            hooks: Vec::new(),
            migrations: Vec::new(),
            artifact: Artifact {
                form: ArtifactForm::TarGz,
                sha256: "0".into(),
                size_bytes: 1,
                strip_components: 0,
            },
            secrets_sha256: None,
        }
    }

    /// How a release behaves, by its digest.
    pub(crate) fn quality(&self, release: &ReleaseId) -> Quality {
        let known = (0..self.releases.len()).find(|number| release_id(*number) == *release);
        self.releases[known.expect("only releases of the scenario are deployed")]
    }
}

impl Call {
    /// The number of replicas, if the call has one.
    pub(crate) fn replicas(self) -> Option<u32> {
        match self {
            Call::Deploy { replicas, .. }
            | Call::Rollback { replicas }
            | Call::Restart { replicas }
            | Call::Scale { replicas } => Some(replicas),
            Call::Resume | Call::Abort => None,
        }
    }
}

impl FaultRates {
    fn draw(rng: &mut SeededRng) -> Self {
        let choices = [
            [0, 0, 0],
            [0, 0, 4],
            [10, 0, 4],
            [5, 20, 3],
            [0, 15, 3],
            [15, 10, 4],
            [50, 6, 3],
        ];
        let [call_faults_per_mille, interval_max_s, disruptions] = *rng.pick(&choices);
        Self {
            call_faults_per_mille,
            fault_interval_max: (interval_max_s > 0)
                .then(|| Duration::from_secs(u64::from(interval_max_s))),
            disruptions: rng.count(0..=disruptions),
            duration: Duration::from_secs(rng.within(20..=60)),
        }
    }
}

/// The digest of a release, by its number.
pub(crate) fn release_id(number: usize) -> ReleaseId {
    ReleaseId::from(format!("{number:0>2}{:a<62}", ""))
}

pub(crate) fn service_key() -> ServiceKey {
    ServiceKey {
        fleet: FLEET.into(),
        service: SERVICE.into(),
    }
}
