//! Staging where the host downloads the artifact itself.

use std::fs;
use std::sync::{Arc, Mutex};

use ship::script::{
    ArtifactInput, Needs, ReleaseSender, Script, StageInput, check, read_check, stage,
};

use crate::host::{Host, Release, Shell, now, openers, shells, wait_for};
use ship_testing::web::{Reply, Web};

/// What has to stay among the two who know it.
const SECRET: &str = "hunter2";

fn pull(host: &Host, release: &Release, url: &str) -> Script {
    stage(
        &host.site,
        &release.definition,
        &release.id,
        &StageInput {
            secrets: release.secrets.as_deref(),
            ..ArtifactInput::Pulled(url).into()
        },
    )
}

/// Hosts of every shell, and by which program each downloads. That of busybox's own is none that
/// will do.
fn hosts() -> Vec<(Host, &'static str)> {
    let with_curl = shells()
        .into_iter()
        .map(|shell| (Host::with(shell), "curl"));
    let others = shells()
        .into_iter()
        .filter(|shell| *shell != Shell::Busybox)
        .map(|shell| {
            let mut host = Host::with(shell);
            host.without(&["curl"]);
            (host, "wget")
        });
    with_curl.chain(others).collect()
}

/// A server of a release, behind a password.
fn serving(release: &Release) -> (Web, String) {
    let bytes = fs::read(&release.path).expect("artifact");
    // `me:hunter2`
    let wanted = "Basic bWU6aHVudGVyMg==";
    let server = Web::start(move |request, _| match request.header("authorization") {
        Some(given) if given == wanted => Reply::of(bytes.clone()),
        _ => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"builds\""),
    });
    let url = format!(
        "http://me:{SECRET}@{}/builds/app.tar.gz?token={SECRET}&x=[1]",
        server.address()
    );
    (server, url)
}

fn page(host: &Host, release: &Release) -> String {
    let page = host
        .root()
        .join("releases")
        .join(release.id.as_str())
        .join("app/index.html");
    fs::read_to_string(page).expect("page")
}

fn litter(host: &Host) -> usize {
    fs::read_dir(host.root().join("tmp")).map_or(0, Iterator::count)
}

#[test]
fn host_downloads_the_artifact() {
    for (host, tool) in hosts() {
        let release = Release::new("hello").with_secrets("A=\"1\"\nB=\"2\"\n");
        let (server, url) = serving(&release);
        let script = pull(&host, &release, &url);
        assert!(!script.text.contains(SECRET) && script.input.file.is_none());
        assert_eq!(host.order(&script).releases, [release.id.clone()].into());
        assert_eq!(page(&host, &release), "hello");
        let secrets = host
            .root()
            .join("releases")
            .join(release.id.as_str())
            .join("secrets");
        assert_eq!(
            fs::read_to_string(secrets).expect("secrets"),
            "A=\"1\"\nB=\"2\"\n"
        );
        let asked = server.requests();
        assert!(
            asked
                .iter()
                .all(|request| request.path == format!("builds/app.tar.gz?token={SECRET}&x=[1]"))
        );
        let agent = asked[0]
            .header("user-agent")
            .unwrap_or_default()
            .to_lowercase();
        assert!(agent.starts_with(tool), "{agent}");

        host.order(&script);
        assert_eq!(
            server.requests().len(),
            0,
            "what is there is not pulled again"
        );
    }
}

#[test]
fn pull_never_passes_the_url_as_an_argument() {
    for tool in ["curl", "wget"] {
        let mut host = Host::new();
        let output = host.dir.path().join("output");
        let path = format!("/usr/bin/{tool}");
        host.fake(
            tool,
            &format!("echo \"$*\" >>'{}'\nexec {path} \"$@\"", output.display()),
        );
        host.without(&["curl", "wget"]);
        let release = Release::new("hello");
        let (_server, url) = serving(&release);
        host.order(&pull(&host, &release, &url));
        let output = fs::read_to_string(output).expect("arguments");
        assert!(
            output.contains("artifact") && !output.contains(SECRET) && !output.contains("://"),
            "{output}"
        );
    }
}

