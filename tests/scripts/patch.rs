//! Staging where the host has an earlier release, from which few bytes differ.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ship::artifact::{Prepared, ReleasePatch, prepare};
use ship::config::{ArtifactConfig, Source};
use ship::core::ids::ReleaseId;
use ship::core::release::patch::PatchMethod;
use ship::script::{
    ArtifactInput, HeldRelease, HostContext, PatchFile, Script, ScriptEnd, finds_zstd, service_dir,
    stage,
};
use ship_testing::rng::SeededRng;
use tempfile::TempDir;

use crate::host::{Host, Release, Shell, shells};

/// A release on a host, and another one of which the host gets the difference.
struct Update {
    /// The context of the service that has the first release.
    holder: HostContext,
    held: Release,
    new: Release,
    artifact: Prepared,
    patch: ReleasePatch,
    _cache: TempDir,
}

impl Update {
    /// Stages the artifact `held` for one service, and computes the difference to `new`.
    fn staged(host: &Host, held: &Path, new: &Path) -> Self {
        Self::staged_with(host, held, new, PatchMethod::Parts)
    }

    fn staged_with(host: &Host, held: &Path, new: &Path, method: PatchMethod) -> Self {
        let cache = TempDir::new().expect("a directory");
        let (old, artifact) = (artifact(held, &cache), artifact(new, &cache));
        let release = |id: char, artifact: &Prepared, shared_dirs: &[&str]| {
            let mut release = Release::new("not sent");
            release.id = ReleaseId::from(id.to_string().repeat(64).as_str());
            release.path.clone_from(&artifact.path);
            release.definition.artifact.clone_from(&artifact.artifact);
            release.definition.shared_dirs =
                shared_dirs.iter().map(|dir| (*dir).to_owned()).collect();
            release
        };
        let holder = HostContext {
            service: "worker".into(),
            ..host.site.clone()
        };
        let held = release('a', &old, &["uploads", "var/cache"]);
        host.order(&stage(
            &holder,
            &held.definition,
            &held.id,
            &ArtifactInput::Pushed(&held.path).into(),
        ));
        let patch =
            ReleasePatch::of_artifacts(&old.artifact, &artifact.artifact, cache.path(), method);
        Self {
            holder,
            held,
            new: release('b', &artifact, &["uploads"]),
            patch: patch.expect("a patch"),
            artifact,
            _cache: cache,
        }
    }

    fn held_dir(&self) -> String {
        let HostContext {
            base_dir, service, ..
        } = &self.holder;
        let dir = service_dir(base_dir, service);
        HeldRelease::new(&dir, &self.held.id, &self.held.definition).dir
    }

    fn held_app(&self) -> PathBuf {
        Path::new(&self.held_dir()).join("app")
    }

    fn script(&self, host: &Host) -> Script {
        let patch = PatchFile {
            path: self.patch.path(),
            sha256: &self.patch.sha256,
            size_bytes: self.patch.size_bytes,
            listing_sha256: &self.patch.listing_sha256,
        };
        stage(
            &host.site,
            &self.new.definition,
            &self.new.id,
            &ArtifactInput::Patched(&self.held_dir(), patch).into(),
        )
    }

    fn new_dir(&self, host: &Host) -> PathBuf {
        host.root().join("releases").join(self.new.id.as_str())
    }

    /// Applies the patch, and compares the result with what the whole artifact unpacks to.
    fn check(&self, host: &Host) {
        let observation = host.order(&self.script(host));
        assert!(observation.releases.contains(&self.new.id));
        let sent = ReleaseId::from("c".repeat(64).as_str());
        host.order(&stage(
            &host.site,
            &self.new.definition,
            &sent,
            &ArtifactInput::Pushed(&self.new.path).into(),
        ));
        let sent = host.root().join("releases").join(sent.as_str());
        let patched = self.new_dir(host);
        assert_eq!(tree(&patched), tree(&sent));
        let same = Command::new("diff")
            .args(["-r", "--no-dereference"])
            .args([&patched.join("app"), &sent.join("app")])
            .output()
            .expect("diff");
        assert!(same.status.success(), "{same:?}");
        let listed = |dir: &Path| {
            let mut names: Vec<_> = fs::read(dir.join("files"))
                .expect("the names")
                .split(|byte| *byte == 0)
                .map(<[u8]>::to_vec)
                .collect();
            names.sort();
            names
        };
        assert_eq!(listed(&patched), listed(&sent));
    }
}

