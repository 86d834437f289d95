//! Trust: ship uses files that it found itself only if no other user can change them, keeps its
//! state private, and passes secrets only to programs that need them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use crate::project::LocalProject;
use ship_testing::command::{Done, Running, in_environment_of, ship_command};

const STRANGER: u32 = 4711;
const TOKEN: &str = "s3cret-of-the-environment";
const HOOK_URL: &str = "http://127.0.0.1:9/s3cret-webhook";

/// Gives a file to another user; returns whether that is possible.
#[must_use]
fn give_away(path: &Path) -> bool {
    let given = chown(path, Some(STRANGER), None).is_ok();
    if !given {
        eprintln!("SKIPPED: only root can give a file away");
    }
    given
}

/// Every file and directory below one, but for those of hosts.
fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .expect("our own directory")
        .flatten()
        .map(|entry| entry.path());
    let entries = entries.filter(|path| !path.ends_with(".ship/hosts"));
    entries
        .flat_map(|path| {
            if path.is_dir() {
                [vec![path.clone()], below(&path)].concat()
            } else {
                vec![path]
            }
        })
        .collect()
}

/// `ship` as a word of a shell's script: `$SHIP`.
fn by_shell(project: &LocalProject, script: &str) -> Done {
    let ship = ship_command(project.root(), &[]);
    let mut command = in_environment_of(&ship, "sh");
    command.args(["-c", script]).env("SHIP", ship.get_program());
    Running::spawn(command).wait()
}

#[test]
fn lone_inventory_in_a_directory_of_another_user_is_refused() {
    let project = LocalProject::small();
    let theirs = project.path("theirs");
    fs::create_dir(&theirs).expect("our own directory");
    for file in ["inventory.toml", "playbook.toml"] {
        symlink(project.path(file), theirs.join(file)).expect("our own link");
    }
    project
        .ship(&["history"])
        .within(&theirs)
        .any_stdout()
        .run();
    if !give_away(&theirs) {
        return;
    }
    for verb in ["status", "plan", "deploy"] {
        let done = project
            .ship(&[verb])
            .within(&theirs)
            .any_stderr()
            .status(2)
            .run();
        assert!(
            done.stderr.contains("belongs to uid 4711, not to root"),
            "{verb}: {}",
            done.stderr
        );
    }
}

#[test]
fn state_directory_of_another_user_is_refused_for_a_named_inventory_too() {
    let project = LocalProject::small();
    let sub = project.path("sub");
    fs::create_dir(&sub).expect("our own directory");
    for file in ["inventory.toml", "playbook.toml"] {
        fs::copy(project.path(file), sub.join(file)).expect("our own file");
    }
    fs::create_dir(project.path(".ship")).expect("our own directory");
    if !give_away(&project.path(".ship")) {
        return;
    }
    for args in [
        &["status"][..],
        &["status", "inventory.toml"],
        &["deploy", "inventory.toml"],
        &["restart"],
    ] {
        let done = project.ship(args).within(&sub).any_stderr().status(2).run();
        let planted = format!(
            "error: {} belongs to uid 4711, not to root",
            project.path(".ship").display()
        );
        assert!(
            done.stderr.starts_with(&planted),
            "{args:?}: {}",
            done.stderr
        );
        assert!(
            done.stderr.contains("\nhint: ") && done.stderr.contains("chown -R root "),
            "{}",
            done.stderr
        );
    }
    project.assert_hosts_untouched();
}

#[test]
fn files_of_a_found_inventory_are_refused_unless_it_is_named() {
    for file in ["inventory.toml", "playbook.toml", "ssh_config", "page.env"] {
        let keys = "env_file = \"page.env\"\n\n[service.env]\n";
        let project = LocalProject::small().with("[service.env]\n", keys);
        fs::write(project.path("page.env"), "PASSWORD=hunter2\n").expect("our own file");
        fs::write(project.path("ssh_config"), "").expect("our own file");
        let inventory = fs::read_to_string(project.path("inventory.toml")).expect("our own file");
        let with_ssh = inventory.replace("[fleet]", "[ssh]\nconfig = \"ssh_config\"\n\n[fleet]");
        fs::write(project.path("inventory.toml"), with_ssh).expect("our own file");
        project
            .ship(&["history"])
            .stdout("nothing has been deployed from here yet\nhint: `ship status` shows what the hosts run\n")
            .run();
        if !give_away(&project.path(file)) {
            return;
        }
        for verb in ["history", "plan", "deploy"] {
            let done = project.ship(&[verb]).any_stderr().status(2).run();
            let refused = format!(
                "{file} belongs to uid 4711, not to root, and ship found it automatically\nhint: "
            );
            assert!(done.stderr.contains(&refused), "{verb}: {}", done.stderr);
        }
        project
            .ship(&["history", "inventory.toml"])
            .stdout("nothing has been deployed from here yet\nhint: `ship status` shows what the hosts run\n")
            .run();
    }
}

