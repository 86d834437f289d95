//! Artifact sources: interrupted downloads, checksum lists, and signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::ExponentialBuilder;
use minisign::KeyPair;
use sha2::{Digest, Sha256};
use ship::artifact::{ArtifactError, Prepared, RETRIES, prepare_with, resolve};
use ship::config::{ArtifactConfig, Channel, MinisignKey, SignatureConfig, Signer, Source, Sums};
use tempfile::TempDir;

use ship_testing::web::{Reply, Request, Web};

const QUICK_RETRIES: ExponentialBuilder = RETRIES
    .with_max_times(2)
    .with_min_delay(Duration::from_millis(5));

/// A directory with sources and a cache.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    async fn prepare(&self, config: &ArtifactConfig) -> Result<Prepared, ArtifactError> {
        prepare_with(config, &self.path("cache"), QUICK_RETRIES).await
    }

    #[track_caller]
    fn refused(&self, result: Result<Prepared, ArtifactError>) -> String {
        assert_eq!(
            self.kept(),
            Vec::<String>::new(),
            "nothing is kept of what is refused"
        );
        result
            .expect_err("it is to be refused")
            .to_string()
            .replace(&format!("{}/", self.0.path().display()), "")
    }

    /// The artifacts that are kept.
    fn kept(&self) -> Vec<String> {
        let mut names = names(&self.path("cache"));
        names.retain(|name| name != "downloads");
        names
    }

    /// The endings of the files of downloads.
    fn downloads(&self) -> Vec<String> {
        let ending = |name: String| name.rsplit('.').next().unwrap().to_owned();
        let mut endings: Vec<_> = names(&self.path("cache/downloads"))
            .into_iter()
            .map(ending)
            .collect();
        endings.sort();
        endings
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn from_url(url: String) -> ArtifactConfig {
    ArtifactConfig {
        sums: Sums::Disabled,
        ..ArtifactConfig::new(Source::Url(url))
    }
}

fn from_path(path: PathBuf) -> ArtifactConfig {
    ArtifactConfig::new(Source::Path(path))
}

/// Bytes without any order in them.
fn bytes(size: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Serves bytes with an entity tag and in ranges. `breaks` limits the bytes of a response.
fn ranged(
    body: &[u8],
    tag: &str,
    breaks: impl Fn(usize) -> Option<usize> + Send + Sync + 'static,
) -> Web {
    let (body, tag) = (body.to_vec(), tag.to_owned());
    Web::start(move |request: &Request, before| {
        let is_same = request.header("if-range") == Some(tag.as_str());
        let reply = Reply::of(body.clone());
        let reply = match request.range_start() {
            Some(from) if is_same => reply.part(from),
            _ if request.header("if-none-match") == Some(tag.as_str()) => Reply::status(304),
            _ => reply,
        };
        let reply = reply.header("ETag", &tag);
        match breaks(before) {
            Some(bytes) => reply.breaking_after(bytes),
            None => reply,
        }
    })
}

#[tokio::test]
async fn interrupted_download_is_resumed() {
    let bench = Bench::new();
    let body = bytes(1_000_000);
    let server = ranged(&body, "\"one\"", |before| {
        [900_000, 50_000].get(before).copied()
    });
    let prepared = bench
        .prepare(&from_url(server.url("server")))
        .await
        .unwrap();
    assert_eq!(fs::read(prepared.path).unwrap(), body);
    let ranges: Vec<_> = server.requests().iter().map(Request::range_start).collect();
    assert_eq!(ranges, [None, Some(900_000), Some(950_000)]);
    assert_eq!(bench.downloads(), ["known"], "the half of it is gone");
}

#[tokio::test]
async fn repeatedly_interrupted_download_is_resumed_by_the_next_run() {
    let bench = Bench::new();
    let body = bytes(100_000);
    let is_well = Arc::new(AtomicUsize::new(0));
    let server = {
        let is_well = Arc::clone(&is_well);
        ranged(&body, "\"one\"", move |before| {
            match (is_well.load(Ordering::SeqCst), before) {
                (0, 0) => Some(90_000),
                (0, _) => Some(0),
                _ => None,
            }
        })
    };
    let config = from_url(server.url("server?token=hunter2"));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.starts_with(&format!("cannot download {}: ", server.url("server"))),
        "{refusal}"
    );
    assert!(
        refusal.contains("(3 attempts); 90000 bytes received so far\nhint: "),
        "{refusal}"
    );
    assert!(!refusal.contains("hunter2"), "{refusal}");
    assert_eq!(server.requests().len(), 3);

    is_well.store(1, Ordering::SeqCst);
    let prepared = bench.prepare(&config).await.unwrap();
    assert_eq!(fs::read(prepared.path).unwrap(), body);
    assert_eq!(server.requests()[0].range_start(), Some(90_000));
}

#[tokio::test]
async fn slow_progress_is_retried_up_to_a_limit() {
    let bench = Bench::new();
    let server = ranged(&bytes(100_000), "\"one\"", |_| Some(1000));
    let refusal = bench.refused(bench.prepare(&from_url(server.url("server"))).await);
    assert!(
        refusal.contains("(50 attempts); 50000 bytes received so far"),
        "{refusal}"
    );
}

#[tokio::test]
async fn download_restarts_without_range_support() {
    let bench = Bench::new();
    let body = bytes(200_000);
    let whole = body.clone();
    let server = Web::start(move |_, before| {
        let reply = Reply::of(whole.clone());
        if before == 0 {
            reply.breaking_after(150_000)
        } else {
            reply
        }
    });
    let prepared = bench
        .prepare(&from_url(server.url("server")))
        .await
        .unwrap();
    assert_eq!(fs::read(prepared.path).unwrap(), body);
    let asked = server.requests();
    assert_eq!(
        asked.iter().map(Request::range_start).collect::<Vec<_>>(),
        [None, None]
    );
}

#[tokio::test]
async fn download_never_mixes_two_versions() {
    for sends_wrong_part in [false, true] {
        let bench = Bench::new();
        let (old, new) = (bytes(100_000), vec![7; 120_000]);
        let bodies = (old, new.clone());
        let server = Web::start(move |request, before| match before {
            0 => Reply::of(bodies.0.clone())
                .header("ETag", "\"old\"")
                .breaking_after(90_000),
            // One that thinks nothing of `If-Range`, and sends another part.
            1 if sends_wrong_part => Reply::of(bodies.1.clone())
                .part(1000)
                .header("ETag", "\"new\""),
            _ => {
                assert_eq!(request.range_start(), (before == 1).then_some(90_000));
                Reply::of(bodies.1.clone()).header("ETag", "\"new\"")
            }
        });
        let prepared = bench
            .prepare(&from_url(server.url("server")))
            .await
            .unwrap();
        assert_eq!(fs::read(prepared.path).unwrap(), new, "{sends_wrong_part}");
    }
}

#[tokio::test]
async fn weak_etag_does_not_resume_a_download() {
    let bench = Bench::new();
    let server = ranged(&bytes(100_000), "W/\"one\"", |before| {
        (before == 0).then_some(90_000)
    });
    bench
        .prepare(&from_url(server.url("server")))
        .await
        .unwrap();
    assert_eq!(
        server
            .requests()
            .iter()
            .map(Request::range_start)
            .collect::<Vec<_>>(),
        [None, None]
    );
}

#[tokio::test]
async fn recent_date_does_not_resume_a_download() {
    for (date, expected) in [
        ("Thu, 26 Nov 2026 02:00:30 GMT", None),
        ("Thu, 26 Nov 2026 02:05:00 GMT", Some(90_000)),
    ] {
        let bench = Bench::new();
        let body = bytes(100_000);
        let server = Web::start(move |request, before| {
            let reply = Reply::of(body.clone()).header("Date", date);
            let reply = reply.header("Last-Modified", "Thu, 26 Nov 2026 02:00:00 GMT");
            match (request.range_start(), before) {
                (_, 0) => reply.breaking_after(90_000),
                (Some(from), _) => reply.part(from),
                (None, _) => reply,
            }
        });
        bench
            .prepare(&from_url(server.url("server")))
            .await
            .unwrap();
        assert_eq!(server.requests()[1].range_start(), expected, "{date}");
    }
}

#[tokio::test]
async fn unchanged_artifact_needs_one_conditional_request() {
    let bench = Bench::new();
    let server = ranged(&bytes(100_000), "W/\"one\"", |_| None);
    let config = from_url(server.url("nightly"));
    let first = bench.prepare(&config).await.unwrap();
    assert_eq!(server.requests()[0].header("if-none-match"), None);
    assert_eq!(bench.prepare(&config).await.unwrap(), first);
    let asked = server.requests();
    assert_eq!(
        (asked.len(), asked[0].header("if-none-match")),
        (1, Some("W/\"one\""))
    );

    fs::write(&first.path, "what has gone bad").unwrap();
    assert_eq!(bench.prepare(&config).await.unwrap(), first);
    assert_eq!(
        server.requests()[0].header("if-none-match"),
        None,
        "it is fetched again"
    );
}

#[tokio::test]
async fn unchanged_zstd_archive_is_converted_once() {
    let bench = Bench::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    tar.append_data(&mut header, "run", b"#!/".as_slice())
        .unwrap();
    let tar = tar.into_inner().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(
        tar.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    let server = ranged(&zstd, "\"one\"", |_| None);
    let mut config = from_url(server.url("app.tar.zst"));
    let first = bench.prepare(&config).await.unwrap();
    assert_eq!(bench.prepare(&config).await.unwrap(), first);
    assert!(server.requests()[1].header("if-none-match").is_some());
    config.sha256 = Some(sha256(&zstd));
    assert_eq!(bench.prepare(&config).await.unwrap(), first);
    assert_eq!(server.requests().len(), 0, "its digest is known");

    let keys = KeyPair::generate_unencrypted_keypair().unwrap();
    bench.write("app.minisig", minisign(&keys, &zstd));
    config.signature = Some(minisigned(&bench, &keys, "app.minisig"));
    assert_eq!(bench.prepare(&config).await.unwrap(), first);
    assert_eq!(
        server.requests().len(),
        1,
        "a signature is of the bytes that were published"
    );
}

#[tokio::test]
async fn partial_downloads_are_removed_after_a_week() {
    let bench = Bench::new();
    let source = bench.write("server", "bytes");
    for (name, days) in [("old.part", 8), ("old.tag", 8), ("new.part", 6)] {
        let file =
            fs::File::create(bench.write(&format!("cache/downloads/{name}"), "half")).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_hours(24 * days))
            .unwrap();
    }
    bench.prepare(&from_path(source)).await.unwrap();
    assert_eq!(names(&bench.path("cache/downloads")), ["new.part"]);
}

#[tokio::test]
async fn concurrent_downloads_do_not_interfere() {
    let bench = Bench::new();
    let body = bytes(3_000_000);
    let server = ranged(&body, "\"one\"", |before| (before < 4).then_some(1_000_000));
    let config = from_url(server.url("server"));
    let (one, two, three) = tokio::join!(
        bench.prepare(&config),
        bench.prepare(&config),
        bench.prepare(&config)
    );
    for prepared in [one, two, three] {
        assert_eq!(
            sha256(&fs::read(prepared.unwrap().path).unwrap()),
            sha256(&body)
        );
    }
    assert_eq!(bench.downloads(), ["known"]);

    // Another ship process is still downloading it.
    let other = Bench::new();
    let half = other.write(
        &format!(
            "cache/downloads/{}.part",
            sha256(server.url("server").as_bytes())
        ),
        "half",
    );
    let held = fs::File::open(&half).unwrap();
    held.lock().unwrap();
    let prepared = other.prepare(&config).await.unwrap();
    assert_eq!(sha256(&fs::read(prepared.path).unwrap()), sha256(&body));
    assert_eq!(fs::read_to_string(&half).unwrap(), "half");
}

#[tokio::test]
async fn busy_server_is_retried_and_a_refusal_is_not() {
    let bench = Bench::new();
    let server = Web::start(|_, before| {
        if before < 2 {
            Reply::status(503)
        } else {
            Reply::of("bytes")
        }
    });
    bench
        .prepare(&from_url(server.url("server")))
        .await
        .unwrap();
    assert_eq!(server.requests().len(), 3);
    let (bench, server) = (Bench::new(), Web::start(|_, _| Reply::status(403)));
    let refusal = bench.refused(bench.prepare(&from_url(server.url("server"))).await);
    assert!(
        refusal.contains(
            "the server returned 403 Forbidden\nhint: check that this machine has access"
        ),
        "{refusal}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn checksum_list_next_to_the_source_is_used() {
    let bench = Bench::new();
    let source = bench.write("server", "bytes");
    let list = |sha256: &str| {
        bench.write(
            "SHA256SUMS",
            format!("{}  other\n{sha256} *server\n", "0".repeat(64)),
        )
    };
    list(&sha256(b"bytes"));
    bench.prepare(&from_path(source.clone())).await.unwrap();
    list(&"1".repeat(64));
    fs::remove_dir_all(bench.path("cache")).unwrap();
    assert_eq!(
        bench.refused(bench.prepare(&from_path(source.clone())).await),
        format!(
            "the artifact server has the wrong SHA-256: SHA256SUMS lists {}, found {}\nhint: \
             if one of the two was just replaced, retry; otherwise publish both again, together",
            "1".repeat(64),
            sha256(b"bytes")
        )
    );
    let mut config = from_path(source.clone());
    config.sums = Sums::Disabled;
    bench.prepare(&config).await.unwrap();
    config = from_path(source);
    bench.write("SHA256SUMS", "0000  something else\n");
    bench
        .prepare(&config)
        .await
        .expect("other lists contain no checksum");
}

#[tokio::test]
async fn named_checksum_list_must_exist_and_contain_the_source() {
    let bench = Bench::new();
    let source = bench.write("server", "bytes");
    let mut config = from_path(source);
    config.sums = Sums::At(Source::Path(bench.path("sums")));
    assert_eq!(
        bench.refused(bench.prepare(&config).await),
        "cannot read the checksums sums: the file does not exist\nhint: publish it, or correct `sha256sums`"
    );
    bench.write("sums", "<html></html>");
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.starts_with("sums is not a list of SHA-256 checksums\nhint: "),
        "{refusal}"
    );
    bench.write("sums", format!("{}  another\n", "0".repeat(64)));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.starts_with("sums does not list server\nhint: "),
        "{refusal}"
    );
    bench.write("sums", format!("{}  ./server\n", sha256(b"bytes")));
    bench.prepare(&config).await.unwrap();
}