/// Prepares the artifact of a source in a cache.
fn artifact(source: &Path, cache: &TempDir) -> Prepared {
    let config = ArtifactConfig::new(Source::Path(source.to_owned()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let prepared = runtime.block_on(prepare(&config, cache.path()));
    prepared.expect("an artifact")
}

/// A directory with files of all kinds.
fn files() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let root = dir.path();
    for empty in ["uploads", "a/b/c", "a.d", "a/empty"] {
        fs::create_dir_all(root.join(empty)).expect("a directory");
    }
    let odd = OsStr::from_bytes(b"a/a name\nwith 'two' \\lines and \xff");
    let names = [OsStr::new("a/b/c/page"), OsStr::new("a.txt"), odd];
    for name in names {
        fs::write(root.join(name), name.as_bytes()).expect("a file");
    }
    fs::write(root.join("-run"), "#!/bin/sh\n").expect("a file");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.join("-run"), mode).expect("a mode");
    symlink("b/c/page", root.join("a/link")).expect("a link");
    symlink("b", root.join("a/to directory")).expect("a link");
    let mut rng = SeededRng::new(1);
    fs::write(root.join("large file"), rng.bytes(1 << 20)).expect("a file");
    fs::write(root.join("a/moved"), rng.bytes(200 << 10)).expect("a file");
    dir
}

/// The same with changes of all kinds.
fn changed_files() -> TempDir {
    let dir = files();
    let root = dir.path();
    let large = fs::read(root.join("large file")).expect("a file");
    let (first, second) = large.split_at(300 << 10);
    let inserted = [first, b"inserted", second].concat();
    fs::write(root.join("large file"), inserted).expect("a file");
    fs::rename(root.join("a/moved"), root.join("a/b/it's moved")).expect("a file");
    let plain = fs::Permissions::from_mode(0o644);
    fs::set_permissions(root.join("-run"), plain).expect("a mode");
    fs::remove_file(root.join("a/link")).expect("a link");
    symlink("b/c", root.join("a/link")).expect("a link");
    fs::remove_dir(root.join("a.d")).expect("a directory");
    fs::write(root.join("a.d"), "a file").expect("a file");
    fs::remove_file(root.join("a.txt")).expect("a file");
    fs::create_dir(root.join("a.txt")).expect("a directory");
    fs::write(root.join("a.txt/x"), "").expect("a file");
    dir
}

/// Shells whose tools are those of GNU.
fn gnu_shells() -> impl Iterator<Item = Shell> {
    let all = shells().into_iter();
    all.filter(|shell| *shell != Shell::Busybox)
}

