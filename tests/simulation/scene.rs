//! What a seed stands for: a fleet, releases of all qualities, what people ask of it, and how
//! hostile the world is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ship::config::{self, Overrides};
use ship::core::ids::{HostId, Port, ReleaseId};
use ship::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use ship::core::spec::budget::{Amount, Budget};
use ship::core::spec::{Amounts, OnFailure};
use ship::store::ServiceKey;

use super::dice::Dice;

pub(crate) const SERVICE: &str = "page";
pub(crate) const FLEET: &str = "simulated";
/// Revisions kept besides the current one.
const HISTORY_LIMIT: usize = 3;

/// A fleet, its releases, its people and its enemies.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) hosts: Vec<HostId>,
    pub(crate) ports: Vec<Port>,
    pub(crate) max_surge: Amount,
    pub(crate) max_unavailable: Amount,
    pub(crate) min_ready: Duration,
    pub(crate) progress_deadline: Duration,
    pub(crate) max_failed_hosts: u32,
    pub(crate) on_failure: OnFailure,
    pub(crate) driver: Driver,
    pub(crate) readiness: Readiness,
    /// The first one is good, and what the fleet runs at first where it runs anything.
    pub(crate) releases: Vec<Quality>,
    /// Instances of the first release that run at first.
    pub(crate) running_at_first: u32,
    /// What people ask for, in order. The last is asked for again when the world has calmed down.
    pub(crate) calls: Vec<Call>,
    pub(crate) hostility: Hostility,
}

/// How a release behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    /// Good, but it takes its time to come up.
    Slow,
    /// It listens and answers wrongly.
    Refuses,
    /// It never listens.
    Mute,
    /// It ends by itself soon after its start.
    Exits,
    /// It answers well and badly in turn.
    Flaps,
    /// It answers well for a while, and then never again.
    Sickens,
    /// It listens once the gate is open.
    Gated,
    /// Good, but it ends if it is started while the gate is open.
    Fragile,
    /// It ends unless it is started while the gate is open, and is good then.
    Needy,
}

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Deploy { release: usize, replicas: u32 },
    Rollback { replicas: u32 },
    Restart { replicas: u32 },
    Scale { replicas: u32 },
    Resume,
    Abort,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hostility {
    /// Of a thousand calls of the world, how many go wrong in each way that there is.
    pub(crate) calls_per_mille: u32,
    /// From one happening in the world to the next, at most.
    pub(crate) weather: Option<Duration>,
    /// Controllers that meet a fate of their own.
    pub(crate) fates: u32,
    /// How long all this lasts.
    pub(crate) lasts: Duration,
}

impl Quality {
    /// Whether a rollout of it must succeed in a calm world.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Quality::Good | Quality::Slow)
    }

    /// Whether a rollout of it must fail. What ends soon may be proven healthy before it does.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Quality::Refuses | Quality::Mute)
    }
}

