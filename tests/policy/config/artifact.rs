//! `[artifact]`: its keys, and the channels.

use std::path::PathBuf;

use ship::config::{ArtifactConfig, Channel, Fetch, MinisignKey, Signer, Source, Sums};
use snapbox::{IntoData, assert_data_eq, str};

use super::files;

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// The `[artifact]` table with a local source, then these lines.
fn with(lines: &str) -> ArtifactConfig {
    files()
        .playbook("[readiness]", &format!("{lines}\n[readiness]"))
        .project()
        .playbook
        .artifact
}

/// The `[artifact]` table with a URL as its source, then these lines.
fn from(url: &str, lines: &str) -> ArtifactConfig {
    let files = files().playbook("web-{{ version }}.tar.gz", url);
    files
        .playbook("[readiness]", &format!("{lines}\n[readiness]"))
        .project()
        .playbook
        .artifact
}

fn refused(lines: &str) -> String {
    files()
        .playbook("[readiness]", &format!("{lines}\n[readiness]"))
        .report()
}

#[test]
fn artifact_needs_only_a_source() {
    let artifact = with("");
    assert_eq!((artifact.fetch, artifact.sums), (Fetch::Push, Sums::Beside));
    assert_eq!((artifact.signature, artifact.channels.len()), (None, 0));
}

#[test]
fn sha256sums_is_a_name_a_path_or_a_url() {
    let url = "https://me:pw@ci.example.org/builds/web-{{ version }}.tar.gz?token=t";
    let path = |path: &str| Sums::At(Source::Path(PathBuf::from(path)));
    let at = |url: &str| Sums::At(Source::Url(url.to_owned()));
    assert_eq!(
        with("sha256sums = \"sums-{{ version }}.txt\"").sums,
        path("sums-0.8.txt")
    );
    assert_eq!(with("sha256sums = \"there/sums\"").sums, path("there/sums"));
    assert_eq!(
        with("sha256sums = \"https://a.org/sums\"").sums,
        at("https://a.org/sums")
    );
    assert_eq!(with("sha256sums = false").sums, Sums::Disabled);
    assert_eq!(with("sha256sums = true").sums, Sums::Beside);
    assert_eq!(
        from(url, "sha256sums = \"sums\"").sums,
        at("https://me:pw@ci.example.org/builds/sums?token=t"),
        "what the URL asks is asked there too"
    );
    assert_eq!(from(url, "sha256sums = \"./sums\"").sums, path("./sums"));
}