/// The type, the mode, the name and the target of every file.
fn tree(dir: &Path) -> Vec<String> {
    let listed = Command::new("find")
        .args([".", "-printf", "%y %m %P -> %l\\0"])
        .current_dir(dir)
        .output()
        .expect("find");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut lines: Vec<_> = text.split('\0').map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn artifact_of_another_service_is_not_sent_again() {
    for shell in gnu_shells() {
        let (host, source) = (Host::with(shell), files());
        let update = Update::staged(&host, source.path(), source.path());
        assert!(update.patch.size_bytes < 2000, "{:?}", update.patch);
        // What the service writes does not belong to the release.
        fs::create_dir_all(update.held_app().join("a/__pycache__")).expect("a directory");
        fs::write(update.held_app().join("a/__pycache__/x"), "x").expect("a file");
        update.check(&host);
        let target = fs::read_link(update.new_dir(&host).join("app/uploads")).expect("a link");
        assert_eq!(target, Path::new("../../../shared/uploads"));
    }
}

#[test]
fn only_the_difference_is_sent() {
    for shell in gnu_shells() {
        let host = Host::with(shell);
        let (old, new) = (files(), changed_files());
        let update = Update::staged(&host, old.path(), new.path());
        assert!(update.patch.size_bytes < 3000, "{:?}", update.patch);
        update.check(&host);
    }
}

#[test]
fn difference_of_an_archive_keeps_the_times_of_files() {
    let host = Host::new();
    let pack = |dir: &TempDir| {
        let archive = dir.path().with_extension("tar.gz");
        let packed = Command::new("tar")
            .args(["--mtime=@1000000000", "-czf"])
            .arg(&archive)
            .args(["-C".as_ref(), dir.path(), ".".as_ref()])
            .status()
            .expect("tar");
        assert!(packed.success());
        archive
    };
    let (old, new) = (files(), changed_files());
    let archives = [pack(&old), pack(&new)];
    let update = Update::staged(&host, &archives[0], &archives[1]);
    assert!(update.patch.size_bytes < 3000, "{:?}", update.patch);
    update.check(&host);
    for name in ["large file", "a/b/it's moved", "a/b/c/page", "a.d"] {
        let file = fs::metadata(update.new_dir(&host).join("app").join(name)).expect(name);
        assert_eq!(file.mtime(), 1_000_000_000, "{name}");
    }
    for archive in archives {
        fs::remove_file(archive).expect("an archive");
    }
}

#[test]
fn difference_of_a_single_file_with_scattered_changes_is_small() {
    let host = Host::new();
    let dir = TempDir::new().expect("a directory");
    let (old, new) = (dir.path().join("server-1"), dir.path().join("server-2"));
    let mut rng = SeededRng::new(2);
    fs::write(&old, rng.bytes(8 << 20)).expect("a file");
    fs::copy(&old, &new).expect("a file");
    let file = fs::File::options().write(true).open(&new).expect("a file");
    for number in 0..80 {
        let offset = number * 100_000 + rng.below(50_000);
        file.write_all_at(&rng.bytes(1000), offset)
            .expect("a change");
    }
    let update = Update::staged(&host, &old, &new);
    let size_bytes = update.patch.size_bytes;
    // The changes, and for each of them a line.
    assert!(size_bytes < 80 * (1000 + 60), "{size_bytes}");
    update.check(&host);
    assert_eq!(update.artifact.artifact.size_bytes, 8 << 20);
}

#[test]
fn file_that_differs_everywhere_is_compressed_with_the_old_one() {
    let host = Host::new();
    let dir = TempDir::new().expect("a directory");
    let (old, new) = (dir.path().join("server-1"), dir.path().join("server-2"));
    let mut rng = SeededRng::new(3);
    let mut bytes = rng.bytes(2 << 20);
    fs::write(&old, &bytes).expect("a file");
    for address in bytes.chunks_mut(500) {
        address[..4].copy_from_slice(&rng.bytes(4));
    }
    fs::write(&new, &bytes).expect("a file");
    let cache = TempDir::new().expect("a directory");
    let artifacts = [artifact(&old, &cache), artifact(&new, &cache)].map(|it| it.artifact);
    let parts = ReleasePatch::of_artifacts(
        &artifacts[0],
        &artifacts[1],
        cache.path(),
        PatchMethod::Parts,
    );
    let refused = parts
        .expect_err("more than half of the artifact")
        .to_string();
    assert!(refused.contains("larger than"), "{refused}");
    let update = Update::staged_with(&host, &old, &new, PatchMethod::PartsOrZstd);
    assert!(update.patch.size_bytes < 200_000, "{:?}", update.patch);
    update.check(&host);
}

#[test]
fn host_reports_whether_it_has_zstd() {
    let host = Host::new();
    assert!(host.run(&finds_zstd()).stdout.contains("zstd=yes"));
}

/// A program that computes no digests.
const NO_DIGEST: &str = "echo 'no digest' >&2; exit 1";

/// Whether this machine has openssl; if not, that is printed.
fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        println!("skipped: `openssl` is missing (Debian package openssl)");
    }
    found
}

