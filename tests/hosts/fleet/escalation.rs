//! How scripts become root: sudo with a password, sudo-rs, and doas.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ship_testing::command::{Done, Running, in_environment_of, ship_command, started_by};
use ship_testing::fleet::{Fleet, Host, pids};
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};

const PASSWORD: &str = "Kaktus-4711 blüht";
const OTHER_PASSWORD: &str = "Distel-0815";
/// Each failed login of the user counts, as on hosts that lock accounts.
const COUNTING_PAM: &str = "auth required pam_faillock.so preauth deny=10
auth [success=1 default=ignore] pam_unix.so
auth [default=die] pam_faillock.so authfail deny=10
auth required pam_permit.so
";

/// Makes the login user type this password for sudo, and counts failed logins.
fn require_password(host: &Host, password: &str) {
    host.exec(&format!("echo 'deploy:{password}' | chpasswd"))
        .exits(0);
    set_sudoers(host, "deploy ALL=(ALL) ALL\n");
    fs::write(host.path("etc/pam.d/common-auth"), COUNTING_PAM).expect("a file of the host");
}

fn set_sudoers(host: &Host, text: &str) {
    fs::write(host.path("etc/sudoers.d/deploy"), text).expect("a file of the host");
}

/// How often the login user failed to log in since the boot.
fn failed_logins(host: &Host) -> usize {
    let listed = host.exec("faillock --user deploy").exits(0).stdout;
    listed.lines().filter(|line| line.contains("SVC")).count()
}

/// A project whose inventory has this value of `sudo`.
fn project(fleet: &Fleet, sudo: &str) -> Project {
    Project::new(|playbook| {
        let inventory = fleet.inventory(playbook);
        inventory.replace("sudo = true", &format!("sudo = {sudo}"))
    })
}

/// Runs ship without a terminal, with the password in the environment.
fn ship_with(project: &Project, password: Option<&str>, verb: &str, args: &[&str]) -> Done {
    let args = [&[verb, "inventory.toml"], args].concat();
    let ship = ship_command(project.dir(), &args);
    let mut command = started_by("setsid", &["--wait"], &ship);
    if let Some(password) = password {
        command.env("SHIP_SUDO_PASSWORD", password);
    }
    Running::spawn(command).wait()
}

/// Runs ship on a terminal and types the password at its prompt. Returns what the terminal showed.
fn ship_on_terminal(project: &Project, password: &str, line: &str) -> (Option<i32>, String) {
    let ship = ship_command(project.dir(), &[]);
    let output = project.path("terminal");
    let mut command = in_environment_of(&ship, "script");
    command.args(["--quiet", "--flush", "--return", "--command"]);
    command.arg(format!("{} {line}", ship.get_program().display()));
    command.arg(&output);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut script = command.spawn().expect("script is installed");
    let shown = || fs::read_to_string(&output).unwrap_or_default();
    namespace::until("the prompt", Duration::from_secs(30), || {
        shown().contains("sudo password for ").then_some(())
    });
    let mut keyboard = script.stdin.take().expect("a pipe");
    keyboard
        .write_all(format!("{password}\n").as_bytes())
        .expect("script reads");
    let status = script.wait().expect("our own child");
    drop(keyboard);
    (status.code(), shown())
}

/// Looks for a text in the arguments and environments of all processes until it is dropped.
struct ProcessWatch {
    stop: &'static AtomicBool,
    thread: Option<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl ProcessWatch {
    fn start(text: &'static str) -> Self {
        let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let look = move || {
            let (mut looked, mut found) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                for pid in pids() {
                    for file in ["cmdline", "environ"] {
                        let path = format!("/proc/{pid}/{file}");
                        let bytes = fs::read(&path).unwrap_or_default();
                        looked += 1;
                        if contains(&bytes, text) {
                            found.push(format!("{path}: {}", String::from_utf8_lossy(&bytes)));
                        }
                    }
                }
            }
            (looked, found)
        };
        Self {
            stop,
            thread: Some(std::thread::spawn(look)),
        }
    }

