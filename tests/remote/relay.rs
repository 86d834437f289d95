//! Hosts that pass a release on to each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ship::artifact::{Patches, Prepared, prepare};
use ship::config::{ArtifactConfig, Source};
use ship::core::fleet::owner::Owner;
use ship::core::ids::{ActionId, Epoch, HostId, ReleaseId};
use ship::core::release::Definition;
use ship::core::release::patch::Transfer;
use ship::core::release::relay::Relaying;
use ship::core::rollout::action::Action;
use ship::engine::{
    ActionOrder, ActionResult, Executor as _, FleetExecutor, LocalCommandSettings, Releases,
    SteadyClock,
};
use ship::remote::{Connections, HostLink, HostSite, ServiceContext, SharedLinks, Target};
use ship::script::{
    self, ArtifactInput, HostContext, RelayServer, RelayedFrom, ScriptEnd, StageInput,
};
use ship_testing::rng::SeededRng;
use ship_testing::sshd::{Sshd, eventually};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::balancers::definition;
use crate::target_of;

/// A key of the user, who may have forgotten the last newline.
const OTHER_KEY: &str = "# mine\nssh-ed25519 AAAA someone else";
/// Lets the host run every command, whatever a key allows.
const ANY_COMMAND: &str = "ForceCommand sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
const DEADLINE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(30);

/// Hosts with an sshd each, and an artifact.
struct Hosts {
    dir: TempDir,
    artifact: Prepared,
    sshds: Vec<Sshd>,
}

impl Hosts {
    /// Hosts whose sshd has more lines of configuration; `None` without sshd.
    async fn start(count: usize, more: &str) -> Option<Self> {
        let dir = TempDir::new().expect("a directory");
        let app = dir.path().join("app");
        fs::create_dir(&app).expect("a directory");
        // Bytes that gzip does not make fewer: hosts pass on only what is large enough.
        let bytes = SeededRng::new(1).bytes(1_200_000);
        fs::write(app.join("data"), bytes).expect("a file");
        let config = ArtifactConfig::new(Source::Path(app));
        let artifact = prepare(&config, &dir.path().join("artifacts")).await;
        let sshds: Option<Vec<_>> = (0..count).map(|_| Sshd::start(more)).collect();
        let sshds = sshds?;
        for sshd in &sshds {
            fs::create_dir(sshd.file(".ssh")).expect("a directory");
            sshd.write(".ssh/authorized_keys", OTHER_KEY);
        }
        Some(Self {
            dir,
            artifact: artifact.expect("an artifact"),
            sshds,
        })
    }

    fn target(&self, host: usize) -> Target {
        Target {
            name: name(host),
            ..target_of(&self.sshds[host])
        }
    }

    fn site(&self, host: usize, zone: &str) -> HostSite {
        HostSite {
            target: self.target(host),
            labels: [("zone".to_owned(), zone.to_owned())].into(),
            base_dir: self.base_dir(host).display().to_string(),
            slots: [(8081, vec![8081])].into(),
        }
    }

    fn base_dir(&self, host: usize) -> PathBuf {
        self.dir.path().join(name(host).as_str())
    }

    fn definition(&self) -> Definition {
        Definition {
            service: "web".to_owned(),
            artifact: self.artifact.artifact.clone(),
            ..definition("web", &[])
        }
    }

    /// An executor for hosts in these zones.
    fn executor(&self, zones: &[&str]) -> FleetExecutor {
        let releases = Releases {
            definitions: [(release(), self.definition())].into(),
            artifacts: self.artifact.path.parent().expect("a directory").into(),
            patches: Patches::default(),
            recovered: BTreeMap::new(),
            secrets: BTreeMap::new(),
            proven: BTreeMap::new(),
            pulled: None,
            relaying: Relaying::Among(Some("zone".to_owned())),
        };
        let sites = zones.iter().enumerate();
        FleetExecutor::new(
            sites.map(|(host, zone)| self.site(host, zone)).collect(),
            releases,
            owner(),
            Arc::new(SteadyClock),
            None,
            LocalCommandSettings::default(),
            &SharedLinks::default(),
        )
    }

    /// Stages the release on the hosts of an executor, and returns how each received it.
    async fn stage_all(&self, executor: &FleetExecutor) -> Vec<Option<Transfer>> {
        let hosts = (0..self.sshds.len()).map(async |host| {
            let order = ActionOrder {
                id: ActionId(1),
                action: Action::Stage {
                    host: name(host),
                    release: release(),
                },
                epoch: Epoch(5),
                instance: None,
                progress_deadline: Duration::ZERO,
            };
            match executor.execute(order).await {
                ActionResult::Done(observation) => observation.transfer,
                other => panic!("not staged: {other:?}"),
            }
        });
        let transfers = join_all(hosts).await;
        let expected = fs::read(self.dir.path().join("app/data")).expect("a file");
        for host in 0..self.sshds.len() {
            let app = format!("web/releases/{}/app/data", release());
            let received = fs::read(self.base_dir(host).join(app)).expect("a release");
            assert!(received == expected, "h{host} has other bytes");
        }
        transfers
    }

