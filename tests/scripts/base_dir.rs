//! Who may own and change what ship runs on a host.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ship::core::release::Driver;
use ship::script::{
    CommandProbe, Needs, ScriptEnd, Unreadable, check, claim, observe, probe_command, read_check,
    read_probe_result, read_reply, start,
};

use crate::host::{Host, Release, Shell, mode, now, shells};
use crate::systemd::moved;

/// An account that every system has and that owns nothing.
const OTHER_USER: u32 = 65534;

fn is_root() -> bool {
    let is_root = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
    if !is_root {
        eprintln!("not run: giving files to others takes root");
    }
    is_root
}

/// Makes directory `name` of the host's own directory, with this mode, and moves `base_dir` below
/// it.
fn base_dir_below(host: &mut Host, name: &str, mode: u32) -> PathBuf {
    let dir = host.dir.path().join(name);
    fs::create_dir_all(&dir).expect("directory");
    fs::set_permissions(&dir, Permissions::from_mode(mode)).expect("mode");
    host.site.base_dir = dir.join("ship").to_str().expect("path").into();
    dir
}

fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).expect("root may");
}

/// How an order is refused, after every other script has refused the directory, too.
fn refusal(host: &Host) -> String {
    let ran = host.run(&claim(&host.site));
    let why = match read_reply(&ran.stdout, now()).expect("a reply").end {
        ScriptEnd::Failed(why) => why,
        other => panic!("{other:?}"),
    };
    let looked = host.run(&observe(&host.site)).stdout;
    assert_eq!(
        read_reply(&looked, now()),
        Err(Unreadable::UnsafePath(why.clone()))
    );
    let checked = host.run(&check(&host.site, &Needs::NONE)).stdout;
    assert_eq!(
        read_check(&checked, now()).expect("facts").0.problems,
        [why.as_str()]
    );
    let question = CommandProbe {
        number: host.port,
        instance: "a".into(),
        release: Release::new("hello").id,
        driver: Driver::Process,
        user: None,
        argv: vec!["true".into()],
        timeout: Duration::from_secs(5),
    };
    let answer = read_probe_result(&host.run(&probe_command(&host.site, &question)).stdout)
        .expect("an answer");
    assert_eq!((answer.status, answer.line), (126, why.clone()));
    why
}

#[test]
fn base_dir_is_refused_where_every_user_can_write_to_a_parent() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let open = base_dir_below(&mut host, "open", 0o777);
        let why = refusal(&host);
        let printed = format!("is not safe: {} is writable by every user", open.display());
        assert!(
            why.contains(&printed) && why.ends_with("or set another base_dir"),
            "{shell:?}: {why}"
        );
        assert_eq!(
            fs::read_dir(&open).expect("directory").count(),
            0,
            "nothing is made there"
        );
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).expect("mode");
        host.order(&claim(&host.site));
        host.observe();
    }
}

#[test]
fn base_dir_is_refused_where_another_user_owns_a_part_of_the_path() {
    if !is_root() {
        return;
    }
    let mut host = Host::new();
    let dir = base_dir_below(&mut host, "theirs/deeper", 0o755);
    let theirs = dir.parent().expect("parent");
    give(theirs, OTHER_USER, OTHER_USER);
    let why = refusal(&host);
    assert!(
        why.contains(&format!("{} belongs to user nobody", theirs.display())),
        "{why}"
    );

    // The user who logged in and called sudo could do as much anyway.
    let script = observe(&host.site);
    let output = host
        .command(&script)
        .env("SUDO_UID", OTHER_USER.to_string())
        .stdin(Stdio::null())
        .output();
    let looked = String::from_utf8(output.expect("a shell").stdout).expect("text");
    assert!(read_reply(&looked, now()).is_ok(), "{looked}");

    give(theirs, 0, 0);
    host.order(&claim(&host.site));
    for part in ["", "slots", "releases", "tmp", "lock"] {
        let path = host.root().join(part);
        give(&path, OTHER_USER, 0);
        assert!(refusal(&host).contains("belongs to user nobody"), "{part}");
        give(&path, 0, 0);
    }
}

#[test]
fn base_dir_is_refused_where_a_group_with_others_in_it_can_write() {
    if !is_root() {
        return;
    }
    let mut host = Host::new();
    let dir = base_dir_below(&mut host, "shared", 0o775);
    give(&dir, 0, OTHER_USER);
    let why = refusal(&host);
    assert!(
        why.contains(&format!(
            "{} is writable by group {OTHER_USER}",
            dir.display()
        )),
        "{why}"
    );
    give(&dir, 0, 0);
    host.order(&claim(&host.site));
}

