//! Artifacts: what is sent is whole, safe to unpack, named by its content, and kept once.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use ship::artifact::{ArtifactError, Prepared, RETRIES, prepare_with};
use ship::config::{ArtifactConfig, Overrides, Source, Sums, load_with};
use ship::core::release::ArtifactForm;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A directory with sources and a cache.
struct Bench {
    directory: TempDir,
}

fn bench() -> Bench {
    Bench {
        directory: tempfile::tempdir().unwrap(),
    }
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn cache(&self) -> PathBuf {
        self.path("state/cache")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn cached(&self) -> Vec<String> {
        let names = fs::read_dir(self.cache())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "downloads").collect()
    }

    async fn prepare(&self, config: &ArtifactConfig) -> Result<Prepared, ArtifactError> {
        prepare_with(
            config,
            &self.cache(),
            RETRIES
                .with_max_times(1)
                .with_min_delay(Duration::from_millis(10)),
        )
        .await
    }

    /// What is wrong with an artifact, with this bench's directory left out.
    async fn refusal(&self, config: &ArtifactConfig) -> String {
        let error = self
            .prepare(config)
            .await
            .expect_err("this artifact is to be refused");
        assert!(
            self.cached().is_empty(),
            "nothing is kept of what was refused"
        );
        error
            .to_string()
            .replace(&format!("{}/", self.directory.path().display()), "")
    }
}

fn from_path(path: impl Into<PathBuf>) -> ArtifactConfig {
    from(Source::Path(path.into()))
}

fn from_url(url: String) -> ArtifactConfig {
    from(Source::Url(url))
}