#[tokio::test]
async fn listed_artifact_in_the_cache_is_not_downloaded() {
    let bench = Bench::new();
    let published = Arc::new(Mutex::new(b"one".to_vec()));
    let server = {
        let published = Arc::clone(&published);
        Web::start(move |request, _| {
            let bytes = published.lock().unwrap().clone();
            match request.path.as_str() {
                "builds/SHA256SUMS?token=t" => Reply::of(format!("{}  server\n", sha256(&bytes))),
                "builds/server?token=t" => Reply::of(bytes),
                _ => Reply::status(404),
            }
        })
    };
    let config = ArtifactConfig::new(Source::Url(server.url("builds/server?token=t")));
    bench.prepare(&config).await.unwrap();
    assert_eq!(
        server.paths(),
        ["builds/SHA256SUMS?token=t", "builds/server?token=t"]
    );
    bench.prepare(&config).await.unwrap();
    assert_eq!(server.paths(), ["builds/SHA256SUMS?token=t"]);
    *published.lock().unwrap() = b"two".to_vec();
    let prepared = bench.prepare(&config).await.unwrap();
    assert_eq!(fs::read(prepared.path).unwrap(), b"two");
    let without = ArtifactConfig::new(Source::Url(server.url("builds/server?token=t&x=1")));
    drop(server.paths());
    let refusal = bench.prepare(&without).await.unwrap_err().to_string();
    assert!(
        refusal.contains("404"),
        "a missing list is not an error, but a missing artifact is: {refusal}"
    );
}

