//! A `ship` that is killed with SIGKILL leaves no processes or files, and on the hosts only scripts
//! that end on their own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::time::Duration;

use ship_testing::command::{Running, ship_command, spawn_ship};
use ship_testing::fleet::pids;
use ship_testing::loopback::Loopback;
use ship_testing::namespace::{self, until};
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};

/// How long processes and files may remain after a kill.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(8);

/// Three light hosts and a project with one instance on each.
fn three_hosts() -> (Loopback, Project) {
    let fleet = Loopback::boot(3);
    let project = Project::new(|playbook| fleet.inventory(playbook))
        .with("driver = \"systemd\"", "driver = \"process\"");
    (fleet, project)
}

/// The processes at one moment.
struct ProcessSnapshot(BTreeSet<u32>);

impl ProcessSnapshot {
    fn now() -> Self {
        Self(pids().into_iter().collect())
    }

    /// The command lines of newer processes, except the service's own.
    fn new_processes(&self) -> Vec<String> {
        let new = pids().into_iter().filter(|pid| !self.0.contains(pid));
        let line = |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = |line: Vec<u8>| {
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .chars()
                .take(120)
                .collect::<String>()
        };
        new.map(line)
            .map(text)
            .filter(|line| !line.is_empty() && !line.contains(PAGE))
            .collect()
    }

    /// Waits until there are no newer processes and no directories of control sockets.
    fn await_no_leftovers(&self, within: Duration) {
        let mut remaining = Vec::new();
        let is_clean = || {
            remaining = self.new_processes();
            (remaining.is_empty() && control_dirs().is_empty()).then_some(())
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("nothing is left", within, is_clean);
        }));
        assert!(result.is_ok(), "{remaining:#?} {:?}", control_dirs());
    }
}

fn processes_named(name: &str) -> usize {
    let is_it = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    pids().into_iter().filter(is_it).count()
}

/// The directories of control sockets. The sandbox has its own directory for temporary files.
fn control_dirs() -> Vec<String> {
    let names = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("ship-"))
        .collect()
}

fn kill(mut ship: Running) {
    assert!(
        !ship.has_ended(),
        "it exited before the kill: {}",
        ship.stderr_so_far()
    );
    ship.signal("KILL");
    assert_eq!(ship.wait().code, None);
}

/// Waits until a script with this verb holds the lock of a host. The lock file names the verb.
fn await_script(fleet: &Loopback, verb: &str) {
    let locks: Vec<_> = fleet
        .hosts
        .iter()
        .map(|host| host.base_dir.join("page/lock"))
        .collect();
    let is_held_for = |lock: &PathBuf| {
        fs::read_to_string(lock).is_ok_and(|held| held.contains(&format!(" {verb}, ")))
    };
    until(verb, Duration::from_secs(20), || {
        locks.iter().any(is_held_for).then_some(())
    });
}

#[test]
fn killed_ship_leaves_no_processes_or_files() {
    namespace::with_sshd(|| {
        let (_fleet, project) = three_hosts();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"30s\"");
        let before = ProcessSnapshot::now();
        let mut deploy = project.start_deploy("1");
        deploy.await_words("h3:8081  started");
        assert_eq!(control_dirs().len(), 1);
        kill(deploy);
        before.await_no_leftovers(CLEANUP_DEADLINE);
        assert_eq!(running(PAGE), 3, "the service keeps running");
    });
}

#[test]
fn killed_process_group_leaves_no_processes() {
    namespace::with_sshd(|| {
        let (_fleet, project) = three_hosts();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"30s\"");
        let before = ProcessSnapshot::now();
        let mut command = ship_command(
            project.dir(),
            &["deploy", "inventory.toml", "--progress", "plain"],
        );
        command.process_group(0);
        let mut deploy = Running::spawn(command);
        deploy.await_words("h3:8081  started");
        let group = rustix::process::Pid::from_raw(deploy.pid().try_into().unwrap()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        before.await_no_leftovers(CLEANUP_DEADLINE);
    });
}

#[test]
fn finished_ship_leaves_no_processes() {
    namespace::with_sshd(|| {
        let (_fleet, project) = three_hosts();
        let before = ProcessSnapshot::now();
        project.deploy("1").exits(0);
        before.await_no_leftovers(CLEANUP_DEADLINE);
    });
}