#[test]
fn pull_reports_the_error_of_the_tool_without_the_url() {
    for without in [&[][..], &["curl"]] {
        let mut host = Host::new();
        host.without(without);
        let release = Release::new("hello");
        let size = release.definition.artifact.size_bytes;
        let failure = |reply: Reply| {
            let server = Web::start(move |_, _| reply.clone());
            let url = format!("http://me:{SECRET}@{}/app?token={SECRET}", server.address());
            let ran = host.run(&pull(&host, &release, &url));
            assert!(!format!("{ran:?}").contains(SECRET), "{ran:?}");
            assert_eq!(litter(&host), 0);
            assert!(ran.reply().observation.releases.is_empty());
            ran.failure()
        };
        let missing = failure(Reply::status(404));
        assert!(
            missing.starts_with("cannot pull the artifact: ") && missing.contains("404"),
            "{missing}"
        );
        let other = failure(Reply::of("another artifact"));
        let expected = format!(
            "the downloaded artifact, expected to have {size} bytes, is corrupt: received 16 bytes with"
        );
        assert!(other.starts_with(&expected), "{other}");
        let large = failure(Reply::of(vec![0; 1 << 20]));
        assert_eq!(
            large,
            format!("cannot pull the artifact: it is larger than {size} bytes")
        );
        let server = Web::start(|_, _| Reply::status(404));
        let url = format!("http://me:{SECRET}@{}/app?token={SECRET}", server.address());
        drop(server);
        let ran = host.run(&pull(&host, &release, &url));
        let gone = ran.failure();
        assert!(
            gone.starts_with("cannot pull the artifact: ") && !format!("{ran:?}").contains(SECRET),
            "{gone}"
        );
    }
}

#[test]
fn host_without_the_tools_reports_them() {
    let mut host = Host::new();
    host.without(&["curl", "wget"]);
    let release = Release::new("hello");
    let expected = "cannot pull the artifact: neither curl nor GNU wget is installed; install \
                    one, or set fetch = \"push\"";
    assert_eq!(
        host.run(&pull(&host, &release, "http://127.0.0.1:1/app"))
            .failure(),
        expected
    );
    let missing = |sender| {
        let script = check(
            &host.site,
            &Needs {
                sender,
                ..Needs::NONE
            },
        );
        read_check(&host.run(&script).stdout, now())
            .expect("facts")
            .0
            .missing
    };
    assert_eq!(
        missing(ReleaseSender::Url),
        ["one of curl wget to pull the artifact"]
    );
    assert_eq!(missing(ReleaseSender::ControlMachine), Vec::<String>::new());
    if shells().contains(&Shell::Busybox) {
        let mut host = Host::with(Shell::Busybox);
        host.without(&["curl"]);
        assert_eq!(
            host.run(&pull(&host, &release, "http://127.0.0.1:1/app"))
                .failure(),
            expected
        );
    }
}

#[test]
fn killed_pull_leaves_nothing() {
    for (host, tool) in hosts() {
        let release = Release::new("hello");
        // It answers when the test is over.
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().expect("no panic");
        let server = {
            let gate = Arc::clone(&gate);
            Web::start(move |_, _| {
                drop(gate.lock());
                Reply::status(404)
            })
        };
        let script = pull(&host, &release, &server.url("app"));
        let mut child = host.watched(&script, 1).spawn().expect("a shell");
        std::io::Write::write_all(child.stdin.as_mut().expect("stdin"), &script.input.head)
            .expect("write");
        wait_for("the watch", || child.try_wait().expect("status").is_some());
        let tmp = host.root().join("tmp");
        assert_eq!(
            (litter(&host), openers(&tmp)),
            (0, Vec::<String>::new()),
            "{tool}"
        );
        drop(closed);
    }
}
