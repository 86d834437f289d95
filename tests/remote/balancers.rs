//! Real balancers, controlled on this machine and over a real sshd.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::target_of;
use ship::artifact::Patches;
use ship::balancer::Balancing;
use ship::config::{
    AdminSocket, CommandConfig, HaproxyConfig, Servers, SshConfig, TrafficDriver, Transport,
};
use ship::core::fleet::owner::Owner;
use ship::core::fleet::traffic::{
    BalancerState, Balancers, DrainResult, Server, SlotAdmission, Traffic,
};
use ship::core::ids::{ActionId, Epoch, HostId, ReleaseId, Slot};
use ship::core::release::relay::Relaying;
use ship::core::release::slots::{SlotPorts, Slots};
use ship::core::release::unit::{Directives, StopSignal};
use ship::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use ship::core::rollout::action::{Action, StopReason};
use ship::engine::{
    ActionOrder, ActionResult, Executor, FleetExecutor, LocalCommandSettings, Releases, SteadyClock,
};
use ship::remote::{HostSite, SharedLinks, Target};
use ship_testing::haproxy::{Backend, Haproxy, get, get_with};
use ship_testing::sshd::Sshd;
use tempfile::TempDir;

/// A balancer before two slots of one host, the second of which is closed.
struct Scene {
    haproxy: Haproxy,
    backends: [Backend; 2],
    dir: TempDir,
    sshd: Option<Sshd>,
    drain_timeout: Duration,
    servers: Servers,
    server_options: &'static str,
}

const EPOCH: Epoch = Epoch(5);

impl Scene {
    /// The balancer's machine is this one, reached without a detour.
    fn here() -> Option<Self> {
        let backends = [Backend::start("a"), Backend::start("b")];
        let server =
            |backend: &Backend| format!("web1-{0} 127.0.0.1:{0} check weight 100", backend.port());
        let haproxy = Haproxy::start(backends.iter().map(server))?;
        let scene = Self::of(haproxy, backends);
        scene.haproxy.await_server(&scene.server(0), "UP");
        scene.haproxy.await_server(&scene.server(1), "UP");
        assert_eq!(
            scene
                .haproxy
                .command(&format!("set server web/{} state drain", scene.server(1)))
                .trim(),
            ""
        );
        Some(scene)
    }

    /// It is reached over SSH.
    fn over_ssh() -> Option<Self> {
        let sshd = Sshd::start("")?;
        Some(Self {
            sshd: Some(sshd),
            ..Self::here()?
        })
    }

    fn of(haproxy: Haproxy, backends: [Backend; 2]) -> Self {
        let (dir, drain_timeout) = (TempDir::new().unwrap(), Duration::from_secs(20));
        Self {
            haproxy,
            backends,
            dir,
            sshd: None,
            drain_timeout,
            servers: Servers::Static,
            server_options: "",
        }
    }

    fn hosts(&self) -> FleetExecutor {
        self.hosts_at(
            AdminSocket::Path(self.haproxy.socket().display().to_string()),
            "web",
        )
    }

    fn hosts_at(&self, socket: AdminSocket, backend: &str) -> FleetExecutor {
        self.hosts_of(socket, backend, "{{ host }}-{{ port }}", None)
    }

    /// The playbook names servers by `server`, and a release of the history by another template.
    fn hosts_of(
        &self,
        socket: AdminSocket,
        backend: &str,
        server: &str,
        earlier: Option<&str>,
    ) -> FleetExecutor {
        let settings = HaproxyConfig {
            socket,
            backend: backend.to_owned(),
            server: server.to_owned(),
            servers: self.servers,
            server_options: self.server_options.to_owned(),
        };
        let balancer = match &self.sshd {
            Some(sshd) => Target {
                name: "lb1".into(),
                ..target_of(sshd)
            },
            None => local("lb1"),
        };
        let ports: Vec<u16> = self.backends.iter().map(Backend::port).collect();
        let definitions = earlier
            .map(|server| ("earlier".into(), definition(server, &ports)))
            .into_iter()
            .collect();
        hosts(
            self.dir.path(),
            balancer,
            ports,
            TrafficDriver::Haproxy(settings),
            (self.drain_timeout, definitions),
        )
    }

    fn slot(&self, number: usize) -> Slot {
        Slot {
            host: "web1".into(),
            number: self.backends[number].port(),
        }
    }