fn from(source: Source) -> ArtifactConfig {
    ArtifactConfig::new(source)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An entry of a tar archive, written as it is, whatever tar's library thinks of it.
struct Entry(&'static str, EntryType, &'static str);

fn file(path: &'static str) -> Entry {
    Entry(path, EntryType::Regular, "content")
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for Entry(path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        let data = if *kind == EntryType::Regular {
            *content
        } else {
            ""
        };
        if data.is_empty() {
            header.as_gnu_mut().unwrap().linkname[..content.len()]
                .copy_from_slice(content.as_bytes());
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(prepared: &Prepared) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(&prepared.path).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn sha256sum(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[tokio::test]
async fn prepare_computes_the_unpacked_size() {
    let bench = bench();
    let source = bench.directory.path().join("app");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("zeros"), vec![0; 1 << 20]).unwrap();
    let prepared = bench.prepare(&from_path(&source)).await.unwrap();
    assert!(
        prepared.artifact.size_bytes < 1 << 14,
        "{}",
        prepared.artifact.size_bytes
    );
    assert!(
        (1 << 20..(1 << 20) + (1 << 15)).contains(&prepared.unpacked_bytes),
        "{}",
        prepared.unpacked_bytes
    );
    let file = bench
        .prepare(&from_path(source.join("zeros")))
        .await
        .unwrap();
    assert_eq!(
        (file.artifact.size_bytes, file.unpacked_bytes),
        (1 << 20, 0)
    );
}

#[tokio::test]
async fn gzip_archive_is_sent_unchanged() {
    let bench = bench();
    let bytes = gzipped(&archive(&[file("app/run")]));
    let source = bench.write("app.tar.gz", &bytes);
    let mut config = from_path(&source);
    config.strip_components = 1;
    config.sha256 = Some(sha256sum(&source));
    let prepared = bench.prepare(&config).await.unwrap();
    assert_eq!(prepared.artifact.form, ArtifactForm::TarGz);
    assert_eq!(prepared.artifact.sha256, sha256sum(&source));
    assert_eq!(prepared.artifact.size_bytes, bytes.len() as u64);
    assert_eq!(prepared.artifact.strip_components, 1);
    assert_eq!(fs::read(&prepared.path).unwrap(), bytes);
}

#[tokio::test]
async fn zstd_archive_is_converted_to_gzip_and_checked_by_its_own_digest() {
    let bench = bench();
    let tar = archive(&[file("run"), file("lib/a")]);
    let (first, second) = tar.split_at(700);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let source = bench.write(
        "app.tar.zst",
        [zstd(first), skippable.to_vec(), zstd(second)].concat(),
    );
    let config = ArtifactConfig {
        sha256: Some(sha256sum(&source)),
        ..from_path(&source)
    };
    let prepared = bench.prepare(&config).await.unwrap();
    assert_eq!(prepared.artifact.form, ArtifactForm::TarGz);
    assert_eq!(prepared.artifact.sha256, sha256sum(&prepared.path));
    assert_eq!(unpacked(&prepared), tar);
}

#[tokio::test]
async fn single_file_is_sent_under_its_name() {
    let bench = bench();
    let source = bench.write("server", "#!/bin/sh\n");
    let config = ArtifactConfig {
        strip_components: 2,
        ..from_path(&source)
    };
    let prepared = bench.prepare(&config).await.unwrap();
    assert_eq!(
        prepared.artifact.form,
        ArtifactForm::File("server".to_owned())
    );
    assert_eq!(
        prepared.artifact.strip_components, 0,
        "there is nothing to strip"
    );
    assert_eq!(fs::read(&prepared.path).unwrap(), b"#!/bin/sh\n");
}

#[tokio::test]
async fn directory_digest_depends_only_on_its_content() {
    let bench = bench();
    let make = |root: &str, names: &[&str]| {
        for name in names {
            bench.write(&format!("{root}/{name}"), name);
        }
        fs::create_dir_all(bench.path(&format!("{root}/empty"))).unwrap();
        symlink("../run", bench.path(&format!("{root}/lib/link"))).unwrap();
    };
    make("one", &["run", "lib/a", "lib/b", ".git/index"]);
    make("two", &["lib/b", ".ship/state", "run", "lib/a"]);
    let mode = |name: &str, mode| {
        fs::set_permissions(bench.path(name), Permissions::from_mode(mode)).unwrap();
    };
    mode("one/run", 0o700);
    mode("two/run", 0o775);
    mode("one/lib/a", 0o600);
    mode("two/lib/a", 0o664);
    File::open(bench.path("one/run"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();

    let one = bench.prepare(&from_path(bench.path("one"))).await.unwrap();
    let two = bench.prepare(&from_path(bench.path("two"))).await.unwrap();
    assert_eq!(one, two);
    assert_eq!(one.artifact.form, ArtifactForm::Directory);
    let listed = Command::new("tar")
        .arg("--numeric-owner")
        .arg("-tvzf")
        .arg(&one.path)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let shown: Vec<_> = listed
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(
                (words[1], words[3], words[4]),
                ("0/0", "1970-01-01", "00:00"),
                "{line}"
            );
            format!("{} {}", words[0], words[5..].join(" "))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "drwxr-xr-x empty",
            "drwxr-xr-x lib",
            "-rw-r--r-- lib/a",
            "-rw-r--r-- lib/b",
            "lrwxrwxrwx lib/link -> ../run",
            "-rwxr-xr-x run",
        ]
    );

    mode("two/lib/b", 0o744);
    let executable = bench.prepare(&from_path(bench.path("two"))).await.unwrap();
    assert_ne!(
        executable.artifact.sha256, one.artifact.sha256,
        "execute permission is content"
    );
}

#[tokio::test]
async fn names_too_long_for_the_old_format_are_packed_as_well() {
    let bench = bench();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    bench.write(&format!("app/{long}"), "x");
    symlink("t".repeat(150), bench.path("app/link")).unwrap();
    let prepared = bench.prepare(&from_path(bench.path("app"))).await.unwrap();
    let listed = Command::new("tar")
        .arg("-tzf")
        .arg(&prepared.path)
        .output()
        .unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains(&long));
}

#[tokio::test]
async fn cache_stores_artifacts_privately_by_digest() {
    let bench = bench();
    let source = bench.write("server", "bytes");
    let first = bench.prepare(&from_path(&source)).await.unwrap();
    let written = fs::metadata(&first.path).unwrap().modified().unwrap();
    let second = bench.prepare(&from_path(&source)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(
        fs::metadata(&second.path).unwrap().modified().unwrap(),
        written,
        "it is not written again"
    );
    assert_eq!(bench.cached(), std::slice::from_ref(&first.artifact.sha256));
    assert_eq!(
        fs::metadata(&first.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(bench.cache()).unwrap().permissions().mode() & 0o777,
        0o700
    );

    fs::write(&first.path, "BYTES").unwrap();
    bench.prepare(&from_path(&source)).await.unwrap();
    assert_eq!(
        fs::read(&first.path).unwrap(),
        b"bytes",
        "what has gone bad is written again"
    );
}

#[tokio::test]
async fn missing_artifact_is_an_error() {
    let bench = bench();
    assert_eq!(
        bench.refusal(&from_path(bench.path("app.tar.gz"))).await,
        "cannot read the artifact app.tar.gz: No such file or directory (os error 2)\nhint: build it \
         first, or correct \
         `source`: it is relative to the playbook's directory"
    );
}

#[tokio::test]
async fn wrong_checksum_error_names_both_digests() {
    let bench = bench();
    let source = bench.write("server", "bytes");
    let config = ArtifactConfig {
        sha256: Some("ab".repeat(32)),
        ..from_path(&source)
    };
    assert_eq!(
        bench.refusal(&config).await,
        format!(
            "the artifact server has the wrong SHA-256: expected {}, found {}\nhint: if the \
             artifact is correct, set `sha256` to the second value; otherwise get it again",
            "ab".repeat(32),
            sha256sum(&source)
        )
    );
}

#[tokio::test]
async fn truncated_archive_is_an_error() {
    let bench = bench();
    let content: String = (0..2000)
        .flat_map(|n: u32| [n.to_string(), " ".to_owned()])
        .collect();
    bench.write("app/data", content);
    let whole = bench.prepare(&from_path(bench.path("app"))).await.unwrap();
    let bytes = fs::read(&whole.path).unwrap();
    fs::remove_file(&whole.path).unwrap();
    for length in [0, 5, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
        let source = bench.write("half.tar.gz", &bytes[..length]);
        let refusal = bench.refusal(&from_path(source)).await;
        assert!(
            refusal.starts_with(
                "the artifact half.tar.gz is not a valid gzip tar archive (truncated or corrupt): "
            ),
            "{length}: {refusal}"
        );
    }
    let mut flipped = bytes.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let refusal = bench
        .refusal(&from_path(bench.write("flipped.tar.gz", flipped)))
        .await;
    assert!(
        refusal.contains("not a valid gzip tar archive"),
        "{refusal}"
    );

    let packed = zstd(&archive(&[file("run")]));
    for length in [0, 3, packed.len() / 2, packed.len() - 1] {
        let source = bench.write("half.tar.zst", &packed[..length]);
        let refusal = bench.refusal(&from_path(source)).await;
        assert!(
            refusal.starts_with(
                "the artifact half.tar.zst is not a valid zstd tar archive (truncated or corrupt): "
            ),
            "{length}: {refusal}"
        );
    }
    let mut flipped = packed.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let refusal = bench
        .refusal(&from_path(bench.write("flipped.tar.zst", flipped)))
        .await;
    assert!(refusal.contains("its checksum does not match"), "{refusal}");
}

#[tokio::test]
async fn invalid_archive_is_an_error() {
    let bench = bench();
    for (name, bytes) in [
        ("a.tar.gz", b"plain text".to_vec()),
        ("b.tgz", gzipped(&[7; 2000])),
        ("c.tar.zst", gzipped(b"")),
    ] {
        let refusal = bench.refusal(&from_path(bench.write(name, bytes))).await;
        assert!(refusal.contains("is not a valid"), "{refusal}");
    }
}

#[tokio::test]
async fn entry_outside_the_directory_is_an_error() {
    let link = |path, target| Entry(path, EntryType::Symlink, target);
    let hard = |path, target| Entry(path, EntryType::Link, target);
    let cases: [(&[Entry], &str); 16] = [
        (
            &[file("/etc/passwd")],
            "`/etc/passwd`, which has an absolute path",
        ),
        (
            &[file("run"), file("../run")],
            "`../run`, which is outside the archive's directory",
        ),
        (
            &[file("a/../../run")],
            "`a/../../run`, which is outside the archive's directory",
        ),
        (
            &[link("etc", "/etc"), file("etc/passwd")],
            "`etc/passwd`, which is behind the symbolic link `etc`",
        ),
        (
            &[link("etc", "/etc"), Entry("etc", EntryType::Directory, "")],
            "`etc`, which replaces a symbolic link",
        ),
        (
            &[link("a", "/etc/passwd"), file("./a")],
            "`./a`, which replaces a symbolic link",
        ),
        (
            &[file("a"), link("a", "/etc/passwd")],
            "`a`, a symbolic link that replaces another entry",
        ),
        (
            &[link("a", "/etc/passwd"), link("a", "b")],
            "`a`, a symbolic link that replaces another entry",
        ),
        (
            &[hard("b", "a"), file("a")],
            "`b`, a hard link to `a`, which is not in the archive before it",
        ),
        (
            &[link("a", "/etc/passwd"), hard("b", "a")],
            "`b`, which is a hard link to the symbolic link `a`",
        ),
        (
            &[link("a/b", "../../c")],
            "`a/b`, a symbolic link that leads outside: `../../c`",
        ),
        (
            &[link("a", "."), link("b", "a/../c")],
            "`b`, a symbolic link that leads outside: `a/../c`",
        ),
        (
            &[link("a", "."), link("a/b", "../c")],
            "`a/b`, which is behind the symbolic link `a`",
        ),
        (
            &[hard("a", "/etc/passwd")],
            "`a`, a hard link that leads outside: `/etc/passwd`",
        ),
        (
            &[hard("a", "../b")],
            "`a`, a hard link that leads outside: `../b`",
        ),
        (
            &[Entry("tty", EntryType::Char, "")],
            "`tty`, which is neither a file, a directory nor a link",
        ),
    ];
    for (entries, expected) in cases {
        let bench = bench();
        let refusal = bench
            .refusal(&from_path(
                bench.write("app.tar.gz", gzipped(&archive(entries))),
            ))
            .await;
        assert!(
            refusal.starts_with(&format!("the artifact app.tar.gz contains {expected}")),
            "{refusal}"
        );
    }
}

/// A header with its content, after which anything may follow.
fn member(kind: EntryType, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[tokio::test]
async fn ambiguous_archive_is_an_error() {
    let run = || member(EntryType::Regular, "run", "", b"#!");
    let long = |name: &str| member(EntryType::GNULongName, "././@LongLink", "", name.as_bytes());
    let pax = |records: &str| member(EntryType::XHeader, "pax", "", records.as_bytes());
    let global = |records: &str| member(EntryType::XGlobalHeader, "pax", "", records.as_bytes());
    let end = || vec![0; 512];
    let not_sent = "is not an archive that every tar reads in the same way: ";
    let cases: [(Vec<Vec<u8>>, String); 12] = [
        (
            vec![pax("10 path=a\n10 path=b\n"), run()],
            format!("{not_sent}an entry is named twice"),
        ),
        (
            vec![long("a\0"), pax("10 path=b\n"), run()],
            format!("{not_sent}an entry is named twice"),
        ),
        (
            vec![global("10 path=a\n"), run()],
            format!("{not_sent}it sets `path` for all its entries"),
        ),
        (
            vec![pax("21 GNU.sparse.name=a\n"), run()],
            format!("{not_sent}it has sparse files in a format"),
        ),
        (
            vec![run(), end(), member(EntryType::Regular, "more", "", b"")],
            format!("{not_sent}there is data after its end"),
        ),
        (
            vec![long("run\0/../../etc/x\0"), run()],
            "contains `run\\0/../../etc/x`, which has a NUL".to_owned(),
        ),
        (
            vec![long(&"d/".repeat(2049)), run()],
            "longer than 4096 bytes".to_owned(),
        ),
        (
            vec![member(EntryType::Link, "run", "run", &[0; 600])],
            "contains `run`, which has content but is not a file".to_owned(),
        ),
        (
            vec![
                member(EntryType::Symlink, "a/b/l", "../../x", b""),
                member(EntryType::Link, "l", "a/b/l", b""),
            ],
            "contains `l`, which is a hard link to the symbolic link `a/b/l`".to_owned(),
        ),
        (
            vec![pax("12 path=run"), run()],
            "the attributes of an entry are malformed".to_owned(),
        ),
        (
            vec![long("run\0")],
            "it ends between the name and the header of an entry".to_owned(),
        ),
        (
            vec![member(EntryType::new(b'V'), "volume", "", b"")],
            "which is neither a file, a directory nor a link".to_owned(),
        ),
    ];
    for (members, expected) in cases {
        let bench = bench();
        let source = bench.write("app.tar.gz", gzipped(&members.concat()));
        let refusal = bench.refusal(&from_path(source)).await;
        assert!(refusal.contains(&expected), "{expected}\n{refusal}");
    }
    let welcome = [
        global("52 comment=2f7b2c7dfd29e2ad0c0e1b5a3f0c1c8a51a0aa5b\n"),
        pax("13 path=runs\n"),
        run(),
        end(),
        end(),
    ];
    // As `git archive` begins.
    let bench = bench();
    let refusal = bench
        .prepare(&from_path(
            bench.write("app.tar.gz", gzipped(&welcome.concat())),
        ))
        .await;
    assert!(refusal.is_ok(), "{}", refusal.unwrap_err());
}

#[tokio::test]
async fn oversized_entries_are_rejected_early() {
    for (kind, expected) in [
        (
            EntryType::GNULongName,
            "the attributes of an entry are longer than 1048576 bytes",
        ),
        (
            EntryType::XHeader,
            "the attributes of an entry are longer than 1048576 bytes",
        ),
        (
            EntryType::Regular,
            "it is larger than 64 GiB when unpacked\nhint: ",
        ),
    ] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(1 << 40);
        header.set_cksum();
        let bench = bench();
        let bytes = gzipped(&[header.as_bytes(), vec![0; 4 << 20].as_slice()].concat());
        let refusal = bench
            .refusal(&from_path(bench.write("app.tar.gz", bytes)))
            .await;
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[tokio::test]
async fn leading_directories_are_counted_as_a_tar_counts_them() {
    let bench = bench();
    let source = bench.write(
        "app.tar.gz",
        gzipped(&archive(&[file("./run"), file("./a//b")])),
    );
    let mut config = from_path(&source);
    for strip_components in 0..4 {
        config.strip_components = strip_components;
        let mut tar = Command::new("tar");
        tar.arg("-tzf")
            .arg(&source)
            .arg(format!("--strip-components={strip_components}"));
        let listed = tar.arg("--show-transformed-names").output().unwrap();
        let is_anything = !listed.stdout.trim_ascii().is_empty();
        assert_eq!(
            bench.prepare(&config).await.is_ok(),
            is_anything,
            "{strip_components}: {listed:?}"
        );
    }
}

#[tokio::test]
async fn links_that_stay_inside_or_name_a_place_of_the_host_are_welcome() {
    let bench = bench();
    let entries = [
        Entry("./", EntryType::Directory, ""),
        file("./bin/run"),
        Entry("./bin/alias", EntryType::Symlink, "run"),
        Entry("./lib/run", EntryType::Symlink, "../bin/run"),
        Entry("./copy", EntryType::Link, "./bin/run"),
        Entry("./bin/python", EntryType::Symlink, "/usr/bin/python3"),
    ];
    bench
        .prepare(&from_path(
            bench.write("app.tar.gz", gzipped(&archive(&entries))),
        ))
        .await
        .unwrap();
}

#[tokio::test]
async fn links_are_judged_as_they_are_once_the_leading_directories_are_gone() {
    let bench = bench();
    let entries = [
        file("app-1.0/run"),
        Entry("app-1.0/alias", EntryType::Symlink, "../app-1.0/run"),
    ];
    let mut config = from_path(bench.write("app.tar.gz", gzipped(&archive(&entries))));
    config.strip_components = 1;
    let refusal = bench.refusal(&config).await;
    assert!(
        refusal.contains("`app-1.0/alias`, a symbolic link that leads outside"),
        "{refusal}"
    );
}

#[tokio::test]
async fn empty_artifact_is_an_error() {
    let bench = bench();
    fs::create_dir(bench.path("empty")).unwrap();
    let empty =
        |shown| format!("the artifact {shown} is empty\nhint: check that the build succeeded");
    assert_eq!(
        bench.refusal(&from_path(bench.path("empty"))).await,
        empty("empty")
    );
    assert_eq!(
        bench.refusal(&from_path(bench.write("server", ""))).await,
        empty("server")
    );
    let mut config = from_path(bench.write("app.tar.gz", gzipped(&archive(&[file("app/run")]))));
    config.strip_components = 2;
    assert_eq!(
        bench.refusal(&config).await,
        "with strip_components = 2, nothing of the artifact app.tar.gz is left\nhint: lower \
         `strip_components`; `tar -tf` \
         shows the depth of its files"
    );
}

#[tokio::test]
async fn unsupported_archive_is_an_error() {
    let bench = bench();
    for name in ["app.tar", "app.tar.xz", "APP.TAR.BZ2"] {
        let refusal = bench.refusal(&from_path(bench.write(name, "bytes"))).await;
        let expected = format!(
            "the artifact {name} is an archive in a format that ship does not support\nhint: pack it as \
             .tar.gz or .tar.zst, or \
             point `source` at the directory itself"
        );
        assert_eq!(refusal, expected);
    }
}

#[tokio::test]
async fn named_pipe_is_rejected_without_waiting() {
    let bench = bench();
    fs::create_dir(bench.path("app")).unwrap();
    let made = Command::new("mkfifo")
        .arg(bench.path("app/pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let refusal = bench.refusal(&from_path(bench.path("app"))).await;
    assert!(
        refusal.starts_with("`pipe` in the artifact app is neither a file, a directory"),
        "{refusal}"
    );
    let refusal = bench.refusal(&from_path(bench.path("app/pipe"))).await;
    assert!(
        refusal.starts_with("the artifact app/pipe is neither a file nor a directory"),
        "{refusal}"
    );
}

#[tokio::test]
async fn errors_distinguish_the_cache_from_the_source() {
    let bench = bench();
    let source = bench.write("server", "bytes");
    bench.write("state", "a file where the cache's directory is to be");
    let error = bench.prepare(&from_path(source)).await.unwrap_err();
    assert!(
        error.message().starts_with("cannot store the artifact in "),
        "{error}"
    );
}

#[tokio::test]
async fn artifact_with_a_known_checksum_is_downloaded_once() {
    let bench = bench();
    let bytes = gzipped(&archive(&[file("run")]));
    let sha256 = sha256sum(&bench.write("same", &bytes));
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_bytes(bytes.clone());
    Mock::given(method("GET"))
        .and(path("/builds/app-0.9.tar.gz"))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    let mut config = from_url(format!(
        "{}/builds/app-0.9.tar.gz?token=hunter2",
        server.uri()
    ));
    config.sha256 = Some(sha256.clone());

    let first = bench.prepare(&config).await.unwrap();
    assert_eq!(
        (&first.artifact.form, &first.artifact.sha256),
        (&ArtifactForm::TarGz, &sha256)
    );
    assert_eq!(fs::read(&first.path).unwrap(), bytes);
    assert_eq!(bench.prepare(&config).await.unwrap(), first);
    assert_eq!(bench.cached(), [sha256], "the download itself is gone");
}

#[tokio::test]
async fn download_kind_depends_on_its_name() {
    let bench = bench();
    let server = MockServer::start().await;
    let tar = archive(&[file("run")]);
    let serve = |name: &'static str, body| {
        Mock::given(path(name)).respond_with(ResponseTemplate::new(200).set_body_bytes(body))
    };
    serve("/app.tar.zst", zstd(&tar)).mount(&server).await;
    serve("/server", b"bytes".to_vec()).mount(&server).await;
    let moved = ResponseTemplate::new(302).insert_header("Location", "/server");
    Mock::given(path("/latest/server-0.9"))
        .respond_with(moved)
        .mount(&server)
        .await;

    let archive = bench
        .prepare(&from_url(format!("{}/app.tar.zst", server.uri())))
        .await
        .unwrap();
    assert_eq!(unpacked(&archive), tar);
    let single = bench
        .prepare(&from_url(format!("{}/latest/server-0.9", server.uri())))
        .await
        .unwrap();
    assert_eq!(
        single.artifact.form,
        ArtifactForm::File("server-0.9".to_owned())
    );
    assert_eq!(fs::read(single.path).unwrap(), b"bytes");
}

#[tokio::test]
async fn download_error_hides_secrets_of_the_url() {
    let bench = bench();
    let server = MockServer::start().await;
    let address = server.address().to_string();
    let url = |path: &str| from_url(format!("http://me:hunter2@{address}/{path}?token=hunter2"));
    assert_eq!(
        bench.refusal(&url("app.tar.gz")).await,
        format!(
            "cannot download http://{address}/app.tar.gz: the server returned 404 Not Found\nhint: \
             correct the URL in \
             `source`, or publish this version first"
        )
    );
    let refusal = bench.refusal(&url("builds/")).await;
    assert!(
        refusal.contains("does not end with a file name") && !refusal.contains("hunter2"),
        "{refusal}"
    );
    drop(server);

    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refusal = bench
        .refusal(&from_url(format!("http://me:hunter2@{closed}/app.tar.gz")))
        .await;
    assert!(
        refusal.contains("refused") && !refusal.contains("hunter2"),
        "{refusal}"
    );
}

#[tokio::test]
async fn incomplete_download_is_an_error() {
    let bench = bench();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let _ = connection.read(&mut [0; 1024]).unwrap();
        connection
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            .unwrap();
    });
    let config = ArtifactConfig {
        sums: Sums::Disabled,
        ..from_url(format!("http://{address}/server"))
    };
    let refusal = bench.refusal(&config).await;
    server.join().unwrap();
    assert!(
        refusal.starts_with(&format!("cannot download http://{address}/server: ")),
        "{refusal}"
    );
}

#[tokio::test]
async fn artifact_error_points_to_the_line_of_the_playbook() {
    let bench = bench();
    let inventory =
        "playbook = \"web.toml\"\nfleet.name = \"test\"\nhosts = [{ name = \"web1\" }]\n";
    let playbook = "version = \"0.8\"\n[service]\nname = \"web\"\ncommand = \"./web\"\nports = \
                    [1, 2]\n[artifact]\nsource = \"web-{{ version }}.tgz\"\n";
    let read = |path: &Path| {
        let text = if path.ends_with("web.toml") {
            playbook
        } else {
            inventory
        };
        Ok(text.as_bytes().to_vec())
    };
    let project = load_with(Path::new("fleet.toml"), &Overrides::default(), read).unwrap();
    let config = project.playbook.artifact;
    let error = bench.prepare(&config).await.unwrap_err();
    assert_eq!(
        error.diagnostics(&config).to_string(),
        "error: cannot read the artifact web-0.8.tgz: No such file or directory (os error 2)
 --> web.toml:7:10
  |
7 | source = \"web-{{ version }}.tgz\"
  |          ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: build it first, or correct `source`: it is relative to the playbook's directory"
    );
}

#[tokio::test]
async fn cache_removes_partial_artifacts_of_dead_processes() {
    let bench = bench();
    let source = bench.write("app.tar.gz", gzipped(&archive(&[file("run")])));
    bench.write("state/cache/partial-dead", "half");
    let alive = bench.write("state/cache/partial-alive", "half");
    let alive = File::open(alive).unwrap();
    alive.lock().unwrap();
    bench.write("state/cache/a-foreign-file", "else");
    let prepared = bench.prepare(&from_path(&source)).await.unwrap();
    let left = BTreeSet::from_iter(bench.cached());
    let expected =
        [&prepared.artifact.sha256, "a-foreign-file", "partial-alive"].map(str::to_owned);
    assert_eq!(left, expected.into());
    drop(alive);
    bench.prepare(&from_path(&source)).await.unwrap();
    assert!(
        !bench.cached().contains(&"partial-alive".to_owned()),
        "its maker is gone"
    );
}
