//! Staging and pruning.

use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use ship::core::ids::{ActionId, Epoch, ReleaseId};
use ship::core::release::ArtifactForm;
use ship::core::time::Time;
use ship::script::{KeptRelease, ScriptEnd, claim, pack, prune, read_releases, releases};

use crate::host::{Host, Release, Shell, mode, openers, shells, wait_for};

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("directory")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .collect();
    names.sort();
    names
}

fn release_dir(host: &Host, release: &Release) -> std::path::PathBuf {
    host.root().join("releases").join(release.id.as_str())
}

#[test]
fn archive_is_unpacked_readable_by_every_user() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let page = release_dir(&host, &release).join("app/index.html");
        assert_eq!(fs::read_to_string(&page).expect("page"), "hello");
        assert_eq!(mode(&page), 0o644, "{shell:?}");
        assert_eq!(mode(page.parent().expect("directory")), 0o755);
        assert_eq!(names(&host.root().join("tmp")), Vec::<String>::new());
    }
}

/// The names and the contents in the archive that a host packs.
fn packed(host: &Host, release: &Release) -> Vec<(String, String)> {
    let script = pack(&host.site, &release.id, 1);
    let output = host.command(&script).output().expect("a shell");
    assert!(output.status.success(), "{output:?}");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*output.stdout));
    let files = archive.entries().expect("an archive").filter_map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("text");
        entry
            .header()
            .entry_type()
            .is_file()
            .then_some((name, content))
    });
    files.collect()
}

#[test]
fn pack_sends_the_files_of_the_release_without_those_of_the_service() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let app = release_dir(&host, &release).join("app");
        fs::create_dir(app.join("__pycache__")).expect("directory");
        fs::write(app.join("__pycache__/page.pyc"), "bytes").expect("file");
        let page = ("./index.html".to_owned(), "hello".to_owned());
        assert_eq!(packed(&host, &release), [page], "{shell:?}");
    }
}

/// busybox reads no list, and its command lines are short.
#[test]
fn pack_sends_many_files_whatever_the_tar_is() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let directory = release_dir(&host, &release);
        let mut list = fs::read(directory.join("files")).expect("the list");
        for number in 0..2000 {
            let name = format!("a-name-that-is-not-short-{number}");
            fs::write(directory.join("app").join(&name), "").expect("a file");
            list.extend(format!("./{name}\0").bytes());
        }
        // busybox can send them only if there are no others.
        if shell == Shell::Busybox {
            let listed = Command::new("find")
                .args([".", "-print0"])
                .current_dir(directory.join("app"))
                .output()
                .expect("find");
            list = listed.stdout;
        }
        fs::write(directory.join("files"), list).expect("the list");
        assert_eq!(packed(&host, &release).len(), 2001, "{shell:?}");
    }
}

#[test]
fn pack_sends_all_files_of_a_release_without_a_list() {
    let (host, release) = Host::with_release();
    let files = release_dir(&host, &release).join("files");
    fs::remove_file(files).expect("the list");
    let page = ("./index.html".to_owned(), "hello".to_owned());
    assert_eq!(packed(&host, &release), [page]);
}

#[test]
fn pack_fails_if_a_file_is_missing() {
    let (host, release) = Host::with_release();
    let page = release_dir(&host, &release).join("app/index.html");
    fs::remove_file(page).expect("the page");
    let script = pack(&host.site, &release.id, 1);
    let output = host.command(&script).output().expect("a shell");
    assert!(!output.status.success(), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("index.html"), "{error}");
}

#[test]
fn host_tells_the_definitions_of_its_releases_and_which_were_proven() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let kept =
            |host: &Host| read_releases(&host.run(&releases(&host.site)).stdout).expect("releases");
        assert_eq!(kept(&host), []);
        let (release, other) = (Release::new("hello"), Release::new("other"));
        host.stage(&release);
        host.site.order = ActionId(2);
        host.stage(&other);
        assert_eq!(
            mode(&release_dir(&host, &release).join("definition")),
            0o600
        );
        host.site.epoch = Epoch(8);
        host.site.proven = [
            (release.id.clone(), Time(17)),
            (ReleaseId::from("0".repeat(64)), Time(1)),
        ]
        .into();
        host.order(&claim(&host.site));
        let expected =
            [(&release, Some(Time(17))), (&other, None)].map(|(release, proven)| KeptRelease {
                id: release.id.clone(),
                proven,
                definition: serde_json::to_string(&release.definition).expect("JSON"),
            });
        let found = kept(&host);
        assert!(
            found.len() == 2 && expected.iter().all(|kept| found.contains(kept)),
            "{shell:?}: {found:?}"
        );
    }
}