    fn server(&self, number: usize) -> String {
        format!("web1-{}", self.backends[number].port())
    }

    /// Begins a slow request, and waits until it is under way with this server.
    fn begin_slow(&self, number: usize) -> thread::JoinHandle<Result<String, String>> {
        let front = self.haproxy.front();
        let slow = thread::spawn(move || get(front, "/slow"));
        self.backends[number].await_slow(1);
        slow
    }

    fn admit(&self, number: usize, weight_percent: Option<u32>) -> Action {
        Action::Admit {
            slot: self.slot(number),
            instance: "i".into(),
            weight_percent,
        }
    }

    fn drain(&self, number: usize, keep: u32) -> Action {
        Action::Drain {
            slot: self.slot(number),
            instance: "i".into(),
            keep,
        }
    }
}

pub(crate) fn local(name: &str) -> Target {
    Target {
        name: name.into(),
        address: "127.0.0.1".to_owned(),
        transport: Transport::Local,
        ssh: SshConfig::default(),
        sudo_password: None,
        kept: None,
    }
}

/// A host `web1` with these ports behind a balancer, all that they keep in a directory.
fn hosts(
    dir: &Path,
    balancer: Target,
    ports: Vec<u16>,
    driver: TrafficDriver,
    (drain_timeout, definitions): (Duration, BTreeMap<ReleaseId, Definition>),
) -> FleetExecutor {
    let site = |target: Target, ports: Vec<u16>| {
        let base_dir = dir.join(target.name.as_str()).display().to_string();
        HostSite {
            target,
            labels: BTreeMap::new(),
            base_dir,
            slots: ports.into_iter().map(|port| (port, vec![port])).collect(),
        }
    };
    let traffic = Traffic {
        balancers: Balancers::Shared(vec![balancer.name.clone()]),
        drain_timeout,
    };
    let releases = Releases {
        definitions,
        artifacts: dir.into(),
        patches: Patches::default(),
        recovered: BTreeMap::new(),
        secrets: BTreeMap::new(),
        proven: BTreeMap::new(),
        pulled: None,
        relaying: Relaying::Off,
    };
    FleetExecutor::new(
        vec![site(local("web1"), ports), site(balancer, Vec::new())],
        releases,
        Owner {
            fleet: "test".into(),
            service: "web".into(),
            ..Owner::default()
        },
        Arc::new(SteadyClock),
        Some(Balancing {
            traffic,
            driver,
            slots: Slots::Ports(Vec::new()),
            port: None,
        }),
        LocalCommandSettings::default(),
        &SharedLinks::default(),
    )
}