    fn assert_nothing_found(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        let (looked, found) = thread.join().expect("it ends");
        assert!(looked > 1000, "only {looked} files");
        assert_eq!(found, Vec::<String>::new());
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Asserts that no file of the project and of the hosts contains the password.
fn assert_stored_nowhere(fleet: &Fleet, project: &Project) {
    let files = project.files();
    assert!(files.len() > 5, "{files:?}");
    let leaks: Vec<PathBuf> = files
        .into_iter()
        .filter(|path| contains(&fs::read(path).unwrap_or_default(), PASSWORD))
        .collect();
    assert_eq!(leaks, Vec::<PathBuf>::new());
    for host in &fleet.hosts {
        let find = format!(
            "grep -rlF '{PASSWORD}' /var /etc /tmp /run /home /root /opt /srv 2>/dev/null; \
             journalctl --quiet --output=export | grep -aF '{PASSWORD}'; true"
        );
        assert_eq!(host.exec(&find).exits(0).stdout, "", "{}", host.name);
        host.exec("test -d /var/lib/ship/page || test -d /opt/ship/page")
            .exits(0);
    }
}

#[test]
fn release_is_deployed_and_rolled_back_with_a_sudo_password() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(4);
        let [plain, logged, lectured, without] = &fleet.hosts[..] else {
            panic!("four hosts")
        };
        for host in [plain, logged, lectured] {
            require_password(host, PASSWORD);
        }
        // sudo relays and records the input of scripts, but the password is not part of it.
        let defaults = "Defaults use_pty, log_input, log_output\n";
        set_sudoers(logged, &format!("{defaults}deploy ALL=(ALL) ALL\n"));
        let defaults = "Defaults lecture=always, timestamp_type=global\n";
        set_sudoers(lectured, &format!("{defaults}deploy ALL=(ALL) ALL\n"));
        set_sudoers(without, "deploy ALL=(ALL) NOPASSWD: ALL\n");
        let project = project(&fleet, "\"password\"");
        project.large_release("2", 6 << 20);

        let watch = ProcessWatch::start(PASSWORD);
        let line = "deploy inventory.toml --version 2 --progress plain -vv";
        let (code, shown) = ship_on_terminal(&project, PASSWORD, line);
        watch.assert_nothing_found();
        assert_eq!(code, Some(0), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
        assert!(
            shown.contains("sudo password for h1 and 3 other hosts: "),
            "{shown}"
        );
        assert_eq!(shown.matches("sudo password for").count(), 1, "{shown}");
        assert_eq!(running(PAGE), 3);

        let ship = |verb, args: &[&str]| ship_with(&project, Some(PASSWORD), verb, args);
        let deploy = |version| {
            ship("deploy", &["--version", version, "--progress", "plain"])
                .exits(0)
                .prints(&[version])
        };
        deploy("1");
        ship("rollback", &["--progress", "plain"]).exits(0);
        let status = ship("status", &["--output", "json"]).exits(0).stdout;
        let instances = status.matches("\"status\":\"Running\",\"version\":\"2\"");
        assert_eq!(instances.count(), 3, "{status}");
        ship("logs", &["--lines", "1"]).exits(0);
        let checked = ship("check", &[]).exits(0);
        for host in [plain, logged, lectured] {
            let line = format!(
                "{}: reached as root through sudo with a password",
                host.name
            );
            assert!(checked.stdout.contains(&line), "{}", checked.stdout);
        }
        let line = format!("{}: reached as root through sudo,", without.name);
        assert!(checked.stdout.contains(&line), "{}", checked.stdout);

        for host in [plain, logged, lectured] {
            assert_eq!(failed_logins(host), 0, "{}", host.name);
            // No one else becomes root without a password afterwards.
            fleet.ssh(host, "sudo -n true").exits(1);
        }
        assert_stored_nowhere(&fleet, &project);
    });
}

#[test]
fn wrong_sudo_password_is_tried_once_on_one_host() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(4);
        for host in &fleet.hosts {
            require_password(host, PASSWORD);
        }
        let project = project(&fleet, "\"password\"");
        for verb in ["deploy", "status", "check", "logs"] {
            let before: usize = fleet.hosts.iter().map(failed_logins).sum();
            let refused = ship_with(&project, Some("Wrong-0000"), verb, &[])
                .exits(7)
                .prints(&[
                    ": sudo rejected the password (Sorry, try again.); no other host got it, and no \
                     changes were made",
                    "SHIP_SUDO_PASSWORD",
                ]);
            let output = format!("{}{}", refused.stdout, refused.stderr);
            assert_eq!(output.matches("error: ").count(), 1, "{output}");
            assert!(!output.contains("Wrong-0000"), "{output}");
            let after: usize = fleet.hosts.iter().map(failed_logins).sum();
            assert_eq!(after - before, 1, "after {verb}: {output}");
        }
        assert_eq!(running(PAGE), 0);

        let refused = ship_with(&project, None, "deploy", &[]).exits(2);
        let expected = "error: cannot ask for the sudo password of h1 and 3 other hosts: there is no \
                        terminal; no changes were made\nhint: set SHIP_SUDO_PASSWORD in the \
                        environment";
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    });
}