#[test]
fn directories_get_the_time_of_unpacking_and_archives_keep_their_times() {
    for shell in shells() {
        let host = Host::with(shell);
        let old = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let before = SystemTime::now() - Duration::from_secs(2);
        for (form, page) in [
            (ArtifactForm::Directory, "packed"),
            (ArtifactForm::TarGz, "brought"),
        ] {
            let mut release = Release::dated(page, old);
            release.definition.artifact.form = form;
            host.stage(&release);
            let page = release_dir(&host, &release).join("app/index.html");
            let modified = fs::metadata(&page).expect("page").modified().expect("time");
            match release.definition.artifact.form {
                ArtifactForm::Directory => assert!(modified > before, "{shell:?}: {modified:?}"),
                _ => assert_eq!(modified, old, "{shell:?}"),
            }
        }
    }
}

#[test]
fn prune_keeps_a_release_in_which_something_is_mounted() {
    for shell in shells() {
        let host = Host::with(shell);
        let (mounted, other) = (Release::new("mounted"), Release::new("other"));
        host.stage(&mounted);
        host.stage(&other);
        let place = release_dir(&host, &mounted).join("app/uploads");
        let mounts = host.dir.path().join("mounts");
        // As the kernel writes it.
        let written = place.to_str().expect("path").replace(' ', "\\040");
        fs::write(
            &mounts,
            format!("proc /proc proc rw 0 0\n/dev/sda1 {written} ext4 rw 0 0\n"),
        )
        .expect("mounts");
        let mut script = prune(&host.site, &[mounted.id.clone(), other.id.clone()].into());
        script.text = script
            .text
            .replace("/proc/self/mounts", &format!("'{}'", mounts.display()));
        let ran = host.run(&script);
        let output = format!(
            "release {} was not removed, because something is mounted at {}",
            mounted.id,
            place.display()
        );
        assert_eq!(ran.failure(), output, "{shell:?}");
        assert_eq!(
            ran.reply().observation.releases,
            [mounted.id.clone()].into()
        );
        assert_eq!(names(&host.root().join("tmp")), Vec::<String>::new());
    }
}

#[test]
fn prune_says_what_could_not_be_deleted() {
    let (host, release) = Host::with_release();
    host.fake(
        "rm",
        "echo 'rm: cannot remove x: Operation not permitted' >&2; exit 1",
    );
    let why = host
        .run(&prune(&host.site, &[release.id.clone()].into()))
        .failure();
    assert!(
        why.contains("/tmp/out.")
            && why.ends_with(": rm: cannot remove x: Operation not permitted"),
        "{why}"
    );
}

#[test]
fn single_file_becomes_executable() {
    let host = Host::new();
    let release = Release::program("serve it", "#!/bin/sh\n");
    host.stage(&release);
    let program = release_dir(&host, &release).join("app/serve it");
    assert_eq!(
        (
            mode(&program),
            fs::read_to_string(&program).expect("program")
        ),
        (0o755, "#!/bin/sh\n".into())
    );
}

#[test]
fn staged_release_is_not_sent_again() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let script = host.stage_script(&release);
        // Not even the end of the input is waited for.
        let mut child = host.spawn(&script);
        let _input = child.stdin.take();
        wait_for("the end", || child.try_wait().expect("status").is_some());
        assert_eq!(host.ask(&script).end, ScriptEnd::Done);
    }
}

#[test]
fn stage_rejects_a_wrong_checksum_and_leaves_nothing() {
    for shell in shells() {
        let host = Host::with(shell);
        let mut release = Release::new("hello");
        release.definition.artifact.sha256 = "0".repeat(64);
        let refused = host.run(&host.stage_script(&release));
        assert!(
            refused
                .failure()
                .contains(&format!("SHA-256 {}, expected 000", release.id)),
            "{}",
            refused.failure()
        );
        assert!(refused.reply().observation.releases.is_empty());
        assert_eq!(
            names(&host.root().join("tmp")),
            Vec::<String>::new(),
            "{shell:?}"
        );
    }
}