#[test]
fn file_that_others_can_write_to_is_refused() {
    let project = LocalProject::small();
    fs::set_permissions(
        project.path("playbook.toml"),
        fs::Permissions::from_mode(0o646),
    )
    .expect("our own file");
    let done = project.ship(&["plan"]).any_stderr().status(2).run();
    assert!(
        done.stderr.contains("playbook.toml belongs to "),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr
            .contains("but other users can write to it (mode 0646)"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("chmod go-w "), "{}", done.stderr);
}

#[test]
fn link_in_the_state_directory_is_not_followed() {
    for link in ["ship.db", "runs", "artifacts"] {
        let project = LocalProject::small();
        fs::create_dir(project.path(".ship")).expect("our own directory");
        let victim = project.path("victim");
        symlink(&victim, project.path(".ship").join(link)).expect("our own directory");
        let done = project
            .ship(&["deploy", "inventory.toml"])
            .any_stderr()
            .status(2)
            .run();
        let refused =
            format!(".ship/{link} is a symbolic link, and ship does not follow links there");
        assert!(done.stderr.contains(&refused), "{}", done.stderr);
        assert!(!victim.exists());
    }
}

#[test]
fn everything_in_the_state_directory_is_private_whatever_the_umask() {
    let project = LocalProject::small();
    let script = "umask 0; $SHIP deploy inventory.toml && $SHIP deploy inventory.toml --version \
                  0.9 && $SHIP report";
    by_shell(&project, script).exits(0);
    let found = below(&project.path(".ship"));
    let names: Vec<_> = found
        .iter()
        .map(|path| path.strip_prefix(project.path(".ship")).expect("below it"))
        .collect();
    for expected in [
        ".gitignore",
        "ship.db",
        "runs/1.jsonl",
        "runs/2.html",
        "artifacts",
    ] {
        assert!(
            names.iter().any(|name| *name == Path::new(expected)),
            "no {expected} in {names:?}"
        );
    }
    for path in found.into_iter().chain([project.path(".ship")]) {
        let mode = fs::metadata(&path).expect("our own file").mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    assert_eq!(
        fs::read_to_string(project.path(".ship/.gitignore")).expect("a file"),
        "*\n"
    );
}

#[test]
fn secrets_that_a_hook_or_the_service_prints_are_stored_nowhere() {
    let hooks = "[[hooks]]\non = \"before_all\"\ncommand = \"sh -c 'echo here: $TOKEN'\"\n\
                 [[hooks]]\non = \"before_start\"\ncommand = \"sh -c 'echo there: $TOKEN; exit \
                 3'\"\n[rollout]\n";
    let project = LocalProject::small().with("[rollout]\n", hooks).with(
        "[service.env]\n",
        "secrets = [\"TOKEN\"]\n\n[service.env]\n",
    );
    let args = ["deploy", "inventory.toml", "--output", "json"];
    let done = project
        .ship(&args)
        .env("TOKEN", TOKEN)
        .any_stdout()
        .any_stderr()
        .status(4)
        .run();
    assert!(
        done.stdout.contains("here: …") && done.stdout.contains("there: …"),
        "{}",
        done.stdout
    );
    for path in below(&project.path(".ship"))
        .into_iter()
        .filter(|path| path.is_file())
    {
        let bytes = fs::read(&path).expect("our own file");
        let holds = bytes
            .windows(TOKEN.len())
            .any(|part| part == TOKEN.as_bytes());
        assert!(!holds, "{} holds the secret", path.display());
    }
}

#[test]
fn programs_inherit_no_secret_that_they_do_not_need() {
    let hook = "[[hooks]]\non = \"before_all\"\ncommand = \"sh -c 'env >hook.env'\"\n\
                [notify]\non = [\"success\", \"failure\"]\ncommand = \"sh -c 'env >notify.env'\"\n\
                [notify.webhook]\nurl_env = \"HOOK_URL\"\n[rollout]\n";
    let project = LocalProject::small().with("[rollout]\n", hook).with(
        "[service.env]\n",
        "secrets = [\"TOKEN\"]\n\n[service.env]\n",
    );
    let script = "TOKEN={TOKEN} HOOK_URL={URL} SHIP_LEASE=nothing $SHIP deploy inventory.toml";
    let script = script.replace("{TOKEN}", TOKEN).replace("{URL}", HOOK_URL);
    by_shell(&project, &script).exits(0);
    let environment =
        |file: &str| fs::read_to_string(project.path(file)).expect("the program has run");
    let (hook, notify) = (environment("hook.env"), environment("notify.env"));
    assert!(hook.contains(TOKEN), "a hook is the service's own: {hook}");
    for reported in [&hook, &notify] {
        assert!(
            reported.contains("SHIP_SERVICE=page") && !reported.contains("s3cret-webhook"),
            "{reported}"
        );
    }
    assert!(
        !notify.contains(TOKEN) && !notify.contains("SHIP_LEASE"),
        "{notify}"
    );

    // The environment of ssh, which a ProxyCommand inherits.
    let (bin, seen) = (project.path("bin"), project.path("ssh.env"));
    fs::create_dir(&bin).expect("our own directory");
    let ssh = bin.join("ssh");
    fs::write(
        &ssh,
        format!("#!/bin/sh\nenv >>{}\nexit 255\n", seen.display()),
    )
    .expect("our own file");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("our own file");
    let inventory = fs::read_to_string(project.path("inventory.toml")).expect("our own file");
    let remote = inventory.replace(
        "transport = \"local\"",
        "transport = \"ssh\"\nconnect_timeout = \"1s\"",
    );
    fs::write(project.path("inventory.toml"), remote).expect("our own file");
    by_shell(
        &project,
        &format!(
            "PATH={}:$PATH; {}",
            bin.display(),
            script.replace("deploy", "plan")
        ),
    )
    .exits(7);
    let ssh = fs::read_to_string(&seen).expect("ssh was called");
    assert!(
        ssh.contains("PATH=") && !ssh.contains("s3cret") && !ssh.contains("SHIP_LEASE"),
        "{ssh}"
    );
}

#[test]
fn reading_verbs_need_and_create_no_state_directory() {
    let project = LocalProject::small();
    for args in [&["status"][..], &["history"]] {
        project.ship(args).any_stdout().run();
        assert!(!project.path(".ship").exists(), "{args:?} has made one");
    }
}

#[test]
fn verbs_that_only_read_work_where_the_state_directory_is_read_only() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let fenced = |script: &str| {
        let mount = "mount --bind .ship .ship && mount -o remount,bind,ro .ship";
        by_shell(&project, &format!("unshare -m sh -c '{mount} && {script}'"))
    };
    if fenced("exit 77").code != Some(77) {
        eprintln!("SKIPPED: a read-only mount needs root");
        return;
    }
    for verb in [
        "status",
        "history",
        "logs",
        "logs --rollout last",
        "plan",
        "report --output-file -",
    ] {
        let done = fenced(&format!("$SHIP {verb}")).exits(0);
        assert!(!done.stdout.is_empty() || verb == "logs", "{verb}");
    }
    let done = fenced("$SHIP status --output json").exits(0);
    assert!(done.stdout.contains("\"revision\":1"), "{}", done.stdout);
    let done = fenced("$SHIP deploy").exits(1);
    assert!(
        done.stderr.contains("ship.db failed: ") && done.stderr.contains("\nhint: "),
        "{}",
        done.stderr
    );
}

#[test]
fn unreadable_state_directory_is_not_treated_as_empty() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let as_other_user = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    if by_shell(&project, &format!("{as_other_user} $SHIP --version")).code != Some(0) {
        eprintln!("SKIPPED: only root can become another user, who must be able to run ship");
        return;
    }
    fs::set_permissions(project.root(), fs::Permissions::from_mode(0o755))
        .expect("our own directory");
    let refused = "ship.db: Permission denied (os error 13)\nhint: run ship as the \
                   user who owns it\n";
    for verb in ["history", "status", "deploy"] {
        let done = by_shell(
            &project,
            &format!("{as_other_user} $SHIP {verb} inventory.toml"),
        )
        .exits(1);
        assert!(done.stderr.ends_with(refused), "{verb}: {}", done.stderr);
    }
}

#[test]
fn process_limit_is_reported_without_hanging() {
    let project = LocalProject::small();
    let as_other_user = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    if by_shell(&project, &format!("{as_other_user} $SHIP --version")).code != Some(0) {
        eprintln!("SKIPPED: only root can become another user, who must be able to run ship");
        return;
    }
    fs::set_permissions(project.root(), fs::Permissions::from_mode(0o755))
        .expect("our own directory");
    let done = by_shell(
        &project,
        &format!("{as_other_user} prlimit --nproc=1:1 $SHIP history inventory.toml"),
    )
    .exits(1);
    assert!(
        done.stderr.starts_with("error: cannot start a thread: "),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("ulimit -u"), "{}", done.stderr);
}