    fn keys(&self, host: usize) -> String {
        fs::read_to_string(self.sshds[host].file(".ssh/authorized_keys")).unwrap_or_default()
    }

    /// Waits until no host has a key or a file of a relay.
    fn assert_nothing_remains(&self) {
        for host in 0..self.sshds.len() {
            let relay = self.base_dir(host).join("web/relay");
            let is_clean = || self.keys(host).trim_end() == OTHER_KEY && !relay.exists();
            assert!(eventually(DEADLINE, is_clean), "{}", self.keys(host));
            let ssh = fs::read_dir(self.sshds[host].file(".ssh")).expect("a directory");
            assert_eq!(ssh.count(), 1);
            let tmp = fs::read_dir(self.base_dir(host).join("web/tmp")).expect("a directory");
            assert_eq!(tmp.count(), 0);
        }
    }
}

/// A script on a host that lets others receive files from there.
struct Serving {
    script: JoinHandle<()>,
    user: String,
}

impl Serving {
    /// Starts the script, with the key `stranger` of the host's sshd.
    async fn start(hosts: &Hosts, host: usize) -> Self {
        let context = context(hosts, host);
        let public = fs::read_to_string(hosts.sshds[host].file("stranger.pub")).expect("a key");
        let words: Vec<_> = public.split(' ').take(2).collect();
        let script = script::serve(&context, "r1", &words.join(" "), SILENCE);
        let (sender, mut lines) = mpsc::channel(8);
        let link = link(hosts, host);
        let script = tokio::spawn(async move {
            let _ = link.stream(&script, &sender).await;
        });
        let printed = lines.recv().await.expect("a line");
        let user = script::read_serving(&printed).unwrap_or_else(|| panic!("{printed}"));
        Self {
            script,
            user: user.to_owned(),
        }
    }
}

fn name(host: usize) -> HostId {
    format!("h{host}").as_str().into()
}

fn release() -> ReleaseId {
    ReleaseId::from("a".repeat(64).as_str())
}

fn owner() -> Owner {
    Owner {
        fleet: "test".into(),
        service: "web".into(),
        ..Owner::default()
    }
}

fn context(hosts: &Hosts, host: usize) -> HostContext {
    let service = ServiceContext {
        owner: owner(),
        proven: BTreeMap::new(),
    };
    let site = hosts.site(host, "a");
    site.script_context(&service, Epoch(5), ActionId(1))
}

fn link(hosts: &Hosts, host: usize) -> Arc<HostLink> {
    let connections = Connections::new([hosts.target(host)]);
    Arc::clone(&connections.links()[&name(host)])
}