#[test]
fn stage_reports_the_size_of_an_incomplete_input() {
    let host = Host::new();
    let release = Release::new("hello").with_secrets("A=\"1\"\nB=\"2\"\n");
    let script = host.stage_script(&release);
    let mut whole = script.input.head.clone();
    whole.extend(fs::read(&release.path).expect("artifact"));
    let cut = host.run_with(&script, &whole[..whole.len() - 5]).failure();
    let size = release.definition.artifact.size_bytes;
    assert!(
        cut.starts_with(&format!(
            "the artifact of {size} bytes is corrupt: received {} bytes",
            size - 5
        )),
        "{cut}"
    );
    let cut = host.run_with(&script, &whole[..script.input.head.len() - 3]);
    assert_eq!(
        cut.failure(),
        "the secrets did not arrive completely, or cannot be written"
    );
    assert!(cut.reply().observation.releases.is_empty());
    assert_eq!(names(&host.root().join("tmp")), Vec::<String>::new());
}

#[test]
fn stage_reports_the_error_of_tar() {
    let host = Host::new();
    let mut release = Release::program("page", "no archive");
    release.definition.artifact.form = ArtifactForm::TarGz;
    let refused = host.run(&host.stage_script(&release));
    let why = refused.failure();
    assert!(
        why.starts_with("cannot unpack the artifact:") && why.contains("gzip"),
        "{why}"
    );
    assert_eq!(names(&host.root().join("tmp")), Vec::<String>::new());
}

#[test]
fn stage_reports_a_full_disk() {
    let host = Host::new();
    let release = Release::new("hello");
    host.stage(&Release::new("another"));
    let script = host.stage_script(&release);
    // As if every write to the file that is received met a full disk.
    let full = script
        .text
        .replace(">\"$scratch/artifact\" 2>", ">/dev/full 2>");
    assert_ne!(full, script.text);
    let refused = host.run(&ship::script::Script {
        text: full,
        ..script
    });
    let why = refused.failure();
    assert!(
        why.contains("cannot receive the artifact") && why.contains("No space left on device"),
        "{why}"
    );
    assert_eq!(names(&host.root().join("tmp")), Vec::<String>::new());
    assert_eq!(refused.reply().observation.releases.len(), 1);
}

#[test]
fn stage_reports_a_full_disk_that_has_no_space_for_the_reason() {
    let host = Host::new();
    host.stage(&Release::new("another"));
    let release = Release::new("hello");
    let script = host.stage_script(&release);
    let received = ">\"$scratch/artifact\" 2>\"$scratch/output\" &";
    assert!(script.text.contains(received));
    let full = ">/dev/full 2>/dev/null & : >\"$scratch/output\"";
    host.fake("df", "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo '/dev/vda 9 9 0 100% /'");
    let refused = host.run(&ship::script::Script {
        text: script.text.replace(received, full),
        ..script
    });
    let why = refused.failure();
    let reason = format!(": there is no space left below {}", host.root().display());
    assert!(
        why.starts_with("cannot receive the artifact") && why.ends_with(&reason),
        "{why}"
    );
    assert_eq!(why.matches("space").count(), 1, "{why}");
}

#[test]
fn stage_removes_leftovers_of_an_interrupted_attempt() {
    let host = Host::new();
    let release = Release::new("hello");
    let script = host.stage_script(&release);
    let mut child = host.spawn(&script);
    child
        .stdin
        .as_mut()
        .expect("stdin")
        .write_all(b"the first half")
        .expect("write");
    let tmp = host.root().join("tmp");
    wait_for("the first half", || tmp.exists() && !names(&tmp).is_empty());
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!(host.observe().releases.is_empty(), "never half a release");
    assert_eq!(names(&tmp).len(), 1);
    host.stage(&release);
    assert_eq!(names(&tmp), Vec::<String>::new());
}

#[test]
fn killed_transfer_leaves_nothing() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello").with_secrets("A=\"1\"\nB=\"2\"\n");
        let script = host.stage_script(&release);
        let tmp = host.root().join("tmp");
        let whole = [script.input.head.clone(), b"the first half".to_vec()].concat();
        // In the middle of the artifact, and of the secrets.
        for arrived in [whole.as_slice(), &whole[..8]] {
            let mut child = host.watched(&script, 1).spawn().expect("a shell");
            let mut sender = child.stdin.take().expect("stdin");
            sender.write_all(arrived).expect("write");
            wait_for("the first half", || !openers(&tmp).is_empty());
            // The sender neither continues nor closes the connection.
            wait_for("the watch", || child.try_wait().expect("status").is_some());
            assert_eq!(names(&tmp), Vec::<String>::new(), "{shell:?}");
            // The shell ends its receiver, and does not wait for that.
            wait_for("the end of the receiver", || openers(&tmp).is_empty());
        }
        assert!(host.observe().releases.is_empty());
    }
}