impl Scene {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        loop {
            let scene = Self::draw_any(dice);
            if scene
                .calls
                .iter()
                .filter_map(|call| call.replicas())
                .all(|replicas| scene.budget(replicas).is_some() && scene.is_valid(replicas))
            {
                return scene;
            }
        }
    }

    fn draw_any(dice: &mut Dice) -> Self {
        let hosts = dice.count(1..=4);
        let ports = if hosts == 1 { 2 } else { dice.count(1..=2) };
        let slots = hosts * ports;
        let replicas = dice.count(1..=slots.min(4));
        let qualities = [
            Quality::Good,
            Quality::Good,
            Quality::Good,
            Quality::Slow,
            Quality::Refuses,
            Quality::Mute,
            Quality::Exits,
            Quality::Flaps,
            Quality::Sickens,
        ];
        let releases = vec![
            Quality::Good,
            *dice.pick(&qualities),
            *dice.pick(&qualities),
        ];
        let running_at_first = match dice.below(10) {
            0 => 0,
            1 => dice.count(1..=slots),
            _ => replicas,
        };
        let min_ready = *dice.pick(&[0, 0, 2, 5]);
        Self {
            hosts: (1..=hosts).map(|n| HostId::from(format!("h{n}"))).collect(),
            ports: (8081..)
                .take(usize::try_from(ports).expect("small"))
                .collect(),
            max_surge: *dice.pick(&[
                Amount::Count(0),
                Amount::Count(1),
                Amount::Count(1),
                Amount::Percent(50),
            ]),
            max_unavailable: *dice.pick(&[
                Amount::Count(0),
                Amount::Count(0),
                Amount::Count(1),
                Amount::Percent(50),
            ]),
            min_ready: Duration::from_secs(min_ready),
            progress_deadline: Duration::from_secs(dice.within(15..=40)),
            max_failed_hosts: u32::from(hosts > 1 && dice.chance(250)),
            on_failure: if dice.chance(100) {
                OnFailure::Hold
            } else {
                OnFailure::RollBack
            },
            driver: *dice.pick(&[Driver::Process, Driver::Systemd]),
            readiness: Readiness {
                check: Check::Tcp,
                via: Via::Direct,
                interval: Duration::from_secs(dice.within(1..=3)),
                timeout: Duration::from_secs(1),
                success_threshold: dice.count(1..=2),
                failure_threshold: dice.count(1..=3),
                initial_delay: Duration::from_secs(dice.within(0..=1)),
            },
            releases,
            running_at_first,
            calls: Self::draw_calls(dice, replicas, slots),
            hostility: Hostility::draw(dice),
        }
    }

    fn draw_calls(dice: &mut Dice, replicas: u32, slots: u32) -> Vec<Call> {
        let mut calls = vec![Call::Deploy {
            release: 1,
            replicas,
        }];
        match dice.below(12) {
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
                    replicas: dice.count(0..=slots),
                },
            ),
            4 => calls.push(Call::Deploy {
                release: 1,
                replicas: dice.count(0..=slots),
            }),
            5 | 6 => calls.push(Call::Scale {
                replicas: dice.count(0..=slots),
            }),
            7 | 8 => calls.push(Call::Restart { replicas }),
            _ => {}
        }
        calls
    }

    /// The text of the inventory or of the playbook.
    pub(crate) fn file(&self, path: &Path) -> String {
        match path.file_name().and_then(|name| name.to_str()) {
            Some("inventory.toml") => self.inventory(),
            _ => self.playbook(),
        }
    }

    fn inventory(&self) -> String {
        let head = format!("playbook = \"playbook.toml\"\n[fleet]\nname = \"{FLEET}\"\n");
        let hosts = self.hosts.iter().enumerate().map(|(number, host)| {
            format!(
                "[[hosts]]\nname = \"{host}\"\naddress = \"192.0.2.{}\"\n",
                number + 1
            )
        });
        hosts.fold(head, |text, host| text + &host)
    }

    fn playbook(&self) -> String {
        let Self {
            ports,
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
        };
        format!(
            "version = \"0.0\"\n[service]\nname = \"{SERVICE}\"\ncommand = \"./page\"\nports = \
             {ports:?}\ndriver = \"{driver}\"\nstop_timeout = \"3s\"\n[artifact]\nsource = \
             \"page\"\n[readiness]\ntcp = true\ninterval = \"{}s\"\ntimeout = \
             \"1s\"\nsuccess_threshold = {}\nfailure_threshold = {}\ninitial_delay = \"{}s\"\n[rollout]\n\
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

    /// Whether the files are right for so many instances.
    fn is_valid(&self, replicas: u32) -> bool {
        let overrides = Overrides {
            version: None,
            set: vec![format!("rollout.replicas={replicas}")],
        };
        let read = |path: &Path| Ok(self.file(path).into_bytes());
        config::load_with(Path::new("inventory.toml"), &overrides, read).is_ok()
    }

    /// What a rollout may spend; `None` where no rollout of so many replicas is possible.
    pub(crate) fn budget(&self, replicas: u32) -> Option<Budget> {
        let amounts = self.amounts(replicas);
        amounts.resolve(self.hosts.len(), self.ports.len()).ok()
    }

    /// What a rollout may spend on its way back.
    pub(crate) fn budget_back(&self, replicas: u32) -> Budget {
        let amounts = self.amounts(replicas);
        amounts.resolve_back(self.hosts.len(), self.ports.len())
    }

    fn amounts(&self, replicas: u32) -> Amounts {
        Amounts {
            replicas,
            max_surge: self.max_surge,
            max_unavailable: self.max_unavailable,
        }
    }

    /// A release's whole definition.
    pub(crate) fn definition(&self, release: usize) -> Definition {
        Definition {
            service: SERVICE.into(),
            version: format!("0.{release}"),
            command: vec!["./page".into()],
            ports: Vec::new(),
            server: None,
            env: BTreeMap::new(),
            driver: self.driver,
            user: None,
            stop_timeout: Duration::from_secs(3),
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
        self.releases[known.expect("only releases of the scene are deployed")]
    }
}

impl Call {
    /// How many instances are asked for, where the call says so.
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

impl Hostility {
    fn draw(dice: &mut Dice) -> Self {
        let kinds = [
            [0, 0, 0],
            [0, 0, 4],
            [10, 0, 4],
            [5, 20, 3],
            [0, 15, 3],
            [15, 10, 4],
            [50, 6, 3],
        ];
        let [calls_per_mille, gap_s, fates] = *dice.pick(&kinds);
        Self {
            calls_per_mille,
            weather: (gap_s > 0).then(|| Duration::from_secs(u64::from(gap_s))),
            fates: dice.count(0..=fates),
            lasts: Duration::from_secs(dice.within(20..=60)),
        }
    }
}

/// The digest of a release by its number.
pub(crate) fn release_id(number: usize) -> ReleaseId {
    ReleaseId::from(format!("{number:0>2}{:a<62}", ""))
}

pub(crate) fn subject() -> ServiceKey {
    ServiceKey {
        fleet: FLEET.into(),
        service: SERVICE.into(),
    }
}
