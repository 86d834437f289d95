//! Archives that a host has made from the files of a release: ship sends them on only if they have
//! the files that were deployed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ship::artifact::{Prepared, keep_recovered, prepare, temporary_file};
use ship::config::{ArtifactConfig, Source};
use ship::core::release::{Artifact, ArtifactForm};
use tempfile::TempDir;

/// A directory with the files of a release, and a cache.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        let app = bench.app();
        fs::create_dir_all(app.join("lib/empty")).expect("directories");
        fs::write(app.join("run"), "#!/bin/sh").expect("a file");
        fs::set_permissions(app.join("run"), Permissions::from_mode(0o700)).expect("a mode");
        fs::write(app.join("lib/a b"), "content").expect("a file");
        fs::hard_link(app.join("lib/a b"), app.join("lib/same")).expect("a hard link");
        symlink("lib/a b", app.join("link")).expect("a link");
        bench
    }

    fn app(&self) -> PathBuf {
        self.directory.path().join("app")
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    async fn prepared(&self, source: &Path, strip_components: u32) -> Prepared {
        let mut config = ArtifactConfig::new(Source::Path(source.to_owned()));
        config.strip_components = strip_components;
        prepare(&config, &self.cache()).await.expect("an artifact")
    }

    /// The digest of the files as they are now.
    async fn digest(&self) -> String {
        let prepared = self.prepared(&self.app(), 0).await;
        prepared.contents_sha256.expect("a digest")
    }

    /// An archive of the files of one directory, as tar makes it.
    fn tar(&self, directory: &Path, names: &str) -> PathBuf {
        let archive = self.directory.path().join("packed.tar.gz");
        let tar = Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(directory)
            .arg(names)
            .output()
            .expect("tar");
        assert!(tar.status.success(), "{tar:?}");
        archive
    }

    /// What ship does with the archive that a host sends.
    async fn keep(&self, digest: String) -> Result<Artifact, String> {
        let packed = self.tar(&self.app(), ".");
        let received = temporary_file(&self.cache()).expect("a file");
        fs::copy(packed, received.path()).expect("a copy");
        keep_recovered(received, "0.8 on node1".to_owned(), digest, self.cache())
            .await
            .map_err(|error| error.message().to_owned())
    }
}

#[tokio::test]
async fn contents_digest_depends_on_the_files_and_not_on_the_archive() {
    let bench = Bench::new();
    let directory = bench.digest().await;
    let archive = bench.tar(bench.directory.path(), "app");
    let stripped = bench.prepared(&archive, 1).await;
    assert_eq!(stripped.contents_sha256.as_ref(), Some(&directory));
    let nested = bench.prepared(&archive, 0).await;
    assert_ne!(nested.contents_sha256.as_ref(), Some(&directory));

    let single = bench.prepared(&bench.app().join("run"), 0).await;
    assert!(matches!(single.artifact.form, ArtifactForm::File(_)));
    fs::remove_dir_all(bench.app().join("lib")).expect("our own directory");
    fs::remove_file(bench.app().join("link")).expect("our own file");
    assert_eq!(single.contents_sha256, Some(bench.digest().await));
}

#[tokio::test]
async fn every_change_of_the_files_changes_the_contents_digest() {
    type Change = fn(&Path);
    let changes: [Change; 7] = [
        |app| fs::write(app.join("run"), "#!/bin/zh").expect("a file"),
        |app| fs::set_permissions(app.join("run"), Permissions::from_mode(0o600)).expect("a mode"),
        |app| fs::rename(app.join("run"), app.join("ran")).expect("a rename"),
        |app| fs::write(app.join("more"), "").expect("a file"),
        |app| fs::remove_dir(app.join("lib/empty")).expect("a directory"),
        |app| {
            fs::remove_file(app.join("link")).expect("a link");
            symlink("lib/same", app.join("link")).expect("a link");
        },
        |app| {
            fs::remove_file(app.join("link")).expect("a link");
            fs::write(app.join("link"), "lib/a b").expect("a file");
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let bench = Bench::new();
        let before = bench.digest().await;
        change(&bench.app());
        assert_ne!(before, bench.digest().await, "change {number}");
    }
}

#[tokio::test]
async fn archive_of_a_host_is_kept_if_it_has_the_files_of_the_release() {
    let bench = Bench::new();
    let artifact = bench.keep(bench.digest().await).await.expect("an artifact");
    let kept = bench.cache().join(&artifact.sha256);
    assert_eq!(
        fs::metadata(&kept).expect("the archive").len(),
        artifact.size_bytes
    );
    assert_eq!(
        (artifact.form, artifact.strip_components),
        (ArtifactForm::TarGz, 0)
    );
}

#[tokio::test]
async fn archive_of_a_host_with_other_files_is_rejected() {
    let bench = Bench::new();
    let digest = bench.digest().await;
    fs::write(bench.app().join("run"), "#!/bin/sh evil").expect("a file");
    let why = bench.keep(digest.clone()).await.expect_err("other files");
    let expected = "the files of 0.8 on node1 are not those that were deployed";
    assert_eq!(why, expected);
    symlink("../../etc", bench.app().join("out")).expect("a link");
    let why = bench.keep(digest).await.expect_err("an unsafe archive");
    assert!(why.contains("a symbolic link that leads outside"), "{why}");
}