#[test]
fn newer_epoch_removes_leftovers() {
    for shell in shells() {
        let mut host = Host::with(shell);
        host.order(&claim(&host.site));
        let tmp = host.root().join("tmp");
        let half = tmp.join("in.4711/release/app");
        fs::create_dir_all(&half).expect("directory");
        fs::write(half.join("half a page"), "hel").expect("file");
        fs::create_dir(tmp.join("out.4712")).expect("directory");
        host.site.order = ActionId(2);
        host.order(&claim(&host.site));
        assert_eq!(
            names(&tmp),
            ["in.4711", "out.4712"],
            "another action of this rollout may use it"
        );
        host.site.epoch = Epoch(8);
        host.order(&claim(&host.site));
        assert_eq!(names(&tmp), Vec::<String>::new(), "{shell:?}");
    }
}

#[test]
fn stalled_transfer_does_not_hold_the_lock() {
    let host = Host::new();
    let (slow, quick) = (Release::new("slow"), Release::new("quick"));
    let mut asleep = host.spawn(&host.stage_script(&slow));
    let tmp = host.root().join("tmp");
    wait_for("the slow one", || tmp.exists() && !names(&tmp).is_empty());
    assert_eq!(host.stage(&quick).releases, [quick.id.clone()].into());
    drop(asleep.stdin.take());
    asleep.wait().expect("wait");
    assert_eq!(host.observe().releases, [quick.id.clone()].into());
}

#[test]
fn secrets_without_a_last_newline_arrive_as_they_are() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello").with_secrets("A='%s \\n'\n\n  B=\"2\"");
        host.stage(&release);
        let secrets = release_dir(&host, &release).join("secrets");
        assert_eq!(
            fs::read_to_string(&secrets).expect("secrets"),
            "A='%s \\n'\n\n  B=\"2\"",
            "{shell:?}"
        );
        assert_eq!(mode(&secrets), 0o600);
    }
}

#[test]
fn secrets_with_a_wrong_checksum_are_refused() {
    let host = Host::new();
    let mut release = Release::new("hello").with_secrets("A=\"1\"\n");
    release.definition.secrets_sha256 = Some("0".repeat(64));
    let why = host.run(&host.stage_script(&release)).failure();
    assert!(
        why.starts_with("the secrets file is corrupt: received 6 bytes"),
        "{why}"
    );
    assert!(host.observe().releases.is_empty());
}

#[test]
fn prune_keeps_a_release_in_use() {
    let host = Host::new();
    let (old, running) = (Release::new("old"), Release::new("running"));
    host.stage(&old);
    host.stage(&running);
    host.start(&host.launch_sh("a", &running, "exec sleep 60"));
    let all = [
        old.id.clone(),
        running.id.clone(),
        ReleaseId::from("e".repeat(64)),
    ]
    .into();
    let reply = host.ask(&prune(&host.site, &all));
    assert_eq!(
        reply.end,
        ScriptEnd::Failed(format!("not removed, because it is in use: {}", running.id))
    );
    assert_eq!(reply.observation.releases, [running.id.clone()].into());
    assert!(!release_dir(&host, &old).exists());

    host.stop("a");
    assert!(host.order(&prune(&host.site, &all)).releases.is_empty());
    assert!(
        host.order(&prune(&host.site, &all)).releases.is_empty(),
        "twice is as good as once"
    );
    assert_eq!(names(&host.root().join("tmp")), Vec::<String>::new());
}

#[test]
fn prune_accepts_only_digests() {
    let host = Host::new();
    host.stage(&Release::new("hello"));
    let precious = host.dir.path().join("precious");
    fs::create_dir(&precious).expect("directory");
    symlink(&precious, host.root().join("releases/link")).expect("link");
    for name in ["../../precious", "link", ".", "*", ""] {
        let refused = host.ask(&prune(&host.site, &[ReleaseId::from(name)].into()));
        assert_eq!(refused.observation.releases.len(), 1, "{name}");
    }
    assert!(precious.exists());
}
