//! Where artifacts come from: a download breaks, a list says what is right, a signature says whose
//! it is.

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
        sums: Sums::Nowhere,
        ..ArtifactConfig::of(Source::Url(url))
    }
}

fn from_path(path: PathBuf) -> ArtifactConfig {
    ArtifactConfig::of(Source::Path(path))
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

/// Serves bytes by their tag, in parts too, and breaks after so many of them, where `breaks` says
/// so.
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
async fn a_download_that_breaks_goes_on_where_it_broke() {
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
async fn a_download_that_breaks_always_ends_and_the_next_run_goes_on_with_it() {
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
        refusal.contains("(3 attempts); 90000 bytes have come so far; "),
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
async fn what_brings_a_little_each_time_is_gone_on_with_but_not_for_ever() {
    let bench = Bench::new();
    let server = ranged(&bytes(100_000), "\"one\"", |_| Some(1000));
    let refusal = bench.refused(bench.prepare(&from_url(server.url("server"))).await);
    assert!(
        refusal.contains("(50 attempts); 50000 bytes have come so far"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_server_without_ranges_is_asked_from_the_beginning() {
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
async fn what_was_replaced_while_it_was_downloaded_is_never_put_together_of_two() {
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
async fn a_tag_that_may_be_of_other_bytes_is_nothing_to_go_on_with() {
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
async fn an_unreliable_date_is_nothing_to_go_on_with() {
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
async fn what_is_unchanged_costs_one_small_request() {
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
async fn what_was_made_of_an_unchanged_zstd_archive_is_made_once() {
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
async fn half_a_download_that_nobody_goes_on_with_for_a_week_goes() {
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
async fn two_who_download_the_same_at_once_do_not_disturb_each_other() {
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

    // Another ship has half of it, and is at it still.
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
async fn a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
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
        refusal.contains("the server answers 403 Forbidden; see that this machine may read it"),
        "{refusal}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_list_beside_the_source_says_what_is_right() {
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
            "the artifact server is not the one meant: its SHA-256 is {}, but SHA256SUMS says {}; \
             if one of the two was \
             replaced just now, try again; else publish both anew, together",
            sha256(b"bytes"),
            "1".repeat(64)
        )
    );
    let mut config = from_path(source.clone());
    config.sums = Sums::Nowhere;
    bench.prepare(&config).await.unwrap();
    config = from_path(source);
    bench.write("SHA256SUMS", "0000  something else\n");
    bench
        .prepare(&config)
        .await
        .expect("what is no such list says nothing");
}

#[tokio::test]
async fn a_list_that_is_named_must_be_there_and_list_the_source() {
    let bench = Bench::new();
    let source = bench.write("server", "bytes");
    let mut config = from_path(source);
    config.sums = Sums::At(Source::Path(bench.path("sums")));
    assert_eq!(
        bench.refused(bench.prepare(&config).await),
        "cannot read the checksums sums: there is no such file; publish it, or correct `sha256sums`"
    );
    bench.write("sums", "<html></html>");
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.starts_with("sums is no list of SHA-256 sums; "),
        "{refusal}"
    );
    bench.write("sums", format!("{}  another\n", "0".repeat(64)));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.starts_with("sums does not list server; "),
        "{refusal}"
    );
    bench.write("sums", format!("{}  ./server\n", sha256(b"bytes")));
    bench.prepare(&config).await.unwrap();
}

#[tokio::test]
async fn what_a_list_names_is_not_downloaded_where_it_is_kept() {
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
    let config = ArtifactConfig::of(Source::Url(server.url("builds/server?token=t")));
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
    let without = ArtifactConfig::of(Source::Url(server.url("builds/server?token=t&x=1")));
    drop(server.paths());
    let refusal = bench.prepare(&without).await.unwrap_err().to_string();
    assert!(
        refusal.contains("404"),
        "no list is no fault, but no artifact is: {refusal}"
    );
}

#[tokio::test]
async fn a_directory_has_no_sum_and_no_signature() {
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
        "a directory has no SHA-256 of its own; pack it, or leave out `sha256sums`"
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
        "a directory cannot be signed; pack it and sign the archive, or leave out the keys of the \
         signature"
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
async fn only_what_the_holder_of_the_minisign_key_has_signed_is_sent() {
    let bench = Bench::new();
    let keys = || KeyPair::generate_unencrypted_keypair().unwrap();
    let (ours, foreign) = (keys(), keys());
    let mut config = from_path(bench.write("server", "bytes"));
    config.signature = Some(minisigned(&bench, &ours, "server.minisig"));
    assert_eq!(
        bench.refused(bench.prepare(&config).await),
        "the artifact server is not signed: cannot read server.minisig: there is no such file; \
         sign it (minisign -Sm \
         FILE) and publish the signature beside it"
    );
    for (signature, why) in [
        (minisign(&foreign, b"bytes"), "it is signed by another key"),
        (
            minisign(&ours, b"other bytes"),
            "the signature is not of these bytes",
        ),
        (
            minisign(&ours, b"bytes").replace("trusted comment: ", "trusted comment: and "),
            "the signature is not of",
        ),
        (
            "nonsense".to_owned(),
            "the signature is no minisign signature",
        ),
        (String::new(), "the signature is no minisign signature"),
    ] {
        bench.write("server.minisig", signature);
        let refusal = bench.refused(bench.prepare(&config).await);
        let expected =
            format!("the artifact server is not signed as it must be (server.minisig): {why}");
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
async fn a_signature_is_fetched_from_where_the_artifact_is() {
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
        "what nobody vouches for is not even downloaded"
    );
    is_signed.store(1, Ordering::SeqCst);
    bench.prepare(&config).await.unwrap();
}

#[tokio::test]
async fn only_what_an_allowed_signer_has_signed_with_ssh_keygen_is_sent() {
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
        refusal
            .starts_with("the artifact server is not signed: cannot read server.sig: there is no"),
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
            refusal.contains("is not signed as it must be (server.sig): ssh-keygen says: "),
            "{refusal}"
        );
    }
    sign("ours", "file");
    bench.write("server", bytes(300_001));
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(
        refusal.contains("ssh-keygen says: ") && refusal.contains("incorrect signature"),
        "{refusal}"
    );
    bench.write("server", bytes(300_000));
    config.signature = Some(SignatureConfig {
        signer: signer("stranger@example.org"),
        at: at.clone(),
    });
    let refusal = bench.refused(bench.prepare(&config).await);
    assert!(refusal.contains("ssh-keygen says: "), "{refusal}");
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
async fn a_channel_whose_server_never_answers_is_waited_for_half_a_minute() {
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
        error.starts_with(&format!("{url}: "))
            && error.ends_with("see whether the server is up and near"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_download_whose_server_never_answers_ends() {
    let (bench, server) = (Bench::new(), mute());
    let began = tokio::time::Instant::now();
    let config = from_url(format!("http://{}/server", server.local_addr().unwrap()));
    let refusal = bench.refused(prepare_with(&config, &bench.path("cache"), RETRIES).await);
    assert!(
        refusal.contains("it took too long (6 attempts); see whether the server is up and near"),
        "{refusal}"
    );
    assert!(
        began.elapsed() < Duration::from_mins(5),
        "{:?}",
        began.elapsed()
    );
}