/// A release whose servers have such names.
pub(crate) fn definition(server: &str, ports: &[u16]) -> Definition {
    let second = Duration::from_secs(1);
    Definition {
        service: "web".into(),
        version: "0.8".into(),
        command: vec!["./web".into()],
        activate: Vec::new(),
        reload: Vec::new(),
        ports: ports.iter().map(|port| SlotPorts::Single(*port)).collect(),
        slots: None,
        server: Some(server.to_owned()),
        env: BTreeMap::new(),
        driver: Driver::Process,
        user: None,
        stop_signal: StopSignal::Term,
        stop_timeout: second,
        linger: None,
        systemd: Directives::default(),
        shared_dirs: Vec::new(),
        readiness: Readiness {
            check: Check::Tcp,
            port: None,
            via: Via::Direct,
            interval: second,
            timeout: second,
            success_threshold: 1,
            failure_threshold: 3,
            initial_delay: Duration::ZERO,
        },
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

async fn perform(hosts: &FleetExecutor, epoch: Epoch, action: Action) -> ActionResult {
    hosts
        .execute(ActionOrder {
            id: ActionId(1),
            action,
            epoch,
            instance: None,
            progress_deadline: Duration::ZERO,
        })
        .await
}

/// The state of the balancer after a change, and the drain result.
#[track_caller]
fn switched(performed: ActionResult) -> (BalancerState, Option<DrainResult>) {
    match performed {
        ActionResult::Switched {
            views,
            drain_result,
            ..
        } => (views[&HostId::from("lb1")].clone(), drain_result),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failure(performed: ActionResult) -> String {
    match performed {
        ActionResult::Failed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

async fn view(hosts: &FleetExecutor) -> Result<BalancerState, String> {
    hosts
        .observe_balancer(&"lb1".into())
        .await
        .map_err(|unusable| unusable.why)
}

fn answers(scene: &Scene, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        *answers
            .entry(get(scene.haproxy.front(), "/").expect("an answer"))
            .or_default() += 1;
    }
    answers
}

/// From one server to the other with a request under way.
async fn replace(scene: Scene) {
    let hosts = scene.hosts();
    let of = |view: &BalancerState, number| view.servers[&scene.slot(number)];
    // A server that was never checked is not up yet.
    let begun = Instant::now();
    let seen = loop {
        let seen = view(&hosts).await.expect("a view");
        if of(&seen, 1).is_up == Some(true) || begun.elapsed() > Duration::from_secs(20) {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(
        (of(&seen, 0).admission, of(&seen, 0).is_up),
        (SlotAdmission::Open, Some(true))
    );
    assert_eq!(
        (of(&seen, 1).admission, of(&seen, 1).is_up),
        (SlotAdmission::Bound, Some(true))
    );
    assert!(
        seen.generation.starts_with(&scene.haproxy.pid()),
        "{}",
        seen.generation
    );
    assert_eq!(answers(&scene, 10), BTreeMap::from([("a".to_owned(), 10)]));

    let (seen, _) = switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    assert_eq!(
        (of(&seen, 1).admission, of(&seen, 1).weight_percent),
        (SlotAdmission::Open, Some(100))
    );
    assert_eq!(
        answers(&scene, 10),
        BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 5)])
    );

    perform(&hosts, EPOCH, scene.drain(1, 1)).await;
    let slow = scene.begin_slow(0);
    assert_eq!(of(&view(&hosts).await.expect("a view"), 0).in_flight, 1);
    switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(
            answers(&scene, 10),
            BTreeMap::from([("b".to_owned(), 10)]),
            "it gets nothing new"
        );
        scene.backends[0].release();
    };
    let (drained, ()) = tokio::join!(perform(&hosts, EPOCH, scene.drain(0, 1)), release);
    let (seen, drain_result) = switched(drained);
    let drain_result = drain_result.expect("it was drained");
    assert_eq!((drain_result.ended, drain_result.cut), (1, 0));
    assert!(
        drain_result.waited >= Duration::from_millis(500),
        "{drain_result}"
    );
    assert_eq!(
        (of(&seen, 0).admission, of(&seen, 0).in_flight),
        (SlotAdmission::Closed, 0)
    );
    assert_eq!(slow.join().unwrap(), Ok("a".to_owned()));
    let counters = of(&seen, 1).counters.expect("it counts");
    assert!(
        counters.requests >= 15 && counters.errors == 0,
        "{counters:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_replaces_a_server_with_a_pending_request() {
    let Some(scene) = Scene::here() else { return };
    replace(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_replaces_a_server_over_ssh() {
    let Some(scene) = Scene::over_ssh() else {
        return;
    };
    replace(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_what_is_under_way_is_cut_and_counted() {
    let Some(scene) = Scene::here() else { return };
    let scene = Scene {
        drain_timeout: Duration::from_millis(500),
        ..scene
    };
    let hosts = scene.hosts();
    let slow = scene.begin_slow(0);
    switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    let (seen, drain_result) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    let drain_result = drain_result.expect("it was drained");
    assert_eq!(
        (drain_result.ended, drain_result.cut),
        (0, 1),
        "{drain_result}"
    );
    assert!(slow.join().unwrap().is_err(), "it was cut");
    let Server {
        admission,
        in_flight,
        ..
    } = seen.servers[&scene.slot(0)];
    assert_eq!((admission, in_flight), (SlotAdmission::Closed, 0));
    switched(perform(&hosts, EPOCH, scene.admit(0, None)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_an_earlier_release_named_otherwise_is_drained_by_that_name() {
    let Some(scene) = Scene::here() else { return };
    let socket = AdminSocket::Path(scene.haproxy.socket().display().to_string());
    let hosts = scene.hosts_of(
        socket.clone(),
        "web",
        "new-{{ port }}",
        Some("{{ host }}-{{ port }}"),
    );
    let admission = |view: &BalancerState, number| {
        view.servers
            .get(&scene.slot(number))
            .map(|server| server.admission)
    };
    let before = view(&hosts).await.expect("it answers");
    assert_eq!(
        (admission(&before, 0), admission(&before, 1)),
        (Some(SlotAdmission::Open), Some(SlotAdmission::Bound))
    );
    switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    let (after, _) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    assert_eq!(
        (admission(&after, 0), admission(&after, 1)),
        (Some(SlotAdmission::Closed), Some(SlotAdmission::Open))
    );
    assert_eq!(answers(&scene, 4), BTreeMap::from([("b".to_owned(), 4)]));
    // Only that release names the server.
    let hosts = scene.hosts_of(socket, "web", "new-{{ port }}", None);
    assert_eq!(
        view(&hosts).await.expect("it answers").servers,
        BTreeMap::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_drains_only_if_enough_other_servers_are_up() {
    let Some(scene) = Scene::here() else { return };
    let hosts = scene.hosts();
    let (seen, drain_result) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    assert_eq!(
        (seen.servers[&scene.slot(0)].admission, drain_result),
        (SlotAdmission::Open, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_sets_and_restores_weights() {
    let Some(scene) = Scene::here() else { return };
    let hosts = scene.hosts();
    let (seen, _) = switched(perform(&hosts, EPOCH, scene.admit(1, Some(10))).await);
    assert_eq!(seen.servers[&scene.slot(1)].weight_percent, Some(10));
    let share = answers(&scene, 110)["b"];
    assert!((9..=11).contains(&share), "{share} of 110");
    let (seen, _) = switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    assert_eq!(seen.servers[&scene.slot(1)].weight_percent, Some(100));
    let share = answers(&scene, 110)["b"];
    assert!((53..=57).contains(&share), "{share} of 110");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_reload_is_detected_before_a_stop() {
    let Some(mut scene) = Scene::here() else {
        return;
    };
    let hosts = scene.hosts();
    switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    let (seen, _) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    scene.haproxy.reload();
    let stop = Action::Stop {
        slot: scene.slot(0),
        instance: "i".into(),
        why: StopReason::Replaced,
        restore_after: None,
        ended: None,
    };
    let (again, drain_result) = switched(perform(&hosts, EPOCH, stop).await);
    assert_ne!(again.generation, seen.generation);
    assert_eq!(
        (again.servers[&scene.slot(0)].admission, drain_result),
        (SlotAdmission::Open, None),
        "the drain is forgotten"
    );
    let (seen, _) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    assert_eq!(
        seen.servers[&scene.slot(0)].admission,
        SlotAdmission::Closed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_opens_a_server_only_after_its_check_has_passed() {
    let Some(scene) = Scene::here() else { return };
    let hosts = scene.hosts();
    scene
        .haproxy
        .command(&format!("set server web/{} state maint", scene.server(1)));
    let (seen, _) = switched(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    assert_eq!(seen.servers[&scene.slot(1)].is_up, Some(true));
    scene
        .haproxy
        .command(&format!("set server web/{} state maint", scene.server(1)));
    let port = scene.backends[1].port();
    let Scene {
        haproxy,
        backends: [first, second],
        dir,
        ..
    } = scene;
    drop(second);
    let begun = Instant::now();
    let admit = Action::Admit {
        slot: Slot {
            host: "web1".into(),
            number: port,
        },
        instance: "i".into(),
        weight_percent: None,
    };
    let why = failure(perform(&hosts, EPOCH, admit).await);
    assert!(
        why.starts_with("lb1: ") && why.contains("its own check has not passed"),
        "{why}"
    );
    assert!(begun.elapsed() < Duration::from_secs(25));
    let view = view(&hosts).await.expect("a view");
    assert_ne!(
        view.servers[&Slot {
            host: "web1".into(),
            number: port
        }]
            .admission,
        SlotAdmission::Open,
        "it gets nothing"
    );
    drop((haproxy, first, dir));
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_rejects_an_older_epoch() {
    let Some(scene) = Scene::over_ssh() else {
        return;
    };
    let (old, new) = (scene.hosts(), scene.hosts());
    switched(perform(&new, Epoch(9), scene.admit(1, None)).await);
    let performed = perform(&old, EPOCH, scene.drain(0, 1)).await;
    assert!(
        matches!(performed, ActionResult::Fenced { seen: Epoch(9) }),
        "{performed:?}"
    );
    let seen = view(&scene.hosts()).await.expect("a view");
    assert_eq!(
        (seen.servers[&scene.slot(0)].admission, seen.epoch),
        (SlotAdmission::Open, Some(Epoch(9)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_errors_contain_the_next_step() {
    let Some(mut scene) = Scene::here() else {
        return;
    };
    let path = AdminSocket::Path(scene.haproxy.socket().display().to_string());
    let why = view(&scene.hosts_at(path, "nope")).await.unwrap_err();
    assert!(
        why.starts_with("lb1: has no backend `nope`; set backend = "),
        "{why}"
    );
    let why = view(&scene.hosts_at(AdminSocket::Path("/nonexistent/s".into()), "web"))
        .await
        .unwrap_err();
    assert!(
        why.starts_with(
            "lb1: HAProxy does not respond at /nonexistent/s; check that it is running"
        ),
        "{why}"
    );
    scene.backends[1] = Backend::start("stranger");
    let hosts = scene.hosts();
    assert_eq!(
        view(&hosts)
            .await
            .expect("a view")
            .servers
            .get(&scene.slot(1)),
        None
    );
    let why = failure(perform(&hosts, EPOCH, scene.admit(1, None)).await);
    let server = scene.server(1);
    assert!(
        why.contains(&format!(
            "backend web has no server `{server}`; add `server {server} ADDRESS:"
        )),
        "{why}"
    );
    scene.haproxy.kill();
    let performed = perform(&hosts, EPOCH, scene.drain(0, 1)).await;
    assert!(
        matches!(&performed, ActionResult::BalancerLost { balancer, .. } if *balancer == HostId::from("lb1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_balancer_is_reported_and_recovers_over_ssh() {
    let Some(mut scene) = Scene::over_ssh() else {
        return;
    };
    let hosts = scene.hosts();
    view(&hosts).await.expect("a view");
    scene.haproxy.kill();
    let why = view(&hosts).await.unwrap_err();
    assert!(
        why.starts_with("lb1: HAProxy does not respond at "),
        "{why}"
    );
    scene.haproxy.run();
    view(&hosts).await.expect("a view again");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_adds_dynamic_servers_on_first_use() {
    let Some(haproxy) = Haproxy::start([""; 0]) else {
        return;
    };
    let scene = Scene::of(haproxy, [Backend::start("a"), Backend::start("b")]);
    let scene = Scene {
        servers: Servers::Dynamic,
        ..scene
    };
    let hosts = scene.hosts();
    assert_eq!(view(&hosts).await.expect("a view").servers, BTreeMap::new());
    for number in [0, 1] {
        let (seen, _) = switched(perform(&hosts, EPOCH, scene.admit(number, None)).await);
        let Server {
            admission,
            is_up,
            weight_percent,
            ..
        } = seen.servers[&scene.slot(number)];
        assert_eq!(
            (admission, is_up, weight_percent),
            (SlotAdmission::Open, Some(true), Some(100))
        );
    }
    assert_eq!(
        answers(&scene, 10),
        BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 5)])
    );
    let (_, drain_result) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    assert!(drain_result.is_some());
    assert_eq!(answers(&scene, 10), BTreeMap::from([("b".to_owned(), 10)]));
}

/// A balancer that binds its clients to servers by these lines, with one of them bound to the first
/// server: that client sends requests until the server was drained and has ended, and some
/// time longer.
async fn drain_bound_clients(lines: &str, head: &'static str) {
    let backends = [Backend::start("a"), Backend::start("b")];
    let cookies = if lines.contains("cookie") {
        ["cookie a", "cookie b"]
    } else {
        ["", ""]
    };
    let server = |(backend, cookie): (&Backend, &str)| {
        format!(
            "web1-{0} 127.0.0.1:{0} check weight 100 {cookie}",
            backend.port()
        )
    };
    let servers: Vec<_> = backends.iter().zip(cookies).map(server).collect();
    let Some(haproxy) = Haproxy::start_with(lines, servers) else {
        return;
    };
    let scene = Scene {
        drain_timeout: Duration::from_secs(5),
        ..Scene::of(haproxy, backends)
    };
    scene.haproxy.await_server(&scene.server(0), "UP");
    scene.haproxy.await_server(&scene.server(1), "UP");
    let front = scene.haproxy.front();
    while get_with(front, "/", head) != Ok("a".to_owned()) {}
    assert_eq!(
        get_with(front, "/", head),
        Ok("a".to_owned()),
        "it is bound"
    );
    let is_over = Arc::new(AtomicBool::new(false));
    let client = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                answers.push(get_with(front, "/", head));
            }
            answers
        }
    });
    let hosts = scene.hosts();
    let (seen, drain_result) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    let drain_result = drain_result.expect("it was drained");
    assert_eq!(
        (seen.servers[&scene.slot(0)].admission, drain_result.cut),
        (SlotAdmission::Closed, 0)
    );
    assert!(drain_result.waited < scene.drain_timeout, "{drain_result}");
    let Scene {
        haproxy,
        backends: [first, second],
        dir,
        ..
    } = scene;
    drop(first);
    for _ in 0..10 {
        assert_eq!(get_with(front, "/", head), Ok("b".to_owned()));
    }
    is_over.store(true, Ordering::SeqCst);
    let answers = client.join().unwrap();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?} of {}", answers.len());
    drop((haproxy, second, dir));
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_loses_no_request_of_a_client_bound_by_a_cookie() {
    drain_bound_clients(
        "  cookie SRV insert indirect nocache\n",
        "Cookie: SRV=a\r\n",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_loses_no_request_of_a_client_bound_by_a_stick_table() {
    drain_bound_clients(
        "  stick-table type ip size 1k expire 5m\n  stick on src\n",
        "",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_disabled_in_the_configuration_is_admitted_and_drained() {
    let backends = [Backend::start("a"), Backend::start("b")];
    let server = |backend: &Backend| {
        format!(
            "web1-{0} 127.0.0.1:{0} check disabled weight 100",
            backend.port()
        )
    };
    let Some(haproxy) = Haproxy::start(backends.iter().map(server)) else {
        return;
    };
    let scene = Scene::of(haproxy, backends);
    let hosts = scene.hosts();
    for number in [0, 1] {
        let (seen, _) = switched(perform(&hosts, EPOCH, scene.admit(number, None)).await);
        assert_eq!(
            seen.servers[&scene.slot(number)].admission,
            SlotAdmission::Open
        );
    }
    assert_eq!(
        answers(&scene, 10),
        BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 5)])
    );
    let (seen, _) = switched(perform(&hosts, EPOCH, scene.drain(0, 1)).await);
    assert_eq!(
        seen.servers[&scene.slot(0)].admission,
        SlotAdmission::Closed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_a_backend_to_which_no_server_can_be_added() {
    for (balance, takes_servers) in [
        ("leastconn", true),
        ("source", false),
        ("source\n  hash-type consistent", true),
        ("static-rr", false),
    ] {
        let Some(haproxy) = Haproxy::start_with(&format!("  balance {balance}\n"), [""; 0]) else {
            return;
        };
        let scene = Scene::of(haproxy, [Backend::start("a"), Backend::start("b")]);
        let scene = Scene {
            servers: Servers::Dynamic,
            ..scene
        };
        let (_, problems) = scene
            .hosts()
            .check_balancer(&"lb1".into())
            .await
            .expect("it answers");
        let words = "cannot add servers to backend web: Backend must use a dynamic load balancing";
        let is_found = problems
            .iter()
            .any(|problem| problem.starts_with(words) && problem.contains("`balance` "));
        assert_eq!(
            (is_found, problems.is_empty()),
            (!takes_servers, takes_servers),
            "{balance}: {problems:?}"
        );
        assert!(
            !scene
                .haproxy
                .command("show servers state web")
                .contains("ship-check"),
            "nothing was added"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_added_gets_the_options_of_the_playbook() {
    let Some(haproxy) = Haproxy::start([""; 0]) else {
        return;
    };
    let scene = Scene::of(haproxy, [Backend::start("a"), Backend::start("b")]);
    let scene = Scene {
        servers: Servers::Dynamic,
        server_options: "maxconn 3 weight 50",
        ..scene
    };
    switched(perform(&scene.hosts(), EPOCH, scene.admit(0, None)).await);
    let output = scene.haproxy.command("show stat web 4 -1");
    let server = output
        .lines()
        .find(|line| line.contains(&scene.server(0)))
        .expect("it was added");
    let columns: Vec<_> = server.split(',').collect();
    assert_eq!((columns[6], columns[18]), ("3", "50"), "{server}");
}

/// A balancer of two files per port: whether it is open, and the number of pending requests. It
/// records its calls.
struct Files {
    dir: TempDir,
    ports: Vec<u16>,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: TempDir::new().unwrap(),
            ports: vec![8081, 8082],
        };
        files.write("left-8081", "0\n");
        files.write("left-8082", "0\n");
        files.write("known-8081", "");
        files.write("known-8082", "");
        files
    }

    fn hosts(&self, drain_timeout: Duration) -> FleetExecutor {
        let dir = self.dir.path().display();
        let shell = |line: String| vec!["sh".to_owned(), "-c".to_owned(), line];
        let driver = TrafficDriver::Command(CommandConfig {
            admit: shell(format!(
                "echo admit {{{{ port }}}} >>{dir}/calls; exec cat {dir}/known-{{{{ port }}}}"
            )),
            drain: shell(format!("echo drain {{{{ port }}}} >>{dir}/calls")),
            remaining: vec!["cat".to_owned(), format!("{dir}/left-{{{{ port }}}}")],
            cut: Some(shell(format!(
                "echo cut {{{{ port }}}} >>{dir}/calls; echo 0 >{dir}/left-{{{{ port }}}}"
            ))),
        });
        hosts(
            self.dir.path(),
            local("lb1"),
            self.ports.clone(),
            driver,
            (drain_timeout, BTreeMap::new()),
        )
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn admit(port: u16) -> Action {
        Action::Admit {
            slot: slot(port),
            instance: "i".into(),
            weight_percent: None,
        }
    }

    fn drain(port: u16, keep: u32) -> Action {
        Action::Drain {
            slot: slot(port),
            instance: "i".into(),
            keep,
        }
    }
}

fn slot(port: u16) -> Slot {
    Slot {
        host: "web1".into(),
        number: port,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn command_driver_controls_any_balancer() {
    let files = Files::new();
    let hosts = files.hosts(Duration::from_millis(300));
    assert_eq!(
        view(&hosts).await.expect("a view").servers,
        BTreeMap::new(),
        "no change was made"
    );
    for port in [8081, 8082] {
        let (seen, _) = switched(perform(&hosts, EPOCH, Files::admit(port)).await);
        let Server {
            admission,
            weight_percent,
            ..
        } = seen.servers[&slot(port)];
        assert_eq!((admission, weight_percent), (SlotAdmission::Open, None));
    }
    let (seen, drain_result) = switched(perform(&hosts, EPOCH, Files::drain(8081, 1)).await);
    assert_eq!(
        (
            seen.servers[&slot(8081)].admission,
            drain_result.map(|drain_result| drain_result.cut)
        ),
        (SlotAdmission::Closed, Some(0))
    );
    assert_eq!(files.calls(), ["admit 8081", "admit 8082", "drain 8081"]);

    files.write("left-8082", "3\n");
    let (_, drain_result) = switched(perform(&hosts, EPOCH, Files::drain(8082, 0)).await);
    assert_eq!(
        drain_result.map(|drain_result| (drain_result.ended, drain_result.cut)),
        Some((0, 3)),
        "at the deadline the rest is cut"
    );
    assert_eq!(files.calls()[3..], ["drain 8082", "cut 8082"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_balancer_command_is_reported_and_the_slot_stays_closed() {
    let files = Files::new();
    let hosts = files.hosts(Duration::from_secs(5));
    std::fs::remove_file(files.dir.path().join("known-8081")).unwrap();
    let why = failure(perform(&hosts, EPOCH, Files::admit(8081)).await);
    assert!(
        why.starts_with("lb1: ") && why.contains("known-8081: No such file"),
        "{why}"
    );
    assert_eq!(
        files.calls(),
        ["admit 8081", "drain 8081"],
        "it is taken back"
    );
    files.write("left-8081", "some\n");
    let why = view(&hosts).await.unwrap_err();
    let words = "the `remaining` command for web1:8081 did not print a number";
    assert!(
        why.contains(words) && why.contains(": some (status 0)"),
        "{why}"
    );
    files.write("left-8081", "0\n");
    assert_eq!(
        view(&hosts).await.expect("a view").servers[&slot(8081)].admission,
        SlotAdmission::Closed
    );

    let performed = perform(&hosts, Epoch(4), Files::admit(8081)).await;
    assert!(
        matches!(performed, ActionResult::Fenced { seen: EPOCH }),
        "{performed:?}"
    );
}