#[test]
fn sha256_and_sha256sums_are_exclusive() {
    let lines = format!("sha256 = \"{}\"\nsha256sums = \"sums\"", "ab".repeat(32));
    assert_data_eq!(
        refused(&lines),
        str![[r#"
error: `sha256sums` cannot be used together with `sha256`
  --> web.toml:11:1
   |
11 | sha256sums = "sums"
   | ^^^^^^^^^^
   |
   = help: leave out one of the two
"#]]
        .raw()
    );
}

#[test]
fn signature_is_beside_the_source_by_default() {
    let signature = |lines: &str| with(lines).signature.unwrap();
    let minisign = signature(&format!("minisign_key = \"{KEY}\""));
    assert_eq!(
        minisign.signer,
        Signer::Minisign(MinisignKey::Text(KEY.to_owned()))
    );
    assert_eq!(
        minisign.at,
        Source::Path(PathBuf::from("web-0.8.tar.gz.minisig"))
    );
    let file = signature("minisign_key = \"keys/ci.pub\"\nsignature = \"web.sig\"");
    assert_eq!(
        file.signer,
        Signer::Minisign(MinisignKey::File(PathBuf::from("keys/ci.pub")))
    );
    assert_eq!(file.at, Source::Path(PathBuf::from("web.sig")));
    let ssh = signature("allowed_signers = \"allowed\"\nsigner = \"ci@example.org\"");
    let of = |namespace: &str| Signer::Ssh {
        allowed_signers: PathBuf::from("allowed"),
        name: "ci@example.org".to_owned(),
        namespace: namespace.to_owned(),
    };
    assert_eq!(
        (ssh.signer, ssh.at),
        (
            of("file"),
            Source::Path(PathBuf::from("web-0.8.tar.gz.sig"))
        )
    );
    let lines =
        "allowed_signers = \"allowed\"\nsigner = \"ci@example.org\"\nnamespace = \"release\"";
    assert_eq!(signature(lines).signer, of("release"));
    let url = from(
        "https://a.org/web?x=1",
        &format!("minisign_key = \"{KEY}\""),
    )
    .signature
    .unwrap();
    assert_eq!(
        url.at,
        Source::Url("https://a.org/web.minisig?x=1".to_owned())
    );
}

#[test]
fn invalid_minisign_key_is_refused() {
    let wrong = format!("minisign_key = \"{}!\"", &KEY[..55]);
    assert_data_eq!(
        refused(&wrong),
        str![[r#"
error: `minisign_key` is not a valid minisign public key
  --> web.toml:10:16
   |
10 | minisign_key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO!"
   |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: write the second line of the .pub file, or the path of the file
"#]]
        .raw()
    );
}

#[test]
fn incomplete_signature_settings_are_refused() {
    let first = |report: String| report.lines().next().unwrap_or_default().to_owned();
    for (lines, expected) in [
        (
            "allowed_signers = \"a\"",
            "error: `allowed_signers` needs a `signer`, who must have signed the artifact",
        ),
        (
            "signer = \"ci\"",
            "error: `signer` needs `allowed_signers`, the file with the key of the signer",
        ),
        (
            "namespace = \"file\"",
            "error: `namespace` can only be used with `allowed_signers` and `signer`",
        ),
        (
            "signature = \"a.sig\"",
            "error: `signature` needs the key of the signer",
        ),
        (
            "minisign_key = \"a.pub\"\nallowed_signers = \"a\"\nsigner = \"ci\"",
            "error: `allowed_signers` cannot be used together with `minisign_key`",
        ),
    ] {
        assert_eq!(first(refused(lines)), expected);
    }
}

#[test]
fn pull_needs_a_url_that_hosts_can_unpack() {
    for source in ["https://a.org/web-{{ version }}.tar.gz", "http://a.org/web"] {
        assert_eq!(from(source, "fetch = \"pull\"").fetch, Fetch::Pull);
    }
    assert_data_eq!(
        refused("fetch = \"pull\""),
        str![[r#"
error: `fetch` can only be "pull" if `source` is an http or https URL
  --> web.toml:10:9
   |
10 | fetch = "pull"
   |         ^^^^^^
   |
   = help: write fetch = "push", or leave it out, to copy the artifact from this machine
"#]]
        .raw()
    );
    let zstd = files().playbook("web-{{ version }}.tar.gz", "https://a.org/web.tar.zst");
    assert_data_eq!(
        zstd.playbook("[readiness]", "fetch = \"pull\"\n[readiness]")
            .report(),
        str![[r#"
error: `fetch` cannot be "pull" for a zstd archive, because hosts can only unpack gzip
  --> web.toml:10:9
   |
10 | fetch = "pull"
   |         ^^^^^^
   |
   = help: publish a .tar.gz archive, or write fetch = "push"
"#]]
        .raw()
    );
}

#[test]
fn channel_is_a_text_a_value_or_the_newest_file() {
    let channels = with(
        "[artifact.channels]\n\
         nightly = \"https://ci.example.org/latest.txt\"\n\
         weekly = \"latest/weekly\"\n\
         stable = { source = \"https://ci.example.org/latest.json\", value = \
         \"$.builds[0].version\" }\n\
         local = { newest = \"builds/web-{{ version }}.tar.gz\" }\n\
         here = { newest = \"{{version}}\" }\n",
    )
    .channels;
    let url = |text: &str| Source::Url(text.to_owned());
    let newest = |directory: &str, prefix: &str, suffix: &str| Channel::Newest {
        directory: PathBuf::from(directory),
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
    };
    assert_eq!(
        channels["nightly"],
        Channel::Text(url("https://ci.example.org/latest.txt"))
    );
    assert_eq!(
        channels["weekly"],
        Channel::Text(Source::Path(PathBuf::from("latest/weekly")))
    );
    let (source, pointer) = (
        url("https://ci.example.org/latest.json"),
        "/builds/0/version".to_owned(),
    );
    assert_eq!(channels["stable"], Channel::Json { source, pointer });
    assert_eq!(channels["local"], newest("builds", "web-", ".tar.gz"));
    assert_eq!(channels["here"], newest(".", "", ""));
}

#[test]
fn invalid_channel_is_refused_with_examples() {
    assert_data_eq!(
        refused("[artifact.channels]\nnightly = 5"),
        str![[r#"
error: `nightly` of `channels` must be a URL, a path or a table, not a whole number
  --> web.toml:11:11
   |
11 | nightly = 5
   |           ^
   |
   = help: for example "https://ci.example.org/latest.txt", { source = "https://ci.example.org/latest.json", value = "$.version" } or { newest = "builds/testpage-{{ version }}.tar.gz" }
"#]]
        .raw()
    );
    let first = |line: &str| {
        let report = refused(&format!("[artifact.channels]\n{line}"));
        report.lines().next().unwrap_or_default().to_owned()
    };
    for (line, expected) in [
        (
            "nightly = \"https://a.org/{{ version }}\"",
            "`nightly` of `channels` cannot contain a template, because ship reads it to find the version",
        ),
        (
            "nightly = \"ftp://a.org/latest\"",
            "`nightly` of `channels` has an unsupported scheme: `ftp`",
        ),
        (
            "\"a b\" = \"latest\"",
            "`channels` cannot contain ` `: `a b`",
        ),
        (
            "nightly = { source = \"latest.json\" }",
            "missing key `value` in a channel",
        ),
        (
            "nightly = { value = \"$.version\" }",
            "missing key `source` in a channel",
        ),
        (
            "nightly = { source = \"a.json\", value = \"version\" }",
            "`value` is not a path to a value: `version`",
        ),
        (
            "nightly = { newest = \"builds/web.tar.gz\" }",
            "`newest` must contain `{{ version }}` exactly once",
        ),
        (
            "nightly = { newest = \"{{ version }}/web\" }",
            "`newest` must contain `{{ version }}` exactly once, in the file name",
        ),
        (
            "nightly = { newest = \"http://a.org/{{ version }}\" }",
            "`newest` must be a path, because ship cannot list the files of a server",
        ),
        (
            "nightly = { newest = \"web-{{ version }}\", source = \"a\" }",
            "unknown key `source` in a channel",
        ),
    ] {
        assert_eq!(first(line), format!("error: {expected}"));
    }
}