#[test]
fn host_with_another_sudo_password_stops_the_deploy() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(3);
        require_password(&fleet.hosts[0], PASSWORD);
        require_password(&fleet.hosts[1], OTHER_PASSWORD);
        require_password(&fleet.hosts[2], PASSWORD);
        let project = project(&fleet, "\"password\"").with(
            "progress_deadline",
            "max_failed_hosts = 1\nprogress_deadline",
        );
        let deploy = ["--version", "1"];
        let refused = ship_with(&project, Some(PASSWORD), "deploy", &deploy).exits(7);
        let rejected = fleet.hosts.iter().map(failed_logins).sum::<usize>();
        assert_eq!(rejected, 1, "{}", refused.stderr);
        assert_eq!(running(PAGE), 0);
        // The host that was asked first decides which of the two passwords is the other one.
        let names_both = refused
            .stderr
            .contains("h2: sudo rejected the password that h")
            || refused
                .stderr
                .contains("h2: sudo rejected the password (Sorry");
        assert!(names_both, "{}", refused.stderr);
    });
}

#[test]
fn release_is_deployed_through_sudo_rs_with_a_password() {
    namespace::with_hosts_of(&["trixie"], || {
        let fleet = Fleet::boot_suites(&["trixie", "trixie"]);
        for host in &fleet.hosts {
            require_password(host, PASSWORD);
            host.exec(
                "mv /usr/bin/sudo /usr/bin/sudo.c && ln -s ../lib/cargo/bin/sudo /usr/bin/sudo",
            )
            .exits(0);
            host.exec("sudo --version").exits(0).prints(&["sudo-rs"]);
        }
        let project = project(&fleet, "\"password\"").with("replicas = 3", "replicas = 2");
        project.large_release("2", 6 << 20);
        let deploy = ["--version", "2"];
        ship_with(&project, Some("Wrong-0000"), "deploy", &deploy)
            .exits(7)
            .prints(&["sudo rejected the password"]);
        let rejected: usize = fleet.hosts.iter().map(failed_logins).sum();
        assert_eq!(rejected, 1);
        ship_with(&project, Some(PASSWORD), "deploy", &deploy).exits(0);
        assert_eq!(running(PAGE), 2);
        assert_stored_nowhere(&fleet, &project);
    });
}

#[test]
fn release_is_deployed_through_doas() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let project = project(&fleet, "\"doas\"").with("replicas = 3", "replicas = 2");
        let rule = "`permit nopass deploy as root` to /etc/doas.conf";
        project
            .deploy("1")
            .exits(7)
            .prints(&["doas refused (doas: doas is not enabled", rule]);
        for host in &fleet.hosts {
            host.exec("rm /etc/sudoers.d/deploy; echo 'permit deploy as root' > /etc/doas.conf")
                .exits(0);
        }
        project.deploy("1").exits(7).prints(&[
            "doas refused (doas: Authentication required",
            rule,
            "only from a terminal",
        ]);
        for host in &fleet.hosts {
            host.exec("echo 'permit nopass deploy as root' > /etc/doas.conf")
                .exits(0);
        }
        project.deploy("1").exits(0);
        project.assert_settled("1", 2);
        project.deploy("2").exits(0);
        project.ship("rollback", &[]).exits(0);
        project.assert_settled("1", 2);
        project
            .ship("check", &[])
            .exits(0)
            .prints(&["h1: reached as root through doas,"]);
        fleet.hosts[0].exec("mv /usr/bin/doas /root/").exits(0);
        project.ship("check", &[]).exits(7).prints(&[
            "h1: doas refused",
            "doas: not found",
            "install doas on the host",
        ]);
    });
}
