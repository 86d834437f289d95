//! Unattended deploys by real cron and systemd, from what `ship cron` prints.
//!
//! cron has a resolution of one minute. To have two runs a minute, the line is in the crontab
//! twice, once with a delay of half a minute. In the sandbox, cron has its own spool, no other
//! jobs, and a sendmail that stores messages.

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

/// The longest time from the end of a run to the end of the next one.
const RUN_DEADLINE: Duration = Duration::from_secs(75);

/// The directory of the inventory, with characters that are special to cron and the shell.
const SPECIAL_DIR: &str = "it's 50% off";

const MAIL_DIR: &str = "/run/mail";

/// A running cron, which exists only in this sandbox.
struct Cron(#[expect(dead_code, reason = "it is ended when this is dropped")] Running);

impl Cron {
    /// Starts cron with the crontab of a project.
    fn start(project: &Project) -> Self {
        for dir in [
            "/run/mail",
            "/run/sbin",
            "/run/sbin-work",
            "/run/spool/crontabs",
        ] {
            fs::create_dir_all(dir).expect("a directory in the sandbox");
        }
        write(Path::new("/run/nothing"), "");
        // `crontab` runs as this group and rejects a spool with other permissions.
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
        fs::set_permissions(sendmail, fs::Permissions::from_mode(0o755))
            .expect("a file of the test");
        install(project);
        let mut cron = Command::new("/usr/sbin/cron");
        cron.arg("-f");
        Self(Running::spawn(cron))
    }

    /// The messages so far, oldest first.
    fn messages() -> Vec<String> {
        let files = fs::read_dir(MAIL_DIR)
            .expect("a directory of the test")
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
            .map(|file| fs::read_to_string(file).expect("a file of the test"))
            .collect()
    }
}

/// Two hosts that are this machine, and a channel with the newest version.
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
    symlink(".", project.path(SPECIAL_DIR)).expect("a directory of the test");
    project
}

/// Makes a release and publishes it as the newest.
fn publish(project: &Project, version: &str, behaviour: Behaviour) {
    project.release(version, behaviour);
    write(&project.path("latest.new"), &format!("{version}\n"));
    fs::rename(project.path("latest.new"), project.path("latest.txt")).expect("files of the test");
}

/// Installs the crontab that ship prints, changed to run every half minute.
fn install(project: &Project) {
    let inventory = project
        .path(SPECIAL_DIR)
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
        "cron would pass the rest of the line as input"
    );
}

/// Waits for the message of the next run and asserts that it contains these texts.
#[track_caller]
fn await_run(runs: &mut usize, words: &[&str]) -> String {
    let mail = until("the message of the next run", RUN_DEADLINE, || {
        Cron::messages().get(*runs).cloned()
    });
    *runs += 1;
    for word in [&["To: ops@example.org"], words].concat() {
        assert!(
            mail.contains(word),
            "no {word:?} in the message of run {runs}:\n{mail}"
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
fn cron_deploys_skips_and_rolls_back() {
    namespace::with_programs(&CRON, || {
        let project = project();
        publish(&project, "1", Behaviour::Good);
        let _cron = Cron::start(&project);
        let mut runs = 0;

        await_run(
            &mut runs,
            &["page 1 (revision 1): 2 of 2 available", "exit code 0"],
        );
        project.assert_settled("1", 2);

        await_run(
            &mut runs,
            &[
                "nothing to do: page 1 (revision 1) is available on 2 of 2",
                "exit code 0",
            ],
        );
        publish(&project, "2", Behaviour::Exits);
        await_run(
            &mut runs,
            &[
                "page 2 (revision 2) failed and was rolled back to 1 (revision 1)",
                "exit code 3",
            ],
        );

        await_run(
            &mut runs,
            &[
                "skipped: 2 is quarantined since it failed as revision 2",
                "exit code 0",
            ],
        );
        publish(&project, "3", Behaviour::Good);
        await_run(
            &mut runs,
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

/// Installs the units that ship prints on a host, with this command instead of the deploy.
fn install_units(host: &Host, printed: &str, replacement: &str) {
    for unit in printed.split("# /etc/systemd/system/").skip(1) {
        let (name, text) = unit.split_once('\n').expect("a name and a unit");
        let text = text
            .lines()
            .map(|line| match line.strip_prefix("ExecStart=") {
                Some(command)
                    if command.contains(" deploy ") && !command.starts_with("/bin/sh") =>
                {
                    format!("ExecStart=/bin/sh -c \"{replacement}\"\n")
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
fn systemd_mails_failed_nights_but_not_locked_ones() {
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
        fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755))
            .expect("a file of the test");

        install_units(
            host,
            &printed,
            "echo another ship process is running; exit 6",
        );
        host.exec("systemctl start ship-deploy-page-on-tests.service")
            .exits(0);
        install_units(host, &printed, "echo failed and was rolled back; exit 3");
        host.exec("systemctl start ship-deploy-page-on-tests.service")
            .exits(1);
        let mail = until("the mail", RUN_DEADLINE, || {
            let mail = host.exec("cat /run/mail").stdout;
            (!mail.is_empty()).then_some(mail)
        });
        let head = "To: ops@example.org\nSubject: deploy of page on tests failed (exit code 3)\n\n";
        assert!(
            mail.starts_with(head) && mail.contains("\nfailed and was rolled back\n"),
            "{mail}"
        );
        let log = host
            .exec(
                "journalctl --no-pager --output=cat \
                       --unit=ship-deploy-page-on-tests-failed.service",
            )
            .stdout;
        assert_eq!(
            log.matches("Starting ").count(),
            1,
            "expected one message for two runs: {log}"
        );
        host.exec("systemctl enable --now ship-deploy-page-on-tests.timer")
            .exits(0);
        host.exec("systemctl list-timers --no-pager")
            .prints(&["ship-deploy-page-on-tests.timer"]);
    });
}