#[tokio::test]
async fn directory_cannot_have_checksum_or_signature() {
    let bench = Bench::new();
    bench.write("app/run", "bytes");
    bench.write("SHA256SUMS", format!("{}  app\n", "0".repeat(64)));
    let mut config = from_path(bench.path("app"));
    bench.prepare(&config).await.expect("it is not looked for");
    fs::remove_dir_all(bench.path("cache")).unwrap();
    config.sums = Sums::At(Source::Path(bench.path("SHA256SUMS")));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert_eq!(
        refusal,
        "a directory cannot have a SHA-256\nhint: pack it, or remove `sha256sums`"
    );
    config.sums = Sums::Beside;
    config.signature = Some(minisigned(
        &bench,
        &KeyPair::generate_unencrypted_keypair().unwrap(),
        "app.minisig",
    ));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert_eq!(
        refusal,
        "a directory cannot be signed\nhint: pack it and sign the archive, or remove the \
         signature keys from the playbook"
    );
}

fn minisigned(bench: &Bench, keys: &KeyPair, signature: &str) -> SignatureConfig {
    let key = MinisignKey::Text(keys.pk.to_base64());
    SignatureConfig {
        signer: Signer::Minisign(key),
        at: Source::Path(bench.path(signature)),
    }
}

fn minisign(keys: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &keys.sk, bytes, None, None)
        .unwrap()
        .into_string()
}

