//! Staging where the host has the files already, in another release.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ship::artifact::{Prepared, prepare};
use ship::config::{ArtifactConfig, Source};
use ship::core::ids::ReleaseId;
use ship::script::{
    ArtifactInput, HeldRelease, HostContext, Script, ScriptEnd, service_dir, stage,
};
use tempfile::TempDir;

use crate::host::{Host, Release, Shell, shells};

/// An artifact that two services of a host use.
struct Shared {
    artifact: Prepared,
    /// The context of the service that has it, and its release.
    holder: HostContext,
    held: Release,
    /// The release that gets a copy.
    copy: Release,
    _cache: TempDir,
}

impl Shared {
    /// Stages the files of `source` for one service.
    fn staged(host: &Host, source: &Path) -> Self {
        let cache = TempDir::new().expect("a directory");
        let config = ArtifactConfig::new(Source::Path(source.to_owned()));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let artifact = runtime.block_on(prepare(&config, cache.path()));
        let artifact = artifact.expect("an artifact");
        let release = |id: char, shared_dirs: &[&str]| {
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
        let held = release('a', &["uploads", "var/cache"]);
        host.order(&stage(
            &holder,
            &held.definition,
            &held.id,
            ArtifactInput::Pushed(&held.path),
            None,
        ));
        Self {
            holder,
            held,
            copy: release('b', &["uploads"]),
            artifact,
            _cache: cache,
        }
    }

    fn held(&self) -> HeldRelease {
        let HostContext {
            base_dir, service, ..
        } = &self.holder;
        let dir = service_dir(base_dir, service);
        HeldRelease::new(&dir, &self.held.id, &self.held.definition)
    }

    fn held_app(&self) -> PathBuf {
        Path::new(&self.held().dir).join("app")
    }

    fn copy_script(&self, host: &Host) -> Script {
        let listing = self.artifact.contents.listing_sha256();
        stage(
            &host.site,
            &self.copy.definition,
            &self.copy.id,
            ArtifactInput::Copied(&self.held(), &listing),
            None,
        )
    }

    fn copy_dir(&self, host: &Host) -> PathBuf {
        host.root().join("releases").join(self.copy.id.as_str())
    }
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
fn release_is_copied_from_another_service() {
    for shell in gnu_shells() {
        let (host, source) = (Host::with(shell), files());
        let shared = Shared::staged(&host, source.path());
        // What the service writes does not belong to the release.
        fs::create_dir_all(shared.held_app().join("a/__pycache__")).expect("a directory");
        fs::write(shared.held_app().join("a/__pycache__/x"), "x").expect("a file");
        let observation = host.order(&shared.copy_script(&host));
        assert!(observation.releases.contains(&shared.copy.id), "{shell:?}");
        let copy = shared.copy_dir(&host);
        let same = Command::new("diff")
            .args(["-r", "--no-dereference", "-x", "uploads"])
            .args([source.path(), &copy.join("app")])
            .output()
            .expect("diff");
        assert!(same.status.success(), "{shell:?}: {same:?}");
        let target = fs::read_link(copy.join("app/uploads")).expect("a link");
        assert_eq!(target, Path::new("../../../shared/uploads"));

        // The same as if the artifact had been sent.
        let sent = ReleaseId::from("c".repeat(64).as_str());
        host.order(&stage(
            &host.site,
            &shared.copy.definition,
            &sent,
            ArtifactInput::Pushed(&shared.copy.path),
            None,
        ));
        let sent = host.root().join("releases").join(sent.as_str());
        assert_eq!(tree(&copy), tree(&sent), "{shell:?}");
    }
}

/// Changes the files of a release.
type Change = fn(&Path) -> std::io::Result<()>;

#[test]
fn changed_files_are_not_copied() {
    let changes: [(&str, Change); 8] = [
        ("a byte", |app| fs::write(app.join("a.txt"), "changed")),
        ("a mode", |app| {
            fs::set_permissions(app.join("a.txt"), fs::Permissions::from_mode(0o755))
        }),
        ("a target", |app| {
            fs::remove_file(app.join("a/link"))?;
            symlink("elsewhere", app.join("a/link"))
        }),
        ("a missing file", |app| fs::remove_file(app.join("a.txt"))),
        ("a missing directory", |app| {
            fs::remove_dir(app.join("a/empty"))
        }),
        ("a link instead of a file", |app| {
            fs::rename(app.join("a.txt"), app.join("a/moved"))?;
            symlink("a/moved", app.join("a.txt"))
        }),
        ("a named pipe", |app| {
            fs::remove_file(app.join("a.txt"))?;
            let made = Command::new("mkfifo").arg(app.join("a.txt")).status();
            made.map(drop)
        }),
        ("no release", |app| fs::rename(app, app.with_file_name("x"))),
    ];
    for (changed, change) in changes {
        let (host, source) = (Host::new(), files());
        let shared = Shared::staged(&host, source.path());
        change(&shared.held_app()).expect(changed);
        let reply = host.ask(&shared.copy_script(&host));
        let ScriptEnd::Failed(error) = &reply.end else {
            panic!("{changed}: {reply:?}");
        };
        let start = format!("cannot copy {}: ", shared.held().dir);
        assert!(error.starts_with(&start), "{changed}: {error}");
        assert!(reply.observation.releases.is_empty(), "{changed}");
        assert_eq!(tree(&host.root().join("tmp")).len(), 2, "{changed}");
    }
}

#[test]
fn files_of_another_user_are_not_copied() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (host, source) = (Host::new(), files());
    let shared = Shared::staged(&host, source.path());
    chown(shared.held_app(), Some(65534), None).expect("chown");
    let reply = host.ask(&shared.copy_script(&host));
    let ScriptEnd::Failed(error) = &reply.end else {
        panic!("{reply:?}");
    };
    assert!(error.ends_with("belongs to another user"), "{error}");
}

/// The tools of busybox cannot copy by a list.
#[test]
fn host_without_gnu_tools_reports_that_it_cannot_copy() {
    if !shells().contains(&Shell::Busybox) {
        return;
    }
    let (host, source) = (Host::with(Shell::Busybox), files());
    let shared = Shared::staged(&host, source.path());
    let reply = host.ask(&shared.copy_script(&host));
    assert!(matches!(reply.end, ScriptEnd::Failed(_)), "{reply:?}");
    assert!(reply.observation.releases.is_empty());
    // Then the artifact is sent.
    host.stage(&shared.copy);
}
