//! Artifacts that fail verification: exit code 2, one message, and no changes on any host.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minisign::KeyPair;
use snapbox::str;

use crate::project::LocalProject;
use ship_testing::web::{Reply, Web};

const SOURCE: &str = "source = \"page-{{ version }}\"";

/// A small project whose versions are packed files, with these lines after the source.
fn packed(lines: &str) -> LocalProject {
    let project = LocalProject::small();
    for version in ["0.8", "0.9"] {
        let (dir, file) = (
            project.path(&format!("page-{version}")),
            project.path(&format!("page-{version}.tar.gz")),
        );
        let done = Command::new("tar")
            .arg("-czf")
            .arg(file)
            .arg("-C")
            .arg(dir)
            .arg(".")
            .status();
        assert!(done.expect("tar").success());
    }
    project.with(
        SOURCE,
        &format!("source = \"page-{{{{ version }}}}.tar.gz\"\n{lines}"),
    )
}

#[test]
fn unsigned_artifact_is_refused_if_a_key_is_configured() {
    let keys = KeyPair::generate_unencrypted_keypair().expect("chance");
    let project = packed("minisign_key = \"ci.pub\"");
    fs::write(
        project.path("ci.pub"),
        keys.pk.to_box().expect("a key").into_string(),
    )
    .expect("our own directory");
    let deploy = ["deploy", "inventory.toml"];
    project
        .ship(&deploy)
        .stderr(str![[r#"
error: the artifact page-0.8.tar.gz is not signed: cannot read page-0.8.tar.gz.minisig: the file does not exist
  --> playbook.toml:18:16
   |
18 | minisign_key = "ci.pub"
   |                ^^^^^^^^
   |
   = help: sign it (minisign -Sm FILE) and publish the signature beside it

"#]])
        .status(2)
        .run();
    let sign = |bytes: &[u8]| {
        let signature = minisign::sign(None, &keys.sk, bytes, None, None)
            .expect("a key")
            .into_string();
        fs::write(project.path("page-0.8.tar.gz.minisig"), signature).expect("our own directory");
    };
    sign(b"another artifact");
    project
        .ship(&deploy)
        .stderr(str![[r#"
error: the artifact page-0.8.tar.gz does not have a valid signature (page-0.8.tar.gz.minisig): the signature does not match the content
  --> playbook.toml:18:16
   |
18 | minisign_key = "ci.pub"
   |                ^^^^^^^^
   |
   = help: if the key in the playbook is correct, do not trust this artifact: download or build it again

"#]])
        .status(2)
        .run();
    project.assert_hosts_untouched();
    assert_eq!(project.history(), Vec::<String>::new());
    sign(&fs::read(project.path("page-0.8.tar.gz")).expect("our own file"));
    project.deploy("0.8");
}

#[test]
fn artifact_with_a_wrong_listed_checksum_is_refused() {
    let project = packed("");
    fs::write(
        project.path("SHA256SUMS"),
        format!("{}  page-0.8.tar.gz\n", "0".repeat(64)),
    )
    .expect("our own directory");
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(str![[r#"
error: the artifact page-0.8.tar.gz has the wrong SHA-256: SHA256SUMS lists [SHA256], found [SHA256]
  --> playbook.toml:17:10
   |
17 | source = "page-{{ version }}.tar.gz"
   |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: if one of the two was just replaced, retry; otherwise publish both again, together

"#]])
        .status(2)
        .run();
    project.assert_hosts_untouched();
}

#[test]
fn interrupted_download_is_resumed_by_later_runs() {
    let project = packed("sha256sums = false");
    project.deploy("0.8");
    let bytes = fs::read(project.path("page-0.9.tar.gz")).expect("our own file");
    let (length, is_repaired) = (bytes.len(), Arc::new(AtomicBool::new(false)));
    let part = length * 9 / 10;
    let server = {
        let is_repaired = Arc::clone(&is_repaired);
        Web::start(move |request, _| {
            let reply = Reply::of(bytes.clone());
            let reply = match request.range_start() {
                Some(from) if request.header("if-range") == Some("\"one\"") => reply.part(from),
                _ => reply,
            };
            let is_known = request.header("if-none-match") == Some("\"one\"");
            let reply = if is_known {
                Reply::status(304)
            } else {
                reply.header("ETag", "\"one\"")
            };
            let room = part - request.range_start().unwrap_or(0);
            if is_repaired.load(Ordering::SeqCst) {
                reply
            } else {
                reply.breaking_after(room)
            }
        })
    };
    let url = server.url("page-{{ version }}.tar.gz");
    let project = project.with(
        "source = \"page-{{ version }}.tar.gz\"",
        &format!("source = \"{url}\""),
    );
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(2)
        .run();
    let expected = format!("(6 attempts); {part} bytes received so far");
    assert!(done.stderr.contains(&expected), "{}", done.stderr);
    assert_eq!(project.running(), ["node1:8081 0.8"]);
    assert_eq!(server.paths().len(), 6);

    is_repaired.store(true, Ordering::SeqCst);
    project.deploy("0.9");
    let asked = server.requests();
    assert_eq!(
        asked
            .iter()
            .map(ship_testing::web::Request::range_start)
            .collect::<Vec<_>>(),
        [Some(part)]
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    assert!(length > part);

    // The next night nothing is new: one small question, and nothing is done.
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .run();
    assert!(done.stderr.contains("nothing to do"), "{}", done.stderr);
    let asked = server.requests();
    assert_eq!(
        asked
            .iter()
            .map(|request| request.header("if-none-match"))
            .collect::<Vec<_>>(),
        [Some("\"one\"")]
    );
}

/// An https server with a certificate of its own, which redirects to an http one.
const TLS: &str = r#"
import http.server, ssl, sys
class Redirecting(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", sys.argv[2])
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Redirecting)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
fn redirect_from_https_to_http_is_not_followed() {
    use std::io::{BufRead, BufReader};

    let plain = Web::start(|_, _| Reply::of("0.9"));
    let project = LocalProject::small();
    let pem = project.path("home.pem");
    let (key, certificate) = (project.path("key.pem"), project.path("certificate.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    let Ok(made) = made else {
        println!("skipped: `openssl` is missing (Debian package openssl)");
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let read = |path| fs::read_to_string(path).expect("our own file");
    fs::write(&pem, read(&key) + &read(&certificate)).expect("our own directory");
    let mut tls = Command::new("python3")
        .args(["-c", TLS])
        .arg(&pem)
        .arg(plain.url("latest.txt"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3");
    let mut port = String::new();
    BufReader::new(tls.stdout.take().expect("a pipe"))
        .read_line(&mut port)
        .expect("a port");
    let url = format!("https://127.0.0.1:{}/latest.txt", port.trim());
    let project = project.with(SOURCE, &format!("{SOURCE}\nchannels.nightly = \"{url}\""));
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "nightly"])
        .env("SSL_CERT_FILE", &certificate)
        .any_stderr()
        .status(2)
        .run();
    let _ = tls.kill();
    let _ = tls.wait();
    assert_eq!(
        done.stderr,
        format!(
            "error: cannot resolve channel `nightly`: {url}: it redirects from https to http, \
             which ship does not follow; use the URL to which it redirects\n"
        )
    );
    assert_eq!(plain.paths().len(), 0, "no request was sent there");
}

#[test]
fn s3_request_is_signed_with_the_aws_variables() {
    let project = packed("");
    let bytes = fs::read(project.path("page-0.8.tar.gz")).expect("our own file");
    let server = Web::start(move |request, _| match request.path.split_once('?') {
        Some(("builds/nightly/page-0.8.tar.gz", _)) => Reply::of(bytes.clone()),
        _ => Reply::status(403),
    });
    let source = "source = \"s3://builds/nightly/page-{{ version }}.tar.gz\"";
    let project = project.with("source = \"page-{{ version }}.tar.gz\"", source);
    let deploy = || project.ship(&["deploy", "inventory.toml"]).any_stderr();
    let refused = deploy().status(2).run();
    assert_eq!(server.paths(), Vec::<String>::new());
    let expected = "there are no S3 credentials in the environment";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    deploy()
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "hunter2")
        .env("AWS_SESSION_TOKEN", "token")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ENDPOINT_URL", server.url(""))
        .run();
    let asked = server.paths();
    let [sums, artifact] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert!(sums.starts_with("builds/nightly/SHA256SUMS?"), "{sums}");
    for part in [
        "builds/nightly/page-0.8.tar.gz?",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=AKIDEXAMPLE%2F",
        "%2Feu-central-1%2Fs3%2Faws4_request",
        "X-Amz-Expires=3600",
        "X-Amz-Security-Token=token",
        "X-Amz-Signature=",
    ] {
        assert!(artifact.contains(part), "{part} in {artifact}");
    }
    assert!(!artifact.contains("hunter2"));
    assert_eq!(project.running(), ["node1:8081 0.8"]);
}
