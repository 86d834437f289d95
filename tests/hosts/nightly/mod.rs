//! Nights that the real cron and the real systemd make: what `ship cron` prints is installed, and
//! nobody is there.
//!
//! cron knows minutes, so a night lasts half of one here: the line stands twice in the crontab,
//! once with a pause before it. In a world of its own cron has its own spool, no other job, and a
//! sendmail that keeps what it is given.

mod bad;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Running, ship};
use ship_testing::fleet::{Fleet, Host};
use ship_testing::inventory::Inventory;
use ship_testing::namespace::{self, run, until, write};
use ship_testing::project::Project;

const CRON: [(&str, &str); 2] = [("cron", "cron"), ("crontab", "cron")];

/// From the end of a night to the end of the next one.
const NIGHT: Duration = Duration::from_secs(75);

/// Where the inventory is found: signs that mean something to cron and to the shell must not
/// matter.
const ODD: &str = "it's 50% off";

const MAILS: &str = "/run/mail";

/// cron, as it is on no machine but this world's.
struct Cron(#[expect(dead_code, reason = "it is ended when this is dropped")] Running);

impl Cron {
    /// With the crontab of a project, which only this world sees.
    fn start(project: &Project) -> Self {
        for dir in [
            "/run/mail",
            "/run/sbin",
            "/run/sbin-work",
            "/run/spool/crontabs",
        ] {
            fs::create_dir_all(dir).expect("a directory in the world");
        }
        write(Path::new("/run/nothing"), "");
        // `crontab` runs as this group, and refuses a spool that is anybody's.
        run("chgrp", &["crontab", "/run/spool/crontabs"]);
        run("chmod", &["1730", "/run/spool/crontabs"]);
        run("mount", &["--bind", "/run/spool", "/var/spool/cron"]);
        run("mount", &["--bind", "/run/nothing", "/etc/crontab"]);
        run("mount", &["-t", "tmpfs", "none", "/etc/cron.d"]);
        let layers = "lowerdir=/usr/sbin,upperdir=/run/sbin,workdir=/run/sbin-work";
        run(
            "mount",
            &["-t", "overlay", "overlay", "-o", layers, "/usr/sbin"],
        );
        let sendmail = Path::new("/usr/sbin/sendmail");
        write(
            sendmail,
            "#!/bin/sh\nmail=$(date +%s%N)\ncat >/run/mail/.$mail && mv /run/mail/.$mail \
             /run/mail/$mail\n",
        );
        fs::set_permissions(sendmail, fs::Permissions::from_mode(0o755)).expect("our own file");
        install(project);
        let mut cron = Command::new("/usr/sbin/cron");
        cron.arg("-f");
        Self(Running::spawn(cron))
    }

    /// What it has mailed, oldest first.
    fn mails() -> Vec<String> {
        let files = fs::read_dir(MAILS)
            .expect("our own directory")
            .flatten()
            .map(|file| file.path());
        let is_whole = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
        };
        let mut files: Vec<_> = files.filter(is_whole).collect();
        files.sort();
        files
            .iter()
            .map(|file| fs::read_to_string(file).expect("our own file"))
            .collect()
    }
}

/// Two hosts that are this machine, and a channel that says which version is the newest.
fn project() -> Project {
    let project = Project::new(|playbook| {
        Inventory::new(playbook, "nights")
            .local_host("node1", "127.0.0.11")
            .local_host("node2", "127.0.0.12")
            .text()
    });
    let project = project
        .with("driver = \"systemd\"", "driver = \"process\"")
        .with("replicas = 3", "replicas = 2")
        .with(
            "[readiness]",
            "[artifact.channels]\nnightly = \"latest.txt\"\n\n[unattended]\nsoak = \
             \"1s\"\n\n[readiness]",
        );
    symlink(".", project.path(ODD)).expect("our own directory");
    project
}

/// What the day has built.
fn built(project: &Project, version: &str, behaviour: Behaviour) {
    project.release(version, behaviour);
    write(&project.path("latest.new"), &format!("{version}\n"));
    fs::rename(project.path("latest.new"), project.path("latest.txt")).expect("our own files");
}

/// Installs what ship prints, but for every half minute.
fn install(project: &Project) {
    let inventory = project
        .path(ODD)
        .join("inventory.toml")
        .display()
        .to_string();
    let args = [
        "cron",
        &inventory,
        "--crontab",
        "--version",
        "nightly",
        "--mail",
        "ops@example.org",
    ];
    let printed = ship(project.dir(), &args).exits(0).stdout;
    let crontab: Vec<_> = printed
        .lines()
        .flat_map(|line| match line.strip_prefix("0 2 * * * ") {
            Some(command) => vec![
                format!("* * * * * {command}; echo \"exit code $?\""),
                format!("* * * * * sleep 30; {command}; echo \"exit code $?\""),
            ],
            None => vec![line.to_owned()],
        })
        .collect();
    assert_eq!(
        crontab.iter().filter(|line| line.starts_with("* ")).count(),
        2,
        "{printed}"
    );
    write(&project.path("crontab"), &(crontab.join("\n") + "\n"));
    run("crontab", &[&project.path("crontab").display().to_string()]);
    assert!(
        run("crontab", &["-l"]).contains(r"50\% off"),
        "cron would take the rest of the line for input"
    );
}