#[test]
fn base_dir_is_judged_by_where_its_links_lead_and_who_can_change_them() {
    let mut host = Host::new();
    let open = base_dir_below(&mut host, "open", 0o777);
    let closed = base_dir_below(&mut host, "closed", 0o755);
    // Where it leads is safe, but everybody could make it lead elsewhere.
    symlink(&closed, open.join("link")).expect("link");
    host.site.base_dir = open.join("link/ship").to_str().expect("path").into();
    assert!(refusal(&host).contains(&format!("{} is writable by", open.display())));
    // The same at the second of two links.
    symlink("../open/link", closed.join("first")).expect("link");
    host.site.base_dir = closed.join("first/ship").to_str().expect("path").into();
    assert!(refusal(&host).contains(&format!("{} is writable by", open.display())));
    // It leads to where everybody can write.
    symlink("../open", closed.join("out")).expect("link");
    host.site.base_dir = closed.join("out/ship").to_str().expect("path").into();
    assert!(refusal(&host).contains(&format!("{} is writable by", open.display())));
    // A link within what is safe.
    symlink("../closed/.", closed.join("self")).expect("link");
    host.site.base_dir = closed.join("self/ship").to_str().expect("path").into();
    host.order(&claim(&host.site));
    assert!(closed.join("ship/testpage/epoch").exists());
    symlink("round", closed.join("round")).expect("link");
    host.site.base_dir = closed.join("round/ship").to_str().expect("path").into();
    let why = host.run(&claim(&host.site)).failure();
    assert!(
        why.ends_with("/closed/round is a symbolic link that leads nowhere"),
        "{why}"
    );
}

#[test]
fn lock_and_state_are_private_also_where_an_earlier_version_left_them_readable() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let modes = |wanted: &[(&str, u32)]| {
            for (name, bits) in wanted {
                assert_eq!(mode(&host.root().join(name)), *bits, "{shell:?}: {name}");
            }
        };
        let private = [("lock", 0o600), ("epoch", 0o600), ("tmp", 0o700)];
        modes(&private);
        // What the service's user has to get through.
        modes(&[("", 0o755), ("slots", 0o755), ("releases", 0o755)]);
        for (name, bits) in [("lock", 0o644), ("epoch", 0o644), ("tmp", 0o755)] {
            fs::set_permissions(host.root().join(name), Permissions::from_mode(bits))
                .expect("mode");
        }
        host.observe();
        modes(&[("lock", 0o644)]);
        host.order(&claim(&host.site));
        modes(&private);
    }
}

#[test]
fn process_driver_runs_nothing_as_root_over_ssh_where_the_playbook_names_no_user() {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return;
    }
    let mut host = Host::new();
    fs::set_permissions(host.dir.path(), Permissions::from_mode(0o755)).expect("mode");
    let release = Release::new("hello");
    host.stage(&release);
    let launch = host.launch_sh("a", &release, "id -u; exec sleep 60");
    host.start(&launch);
    host.wait_for_log("0");
    host.stop("a");

    // An account of this machine stands in for the one that ship makes.
    let calls = host.dir.path().join("calls");
    host.fake("useradd", &format!("echo \"$*\" >>'{}'", calls.display()));
    let id = r#"case "$1 $2" in
        '-u ship-testpage') [ -e "CALLS" ] && echo 65534 ;;
        '-g ship-testpage') [ -e "CALLS" ] && echo 65534 ;;
        *) exec /usr/bin/id "$@" ;;
    esac"#;
    host.fake("id", &id.replace("CALLS", calls.to_str().expect("path")));
    host.fake(
        "setpriv",
        r#"for word; do
        shift
        case $word in
            --reuid=*) set -- "$@" --reuid=65534 ;;
            --init-groups) set -- "$@" --clear-groups ;;
            *) set -- "$@" "$word" ;;
        esac
    done
    exec /usr/bin/setpriv "$@""#,
    );
    host.site.is_remote = true;
    host.start(&launch);
    host.wait_for_log("65534");
    assert!(
        fs::read_to_string(&calls)
            .expect("calls")
            .ends_with(" ship-testpage\n")
    );
    let record = fs::read_to_string(host.slot().join("instance")).expect("record");
    assert!(record.contains("\nuser=ship-testpage\n"), "{record}");
    let question = CommandProbe {
        number: host.port,
        instance: "a".into(),
        release: release.id.clone(),
        driver: Driver::Process,
        user: None,

        argv: ["sh", "-c", "id -u"].map(String::from).to_vec(),
        timeout: Duration::from_secs(5),
    };
    let answer = read_probe_result(&host.run(&probe_command(&host.site, &question)).stdout)
        .expect("an answer");
    assert_eq!((answer.status, answer.line.as_str()), (0, "65534"));
}