#[test]
fn login_in_progress_ends_with_killed_ship() {
    namespace::with_sshd(|| {
        let (fleet, project) = three_hosts();
        // The server sends its identification and nothing else. Without ship, ssh would wait three
        // times as long as this test.
        let listener = TcpListener::bind("127.1.9.9:2223").unwrap();
        let inventory = fleet.inventory("playbook.toml")
            + "\n[[hosts]]\nname = \"silent\"\naddress = \"127.1.9.9\"\nport = 2223\n";
        namespace::write(&project.path("inventory.toml"), &inventory);
        let before = ProcessSnapshot::now();
        let check = spawn_ship(project.dir(), &["check", "inventory.toml"]);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        assert!(stream.read(&mut [0; 100]).unwrap() > 0);
        kill(check);
        before.await_no_leftovers(CLEANUP_DEADLINE);
    });
}

#[test]
fn slow_login_leaves_no_processes_after_timeout() {
    namespace::with_sshd(|| {
        let (_fleet, project) = three_hosts();
        // The wrapper makes one login so slow that ship gives it up and retries, while the slow
        // login succeeds.
        let slow = "#!/bin/sh\ncase $* in\n*127.1.0.2)\nif mkdir slow 2>/dev/null; then\nsleep \
                    2\n/usr/bin/ssh \"$@\"\n\
                    sleep 60\nfi ;;\nesac\nexec /usr/bin/ssh \"$@\"\n";
        namespace::write(&project.path("bin/ssh"), slow);
        fs::set_permissions(project.path("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let before = ProcessSnapshot::now();
        let mut check = ship_command(project.dir(), &["check", "inventory.toml"]);
        check.env(
            "PATH",
            format!("{}:/usr/bin:/bin", project.path("bin").display()),
        );
        Running::spawn(check).wait().exits(0);
        assert!(project.path("slow").exists(), "no login was slow");
        before.await_no_leftovers(CLEANUP_DEADLINE);
    });
}

#[test]
fn killed_ship_leaves_no_processes_on_jump_host() {
    namespace::with_sshd(|| {
        let (fleet, project) = three_hosts();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"30s\"");
        let config = fs::read_to_string(fleet.ssh_config()).unwrap();
        let jump = "Match host \"127.1.*,!127.1.0.3\"\n  ProxyJump 127.1.0.3\n";
        namespace::write(&fleet.ssh_config(), &(jump.to_owned() + &config));
        let before = ProcessSnapshot::now();
        let mut deploy = project.start_deploy("1");
        deploy.await_words("h3:8081  started");
        kill(deploy);
        before.await_no_leftovers(CLEANUP_DEADLINE);
    });
}

#[test]
fn stop_in_progress_completes_without_controller() {
    namespace::with_sshd(|| {
        let (fleet, project) = three_hosts();
        // The page exits after SIGTERM. The shell around it does not, and is killed after 10 s.
        let stubborn = "command = \"/bin/sh -c 'trap : TERM; /usr/bin/python3 page.py & while :; \
                        do tail -f page.py; done'\"";
        let project = project.with("command = \"/usr/bin/python3 page.py\"", stubborn);
        let project = project.with("stop_timeout = \"5s\"", "stop_timeout = \"10s\"");
        project.deploy("1").exits(0);
        let before = ProcessSnapshot::now();
        let deploy = project.start_deploy("2");
        await_script(&fleet, "stop");
        kill(deploy);
        // The connections end at once. Scripts on the hosts run to their end.
        until("no ssh is left", Duration::from_secs(6), || {
            (processes_named("ssh") == 0).then_some(())
        });
        before.await_no_leftovers(Duration::from_secs(10) + CLEANUP_DEADLINE);
        let slots = fleet
            .hosts
            .iter()
            .map(|host| host.base_dir.join("page/slots"));
        let records = slots
            .flat_map(|slots| fs::read_dir(slots).unwrap())
            .map(|slot| slot.unwrap().path().join("instance"));
        let left = records.filter(|record| record.exists()).count();
        assert_eq!(left, 3, "the stopped instance of four is gone");
    });
}

#[test]
fn transfer_in_progress_ends_with_killed_ship() {
    namespace::with_sshd(|| {
        let (fleet, project) = three_hosts();
        let project = project.with("page-{{ version }}.tar.gz", "big-{{ version }}.bin");
        fs::File::create(project.path("big-1.bin"))
            .unwrap()
            .set_len(100 << 20)
            .unwrap();
        let before = ProcessSnapshot::now();
        let deploy = project.start_deploy("1");
        let root = fleet.hosts[0].base_dir.join("page");
        until("a transfer", Duration::from_mins(1), || {
            let mut drafts = fs::read_dir(root.join("tmp")).ok()?.flatten();
            drafts
                .find(|draft| draft.path().join("artifact").exists())
                .map(drop)
        });
        kill(deploy);
        before.await_no_leftovers(CLEANUP_DEADLINE);
        let left = |name| fs::read_dir(root.join(name)).unwrap().count();
        assert_eq!(
            (left("releases"), left("tmp")),
            (0, 0),
            "the incomplete transfer is removed"
        );
    });
}

/// Waits for a request for this file; returns it. Answers all other requests with 404.
fn accept_request(listener: &TcpListener, file: &str) -> (TcpStream, String) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 1000];
        let length = stream.read(&mut bytes).unwrap();
        let request = String::from_utf8_lossy(&bytes[..length]).to_lowercase();
        if request.starts_with(&format!("get /{file} ")) {
            return (stream, request);
        }
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
    }
}