#[test]
fn openssl_verifies_large_files_and_patched_releases() {
    if !has_openssl() {
        return;
    }
    let (host, cache) = (Host::new(), TempDir::new().expect("a directory"));
    let (old, new) = (cache.path().join("old"), cache.path().join("new"));
    let mut bytes = SeededRng::new(4).bytes(5 << 20);
    fs::write(&old, &bytes).expect("a file");
    bytes[..4].copy_from_slice(b"new!");
    fs::write(&new, &bytes).expect("a file");
    // What is read from a pipe is short: the list of the files.
    let of_pipes = "[ $# = 0 ] && [ -p /dev/stdin ] && exec /usr/bin/sha256sum";
    host.fake("sha256sum", &format!("{of_pipes}; {NO_DIGEST}"));
    let artifact = artifact(&old, &cache);
    let mut release = Release::new("not sent");
    release.path.clone_from(&artifact.path);
    release.definition.artifact = artifact.artifact;
    host.stage(&release);

    host.fake(
        "sha256sum",
        &format!("[ $# = 0 ] && exec /usr/bin/sha256sum; {NO_DIGEST}"),
    );
    Update::staged(&host, &old, &new).check(&host);
}

#[test]
fn openssl_that_fails_is_not_needed() {
    let (host, old, new) = (Host::new(), files(), changed_files());
    host.fake("openssl", NO_DIGEST);
    Update::staged(&host, old.path(), new.path()).check(&host);
}

/// Changes the files of a release.
type Change = fn(&Path) -> std::io::Result<()>;

#[test]
fn changed_release_is_not_used() {
    let changes: [(&str, Change); 7] = [
        ("a byte", |app| fs::write(app.join("a/b/c/page"), "changed")),
        ("a byte of a large file", |app| {
            let file = fs::File::options()
                .write(true)
                .open(app.join("large file"))?;
            file.write_all_at(b"changed", 500 << 10)
        }),
        ("a mode", |app| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(app.join("a/b/c/page"), mode)
        }),
        ("a missing file", |app| {
            fs::remove_file(app.join("a/b/c/page"))
        }),
        ("a link instead of a file", |app| {
            fs::rename(app.join("a/b/c/page"), app.join("a/page"))?;
            symlink("../../page", app.join("a/b/c/page"))
        }),
        ("a named pipe", |app| {
            fs::remove_file(app.join("large file"))?;
            let made = Command::new("mkfifo").arg(app.join("large file")).status();
            made.map(drop)
        }),
        ("no release", |app| fs::rename(app, app.with_file_name("x"))),
    ];
    for (changed, change) in changes {
        let (host, old, new) = (Host::new(), files(), changed_files());
        let update = Update::staged(&host, old.path(), new.path());
        change(&update.held_app()).expect(changed);
        let reply = host.ask(&update.script(&host));
        let ScriptEnd::Failed(error) = &reply.end else {
            panic!("{changed}: {reply:?}");
        };
        let start = format!("cannot use {}: ", update.held_dir());
        assert!(error.starts_with(&start), "{changed}: {error}");
        assert!(reply.observation.releases.is_empty(), "{changed}");
        assert_eq!(tree(&host.root().join("tmp")).len(), 2, "{changed}");
    }
}

#[test]
fn release_of_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (host, source) = (Host::new(), files());
    let update = Update::staged(&host, source.path(), source.path());
    chown(update.held_app(), Some(65534), None).expect("chown");
    let reply = host.ask(&update.script(&host));
    let ScriptEnd::Failed(error) = &reply.end else {
        panic!("{reply:?}");
    };
    assert!(error.ends_with("belongs to another user"), "{error}");
}

/// The tools of busybox cannot copy by a list.
#[test]
fn host_without_gnu_tools_reports_that_it_cannot_use_the_difference() {
    if !shells().contains(&Shell::Busybox) {
        return;
    }
    let (host, source) = (Host::with(Shell::Busybox), files());
    let update = Update::staged(&host, source.path(), source.path());
    let reply = host.ask(&update.script(&host));
    assert!(matches!(reply.end, ScriptEnd::Failed(_)), "{reply:?}");
    assert!(reply.observation.releases.is_empty());
    // Then the artifact is sent.
    host.stage(&update.new);
}