#[tokio::test]
async fn minisign_signature_is_required() {
    let bench = Bench::new();
    let keys = || KeyPair::generate_unencrypted_keypair().unwrap();
    let (ours, foreign) = (keys(), keys());
    let mut config = from_path(bench.write("server", "bytes"));
    config.signature = Some(minisigned(&bench, &ours, "server.minisig"));
    assert_eq!(
        bench.refused(bench.prepare(&config).await),
        "the artifact server is not signed: cannot read server.minisig: the file does not exist\nhint: \
         sign it (minisign -Sm \
         FILE) and publish the signature beside it"
    );
    for (signature, why) in [
        (
            minisign(&foreign, b"bytes"),
            "it is signed with another key",
        ),
        (
            minisign(&ours, b"other bytes"),
            "the signature does not match the content",
        ),
        (
            minisign(&ours, b"bytes").replace("trusted comment: ", "trusted comment: and "),
            "the signature does not match",
        ),
        (
            "nonsense".to_owned(),
            "the signature is not a minisign signature",
        ),
        (String::new(), "the signature is not a minisign signature"),
    ] {
        bench.write("server.minisig", signature);
        let refusal = bench.refused(bench.prepare(&config).await);
        let expected =
            format!("the artifact server does not have a valid signature (server.minisig): {why}");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
    bench.write("server.minisig", minisign(&ours, b"bytes"));
    bench.prepare(&config).await.unwrap();
    fs::remove_file(bench.path("server.minisig")).unwrap();
    let refusal = bench.prepare(&config).await.unwrap_err().to_string();
    assert!(
        refusal.contains("is not signed"),
        "not even if it was sent before: {refusal}"
    );

    let file = bench.write("ours.pub", ours.pk.to_box().unwrap().into_string());
    bench.write("server.minisig", minisign(&ours, b"bytes"));
    let signature = config.signature.as_mut().unwrap();
    signature.signer = Signer::Minisign(MinisignKey::File(file));
    bench.prepare(&config).await.unwrap();
}

#[tokio::test]
async fn signature_is_fetched_next_to_the_artifact() {
    let bench = Bench::new();
    let keys = KeyPair::generate_unencrypted_keypair().unwrap();
    let signature = minisign(&keys, b"bytes");
    let is_signed = Arc::new(AtomicUsize::new(0));
    let server = {
        let is_signed = Arc::clone(&is_signed);
        Web::start(move |request, _| match request.path.as_str() {
            "server" => Reply::of("bytes").header("ETag", "\"one\""),
            "server.minisig" if is_signed.load(Ordering::SeqCst) == 1 => {
                Reply::of(signature.clone())
            }
            _ => Reply::status(404),
        })
    };
    let mut config = from_url(server.url("server"));
    let at = config.source.suffixed(".minisig");
    config.signature = Some(SignatureConfig {
        signer: Signer::Minisign(MinisignKey::Text(keys.pk.to_base64())),
        at,
    });
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.contains("is not signed: cannot read http://"),
        "{refusal}"
    );
    assert_eq!(
        server.paths(),
        ["server.minisig"],
        "an unsigned artifact is not downloaded"
    );
    is_signed.store(1, Ordering::SeqCst);
    bench.prepare(&config).await.unwrap();
}