/// Logs in at a host with the key `stranger`.
fn log_in(hosts: &Hosts, host: usize, words: &[&str]) -> Output {
    let sshd = &hosts.sshds[host];
    let known_hosts = format!("UserKnownHostsFile={}", sshd.file("known_hosts").display());
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "BatchMode=yes",
        "-o",
    ])
    .arg(known_hosts)
    .arg("-i")
    .arg(sshd.file("stranger"))
    .args(["-p", &sshd.port().to_string()])
    .args(words);
    ssh.output().expect("ssh")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn relayed_by(transfers: &[Option<Transfer>]) -> Vec<Option<&HostId>> {
    let senders = transfers.iter().map(Option::as_ref);
    senders.map(|it| it?.relayed_by.as_ref()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn release_is_sent_once_and_passed_on() {
    let Some(hosts) = Hosts::start(5, "").await else {
        return;
    };
    let executor = hosts.executor(&["a"; 5]);
    let transfers = hosts.stage_all(&executor).await;
    let from_control = relayed_by(&transfers)
        .iter()
        .filter(|it| it.is_none())
        .count();
    assert_eq!(from_control, 1, "{transfers:?}");
    for transfer in transfers.iter().flatten() {
        assert_eq!(transfer.direct_because, None);
        assert_eq!(transfer.sent_bytes, hosts.artifact.artifact.size_bytes);
    }
    drop(executor);
    hosts.assert_nothing_remains();
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_receive_the_release_from_their_own_zone() {
    let Some(hosts) = Hosts::start(6, "").await else {
        return;
    };
    let zones = ["a", "b", "a", "b", "a", "b"];
    let executor = hosts.executor(&zones);
    let transfers = hosts.stage_all(&executor).await;
    let senders = relayed_by(&transfers);
    for zone in ["a", "b"] {
        let of_zone = senders.iter().zip(zones).filter(|(_, it)| *it == zone);
        let from_control = of_zone.filter(|(sender, _)| sender.is_none()).count();
        assert_eq!(from_control, 1, "{senders:?}");
    }
    for (sender, zone) in senders.iter().zip(zones) {
        let Some(sender) = sender else { continue };
        let number: usize = sender.as_str()[1..].parse().expect("a number");
        assert_eq!(zones[number], zone, "{senders:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_cannot_send_is_replaced_by_the_control_machine() {
    let Some(hosts) = Hosts::start(3, ANY_COMMAND).await else {
        return;
    };
    let executor = hosts.executor(&["a"; 3]);
    let transfers = hosts.stage_all(&executor).await;
    assert_eq!(relayed_by(&transfers), [None; 3]);
    let reasons: Vec<_> = transfers
        .iter()
        .flatten()
        .map(|transfer| transfer.direct_because.clone().expect("a reason"))
        .collect();
    assert_eq!(reasons.len(), 2, "{transfers:?}");
    for reason in reasons {
        assert!(reason.contains("from the host h"), "{reason}");
        assert!(reason.contains("not found"), "{reason}");
    }
    drop(executor);
    hosts.assert_nothing_remains();
}

#[tokio::test(flavor = "multi_thread")]
async fn host_whose_keys_cannot_be_changed_does_not_send() {
    let Some(hosts) = Hosts::start(3, "").await else {
        return;
    };
    for sshd in &hosts.sshds {
        fs::remove_dir_all(sshd.file(".ssh")).expect("a directory");
        sshd.write(".ssh", "not a directory");
    }
    let executor = hosts.executor(&["a"; 3]);
    assert_eq!(hosts.stage_all(&executor).await, [None, None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_a_relay_is_only_for_its_files() {
    let Some(hosts) = Hosts::start(1, "").await else {
        return;
    };
    let serving = Serving::start(&hosts, 0).await;
    let keys = hosts.keys(0);
    let line = keys.lines().last().expect("a line");
    for part in ["restrict,", "expiry-time=\"2", "command=\"exec sh /"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(keys.starts_with(OTHER_KEY), "{keys}");
    let dir = hosts.base_dir(0).join("web/relay/r1");
    fs::write(dir.join("abc"), "the file").expect("a file");
    let host = format!("{}@127.0.0.1", serving.user);
    let received = log_in(&hosts, 0, &[&host, "abc"]);
    assert_eq!(
        text(&received.stdout),
        "the file",
        "{}",
        text(&received.stderr)
    );
    for command in ["id", "../../lock", "abc; id", "", "send"] {
        let refused = log_in(&hosts, 0, &[&host, command]);
        assert_eq!(
            (text(&refused.stdout), refused.status.code()),
            (String::new(), Some(1))
        );
        assert!(
            text(&refused.stderr).contains("only for the files"),
            "{command}"
        );
    }
    let forward = log_in(&hosts, 0, &["-W", "127.0.0.1:1", &host]);
    assert!(
        text(&forward.stderr).contains("prohibited"),
        "{}",
        text(&forward.stderr)
    );
    serving.script.abort();
    hosts.assert_nothing_remains();
}

#[tokio::test(flavor = "multi_thread")]
async fn line_of_a_killed_script_is_removed_by_the_next_one() {
    let Some(hosts) = Hosts::start(1, "").await else {
        return;
    };
    let first = Serving::start(&hosts, 0).await;
    let lock = fs::read_to_string(hosts.base_dir(0).join("web/lock")).expect("a lock");
    let (_, pid) = lock.trim().rsplit_once(' ').expect("a pid");
    let killed = Command::new("kill").args(["-KILL", pid]).status();
    assert!(killed.expect("kill").success(), "{lock}");
    first.script.abort();
    let _ = first.script.await;
    let second = Serving::start(&hosts, 0).await;
    let lines = hosts.keys(0).matches("ship-relay").count();
    assert_eq!(lines, 1, "{}", hosts.keys(0));
    second.script.abort();
    hosts.assert_nothing_remains();
}

#[tokio::test(flavor = "multi_thread")]
async fn host_with_an_unknown_key_is_not_asked() {
    let Some(hosts) = Hosts::start(2, "").await else {
        return;
    };
    let serving = Serving::start(&hosts, 0).await;
    let sshd = &hosts.sshds[0];
    let private = fs::read_to_string(sshd.file("stranger")).expect("a key");
    let stranger = fs::read_to_string(sshd.file("stranger.pub")).expect("a key");
    let server = RelayServer {
        host: "h0".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: sshd.port(),
        user: serving.user.clone(),
        name: "h0".to_owned(),
        host_keys: format!("h0 {stranger}"),
    };
    let received = StageInput {
        relayed_from: Some(RelayedFrom {
            server: &server,
            private_key: &private,
        }),
        ..ArtifactInput::Pushed(&hosts.artifact.path).into()
    };
    let script = script::stage(
        &context(&hosts, 1),
        &hosts.definition(),
        &release(),
        &received,
    );
    let printed = link(&hosts, 1).run(&script).await.expect("a reply");
    let reply = script::read_reply(&printed, ship::core::time::Time(0)).expect("a reply");
    let ScriptEnd::Failed(why) = reply.end else {
        panic!("{printed}")
    };
    assert!(why.contains("Host key verification failed"), "{why}");
}