/// Waits for the end of the next night, whose mail says all this.
#[track_caller]
fn night(nights: &mut usize, words: &[&str]) -> String {
    let mail = until("the mail of the next night", NIGHT, || {
        Cron::mails().get(*nights).cloned()
    });
    *nights += 1;
    for word in [&["To: ops@example.org"], words].concat() {
        assert!(
            mail.contains(word),
            "no {word:?} in the mail of night {nights}:\n{mail}"
        );
    }
    mail
}

fn history(project: &Project) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| {
        format!(
            "{} {} {}",
            row["revision"],
            text(&row["version"]),
            text(&row["outcome"])
        )
    };
    project.history().iter().map(row).collect()
}

#[test]
fn a_good_night_an_idle_one_a_bad_one_and_what_comes_after_it() {
    namespace::with_programs(&CRON, || {
        let project = project();
        built(&project, "1", Behaviour::Good);
        let _cron = Cron::start(&project);
        let mut nights = 0;

        night(
            &mut nights,
            &["page 1 (revision 1): 2 of 2 available", "exit code 0"],
        );
        project.assert_settled("1", 2);

        night(
            &mut nights,
            &[
                "nothing to do: page 1 (revision 1) is available on 2 of 2",
                "exit code 0",
            ],
        );
        built(&project, "2", Behaviour::Exits);
        night(
            &mut nights,
            &[
                "page 2 (revision 2) failed and was rolled back to 1 (revision 1)",
                "exit code 3",
            ],
        );

        night(
            &mut nights,
            &[
                "skipped: 2 is quarantined since it failed as revision 2",
                "exit code 0",
            ],
        );
        built(&project, "3", Behaviour::Good);
        night(
            &mut nights,
            &["page 3 (revision 3): 2 of 2 available", "exit code 0"],
        );
        run("crontab", &["-r"]);

        project.assert_settled("3", 2);
        assert_eq!(
            history(&project),
            ["3 3 succeeded", "2 2 rolled-back", "1 1 succeeded"]
        );
        let failed = project.ship("logs", &["--rollout", "2"]).exits(0);
        failed.prints(&["ERROR", "fatal: the frobnicator is missing"]);
    });
}

/// Installs the units that ship prints on a host, with this in the endpoint of ship.
fn install_units(host: &Host, printed: &str, instead: &str) {
    for unit in printed.split("# /etc/systemd/system/").skip(1) {
        let (name, text) = unit.split_once('\n').expect("a name and a unit");
        let text = text
            .lines()
            .map(|line| match line.strip_prefix("ExecStart=") {
                Some(command)
                    if command.contains(" deploy ") && !command.starts_with("/bin/sh") =>
                {
                    format!("ExecStart=/bin/sh -c \"{instead}\"\n")
                }
                _ => format!("{line}\n"),
            });
        write(
            &host.path("/etc/systemd/system").join(name),
            &text.collect::<String>(),
        );
    }
    host.exec("systemctl daemon-reload").exits(0);
}

#[test]
fn systemd_tells_of_a_night_that_went_wrong_and_not_of_one_that_was_locked() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        let project =
            Project::new(|playbook| fleet.inventory(playbook)).with("replicas = 3", "replicas = 1");
        let printed = project
            .ship("cron", &["--systemd", "--mail", "ops@example.org"])
            .exits(0)
            .stdout;
        let sendmail = host.path("/usr/sbin/sendmail");
        write(
            &sendmail,
            "#!/bin/sh\n[ \"$*\" = '-oi -t' ] && cat >/run/mail.new && mv /run/mail.new \
             /run/mail\n",
        );
        fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).expect("our own file");

        install_units(host, &printed, "echo another ship is at work; exit 6");
        host.exec("systemctl start ship-deploy-page-on-tests.service")
            .exits(0);
        install_units(host, &printed, "echo failed and was rolled back; exit 3");
        host.exec("systemctl start ship-deploy-page-on-tests.service")
            .exits(1);
        let mail = until("the mail", NIGHT, || {
            let mail = host.exec("cat /run/mail").stdout;
            (!mail.is_empty()).then_some(mail)
        });
        let head = "To: ops@example.org\nSubject: deploy of page on tests failed (exit code 3)\n\n";
        assert!(
            mail.starts_with(head) && mail.contains("\nfailed and was rolled back\n"),
            "{mail}"
        );
        let told = host
            .exec(
                "journalctl --no-pager --output=cat \
                       --unit=ship-deploy-page-on-tests-failed.service",
            )
            .stdout;
        assert_eq!(
            told.matches("Starting ").count(),
            1,
            "once, for two nights: {told}"
        );
        host.exec("systemctl enable --now ship-deploy-page-on-tests.timer")
            .exits(0);
        host.exec("systemctl list-timers --no-pager")
            .prints(&["ship-deploy-page-on-tests.timer"]);
    });
}