#[tokio::test]
async fn ssh_signature_of_an_allowed_signer_is_required() {
    let bench = Bench::new();
    let keygen = |args: &[&str]| {
        let done = Command::new("ssh-keygen")
            .args(args)
            .current_dir(bench.0.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    for key in ["ours", "foreign"] {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
    }
    let public = fs::read_to_string(bench.path("ours.pub")).unwrap();
    let allowed_signers = bench.write("allowed_signers", format!("ci@example.org {public}"));
    let mut config = from_path(bench.write("server", bytes(300_000)));
    let signer = |name: &str| Signer::Ssh {
        allowed_signers: allowed_signers.clone(),
        name: name.to_owned(),
        namespace: "file".to_owned(),
    };
    let at = Source::Path(bench.path("server.sig"));
    config.signature = Some(SignatureConfig {
        signer: signer("ci@example.org"),
        at: at.clone(),
    });
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.starts_with(
            "the artifact server is not signed: cannot read server.sig: the file does"
        ),
        "{refusal}"
    );
    let sign = |key: &str, namespace: &str| {
        let _ = fs::remove_file(bench.path("server.sig"));
        keygen(&["-q", "-Y", "sign", "-n", namespace, "-f", key, "server"]);
    };
    for (key, namespace) in [("foreign", "file"), ("ours", "email")] {
        sign(key, namespace);
        let refusal = bench.refused(bench.prepare(&config).await);
        assert!(
            refusal.contains("does not have a valid signature (server.sig): ssh-keygen printed: "),
            "{refusal}"
        );
    }
    sign("ours", "file");
    bench.write("server", bytes(300_001));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.contains("ssh-keygen printed: ") && refusal.contains("incorrect signature"),
        "{refusal}"
    );
    bench.write("server", bytes(300_000));
    config.signature = Some(SignatureConfig {
        signer: signer("stranger@example.org"),
        at: at.clone(),
    });
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(refusal.contains("ssh-keygen printed: "), "{refusal}");
    config.signature = Some(SignatureConfig {
        signer: signer("ci@example.org"),
        at,
    });
    bench.prepare(&config).await.unwrap();
}

/// A server that takes a question and never answers.
fn mute() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test(start_paused = true)]
async fn channel_times_out_after_half_a_minute() {
    let server = mute();
    let url = format!("http://{}/latest.txt", server.local_addr().unwrap());
    let began = tokio::time::Instant::now();
    let error = resolve(&Channel::Text(Source::Url(url.clone())), RETRIES)
        .await
        .unwrap_err();
    assert!(
        began.elapsed() <= Duration::from_secs(31),
        "{:?}",
        began.elapsed()
    );
    let error = error.to_string();
    assert!(
        error.starts_with(&format!("{url}: ")) && error.ends_with("check that the server is up"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn download_of_a_silent_server_times_out() {
    let (bench, server) = (Bench::new(), mute());
    let began = tokio::time::Instant::now();
    let config = from_url(format!("http://{}/server", server.local_addr().unwrap()));
    let refusal = bench.refused(prepare_with(&config, &bench.path("cache"), RETRIES).await);
    assert!(
        refusal.contains("timed out (6 attempts)\nhint: check that the server is up"),
        "{refusal}"
    );
    assert!(
        began.elapsed() < Duration::from_mins(5),
        "{:?}",
        began.elapsed()
    );
}