#[test]
fn interrupted_download_is_resumed_by_next_deploy() {
    namespace::with_sshd(|| {
        let (_fleet, project) = three_hosts();
        let listener = TcpListener::bind("127.0.0.1:8000").unwrap();
        let project = project.with("source = \"page", "source = \"http://127.0.0.1:8000/page");
        project.large_release("1", 1 << 20);
        let artifact = fs::read(project.path("page-1.tar.gz")).unwrap();
        let (all, half) = (artifact.len(), artifact.len() / 2);
        let deploy = project.start_deploy("1");
        let (mut stream, _) = accept_request(&listener, "page-1.tar.gz");
        write!(
            stream,
            "HTTP/1.1 200 OK\r\netag: \"one\"\r\ncontent-length: {all}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(&artifact[..half]).unwrap();
        let partial_downloads = || {
            let files = fs::read_dir(project.path(".ship/artifacts/downloads"))
                .into_iter()
                .flatten()
                .flatten();
            let parts = files.filter(|file| {
                file.path()
                    .extension()
                    .is_some_and(|extension| extension == "part")
            });
            parts
                .map(|part| part.metadata().unwrap().len())
                .collect::<Vec<_>>()
        };
        // Except for what is not written to the disk yet.
        let arrived = |made: &[u64]| matches!(made, [bytes] if *bytes + (64 << 10) > half as u64);
        until("half a download", Duration::from_secs(20), || {
            arrived(&partial_downloads()).then_some(())
        });
        kill(deploy);
        let [kept] = partial_downloads()[..] else {
            panic!(
                "expected one partial download, found {:?}",
                partial_downloads()
            )
        };
        let kept = usize::try_from(kept).unwrap();
        let deploy = project.start_deploy("1");
        let (mut stream, request) = accept_request(&listener, "page-1.tar.gz");
        assert!(
            request.contains(&format!("range: bytes={kept}-\r\n")),
            "the download starts from the beginning: {request}"
        );
        let rest = all - kept;
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\netag: \"one\"\r\ncontent-length: \
             {rest}\r\ncontent-range: bytes \
             {kept}-{}/{all}\r\n\r\n",
            all - 1
        )
        .unwrap();
        stream.write_all(&artifact[kept..]).unwrap();
        drop(stream);
        // Answers the remaining requests with 404.
        let others = std::thread::spawn(move || accept_request(&listener, "the end"));
        deploy.wait().exits(0);
        let mut end = TcpStream::connect("127.0.0.1:8000").unwrap();
        end.write_all(b"GET /the end HTTP/1.1\r\n\r\n").unwrap();
        others.join().unwrap();
        assert_eq!(
            partial_downloads(),
            Vec::<u64>::new(),
            "the download is complete"
        );
    });
}