/// What a check of the host finds, as the service's user would.
fn checked(host: &Host, needs: &Needs<'_>) -> (Vec<String>, Vec<String>) {
    let ran = host.run(&moved(host, check(&host.site, needs)));
    let (facts, _) =
        read_check(&ran.stdout, now()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (facts.problems, facts.warnings)
}

#[test]
fn check_names_the_directory_that_the_services_user_cannot_enter() {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return;
    }
    // Busybox has a setpriv that cannot become another user: there the directory is not tried.
    for shell in shells()
        .into_iter()
        .filter(|shell| *shell != Shell::Busybox)
    {
        let mut host = Host::with(shell);
        fs::set_permissions(host.dir.path(), Permissions::from_mode(0o755)).expect("mode");
        let barred = base_dir_below(&mut host, "barred", 0o700);
        let needs = Needs {
            driver: Driver::Systemd,
            instances: true,
            ..Needs::NONE
        };
        let printed = |user: &str| {
            format!(
                "user {user} cannot enter {0}; allow it with `chmod o+x {0}`, or set another \
                 base_dir",
                barred.display()
            )
        };
        assert_eq!(
            checked(&host, &needs).0,
            [printed("ship-testpage")],
            "{shell:?}: a user that is still to be made"
        );
        let other_user = Needs {
            user: Some("nobody"),
            ..needs
        };
        assert_eq!(
            checked(&host, &other_user).0,
            [printed("nobody")],
            "{shell:?}"
        );
        assert_eq!(
            checked(
                &host,
                &Needs {
                    user: Some("root"),
                    ..needs
                }
            )
            .0,
            Vec::<String>::new()
        );
        let missing = Needs {
            user: Some("no-such-user"),
            ..needs
        };
        assert_eq!(
            checked(&host, &missing).0,
            ["user no-such-user does not exist on this host; create it, or set another user"]
        );
        fs::set_permissions(&barred, Permissions::from_mode(0o711)).expect("mode");
        assert_eq!(checked(&host, &needs).0, Vec::<String>::new());
    }
}

#[test]
fn check_finds_masked_units_a_noexec_mount_and_ports_for_outgoing_connections() {
    for shell in shells() {
        let mut host = Host::with(shell);
        fs::set_permissions(host.dir.path(), Permissions::from_mode(0o755)).expect("mode");
        let units = host.dir.path().join("units");
        fs::create_dir(&units).expect("directory");
        let needs = Needs {
            driver: Driver::Systemd,
            user: Some("root"),
            instances: true,
            ..Needs::NONE
        };
        host.site.slots = [8081, 40000, 40001].map(|port| (port, vec![port])).into();
        let run = |needs: &Needs<'_>, mounts: &str, reserved: &str| {
            let file = |name: &str, text: &str| {
                let path = host.dir.path().join(name);
                fs::write(&path, text).expect("file");
                format!("'{}'", path.display())
            };
            let mut script = moved(&host, check(&host.site, needs));
            for (place, file) in [
                (
                    "/proc/sys/net/ipv4/ip_local_port_range",
                    file("range", "32768\t60999\n"),
                ),
                (
                    "/proc/sys/net/ipv4/ip_local_reserved_ports",
                    file("reserved", reserved),
                ),
                ("/proc/self/mounts", file("mounts", mounts)),
            ] {
                script.text = script
                    .text
                    .replace(&format!("<{place}"), &format!("<{file}"));
            }
            let (facts, _) = read_check(&host.run(&script).stdout, now()).expect("facts");
            (facts.problems, facts.warnings)
        };
        let mounts = format!(
            "a / ext4 rw,noexec 0 0\nb {} ext4 rw 0 0\n",
            host.dir.path().display()
        );
        let program = Needs {
            executes: Some("./server"),
            ..needs
        };
        let (problems, warnings) = run(&program, &mounts, "1-7,40001\n");
        assert_eq!(problems, Vec::<String>::new(), "{shell:?}");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0]
                .starts_with("this host may use port 40000 for an outgoing connection (32768")
        );

        let mounts = format!(
            "a / ext4 rw 0 0\nb {} ext4 rw,noexec 0 0\n",
            host.dir.path().display()
        );
        let printed = format!(
            "{} is mounted noexec, but ./server must be executable there; mount it with exec, or set \
             another base_dir",
            host.dir.path().display()
        );
        assert_eq!(run(&program, &mounts, "\n").0, [printed]);
        assert_eq!(
            run(&needs, &mounts, "\n").0,
            Vec::<String>::new(),
            "nothing is executed there"
        );

        let unit = "ship-testpage@8081.service";
        symlink("/dev/null", units.join(unit)).expect("link");
        let printed = format!(
            "the unit {unit} is masked on this host; unmask it with `systemctl unmask {unit}`"
        );
        assert_eq!(run(&needs, "", "\n").0, [printed], "{shell:?}");
    }
}

#[test]
fn start_leaves_a_masked_unit_alone() {
    let (host, release) = Host::with_release();
    let units = host.dir.path().join("units");
    fs::create_dir(&units).expect("directory");
    host.fake("useradd", "");
    host.fake("systemctl", "");
    for unit in [
        "ship-testpage@.service".to_owned(),
        format!("ship-testpage@{}.service", host.port),
    ] {
        symlink("/dev/null", units.join(&unit)).expect("link");
        let launch = ship::script::StartSpec {
            driver: Driver::Systemd,
            ..host.launch("a", &release)
        };
        let refused = host.run(&moved(&host, start(&host.site, &launch)));
        assert!(
            refused
                .failure()
                .starts_with(&format!("the unit {unit} is masked on this host")),
            "{refused:?}"
        );
        assert!(
            fs::symlink_metadata(units.join(&unit))
                .expect("link")
                .is_symlink()
        );
        fs::remove_file(units.join(&unit)).expect("link");
    }
}
