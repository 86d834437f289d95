//! An artifact that several services of a host use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join;
use ship::artifact::{Patches, Prepared, prepare};
use ship::config::{ArtifactConfig, Source};
use ship::core::fleet::owner::Owner;
use ship::core::ids::{ActionId, Epoch, ReleaseId};
use ship::core::release::Definition;
use ship::core::release::patch::Transfer;
use ship::core::release::relay::Relaying;
use ship::core::rollout::action::Action;
use ship::engine::{
    ActionOrder, ActionResult, Executor as _, FleetExecutor, LocalCommandSettings, Releases,
    SteadyClock,
};
use ship::remote::{HostSite, SharedLinks};
use ship_testing::rng::SeededRng;
use ship_testing::web::{Reply, Web};
use tempfile::TempDir;

use crate::balancers::{definition, local};

/// Two services of one host, `api` and `web`, that use one artifact.
struct Services {
    dir: TempDir,
    artifact: Prepared,
    links: SharedLinks,
    /// The URL from which hosts download the artifact; `None` if it is sent to them.
    url: Option<String>,
}

impl Services {
    async fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let app = dir.path().join("app");
        fs::create_dir(&app).expect("a directory");
        fs::write(app.join("page"), "hello").expect("a page");
        // Bytes that gzip does not make fewer: a host copies only what is large enough.
        let bytes = SeededRng::new(1).bytes(1_200_000);
        fs::write(app.join("data"), bytes).expect("a file");
        let config = ArtifactConfig::new(Source::Path(app));
        let artifact = prepare(&config, &dir.path().join("artifacts")).await;
        Self {
            dir,
            artifact: artifact.expect("an artifact"),
            links: SharedLinks::default(),
            url: None,
        }
    }

    fn executor(&self, service: &str, release: &ReleaseId) -> FleetExecutor {
        let site = HostSite {
            target: local("web1"),
            labels: BTreeMap::new(),
            base_dir: self.dir.path().join("web1").display().to_string(),
            slots: BTreeMap::new(),
        };
        let definition = Definition {
            service: service.to_owned(),
            artifact: self.artifact.artifact.clone(),
            ..definition("web", &[])
        };
        let releases = Releases {
            definitions: [(release.clone(), definition)].into(),
            artifacts: self.artifact.path.parent().expect("a directory").into(),
            patches: Patches::default(),
            recovered: BTreeMap::new(),
            secrets: BTreeMap::new(),
            proven: BTreeMap::new(),
            pulled: self.url.clone().map(|url| (release.clone(), url)),
            relaying: Relaying::Off,
        };
        let owner = Owner {
            fleet: "test".into(),
            service: service.to_owned(),
            ..Owner::default()
        };
        let clock = Arc::new(SteadyClock);
        let control = LocalCommandSettings::default();
        FleetExecutor::new(
            vec![site],
            releases,
            owner,
            clock,
            None,
            control,
            &self.links,
        )
    }

    async fn stage(&self, service: &str) -> ActionResult {
        let release = release(service);
        let order = ActionOrder {
            id: ActionId(1),
            action: Action::Stage {
                host: "web1".into(),
                release: release.clone(),
            },
            epoch: Epoch(5),
            instance: None,
            progress_deadline: Duration::ZERO,
        };
        self.executor(service, &release).execute(order).await
    }

    fn page(&self, service: &str) -> PathBuf {
        let releases = self.dir.path().join("web1").join(service).join("releases");
        let release = release(service);
        releases.join(release.as_str()).join("app/page")
    }
}

/// The release of a service, by its first letter.
fn release(service: &str) -> ReleaseId {
    let letter = service.replace("api", "a").replace("web", "b");
    ReleaseId::from(letter.repeat(64).as_str())
}

/// How the host received the release.
fn transfer(result: ActionResult) -> Option<Transfer> {
    match result {
        ActionResult::Done(observation) => observation.transfer,
        other => panic!("not staged: {other:?}"),
    }
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).expect("a page")
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_of_two_services_is_sent_once() {
    let services = Services::new().await;
    assert_eq!(transfer(services.stage("api").await), None);
    let transfer = transfer(services.stage("web").await).expect("a transfer");
    assert!(transfer.sent_bytes < 1000, "{transfer:?}");
    assert_eq!(transfer.whole_because, None);
    assert_eq!(read(&services.page("web")), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifact_is_sent_if_the_files_of_the_other_service_were_changed() {
    let services = Services::new().await;
    services.stage("api").await;
    fs::write(services.page("api"), "changed").expect("a page");
    let transfer = transfer(services.stage("web").await).expect("a transfer");
    assert!(
        transfer.sent_bytes > transfer.artifact_bytes,
        "{transfer:?}"
    );
    let why = transfer.whole_because.expect("a reason");
    assert!(why.ends_with("its files were changed"), "{why}");
    assert_eq!(read(&services.page("web")), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_stage_at_the_same_time_download_once() {
    let mut services = Services::new().await;
    let bytes = fs::read(&services.artifact.path).expect("the artifact");
    let downloads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&downloads);
    let server = Web::start(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        Reply::of(bytes.clone())
    });
    services.url = Some(format!("http://{}/app", server.address()));
    let both = join(services.stage("api"), services.stage("web")).await;
    for staged in [both.0, both.1] {
        assert!(matches!(staged, ActionResult::Done(_)), "{staged:?}");
    }
    assert_eq!(downloads.load(Ordering::Relaxed), 1);
    assert_eq!(read(&services.page("api")), "hello");
    assert_eq!(read(&services.page("web")), "hello");
}
