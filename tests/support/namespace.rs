//! A sandbox for one test: network, mounts and processes that are invisible outside and end with
//! it.
//!
//! A test that needs hosts runs itself again as process 2 of new network, mount and process
//! namespaces. So tests use the same addresses side by side and do not touch the network of the
//! machine. Whatever happens (a panic, SIGKILL), the kernel ends every process, unmounts every
//! mount and removes every link. Only control groups remain; they are named after the process that
//! made them, and a later test removes them.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::command::Running;

/// Set inside a sandbox, to its name.
const NAMESPACE_VARIABLE: &str = "SHIP_TEST_NAMESPACE";
/// Set inside a sandbox, to the directories of the hosts' images, separated by colons.
const IMAGES_VARIABLE: &str = "SHIP_TEST_IMAGES";
/// Stands for the Debian suite of this machine, or the default one on other distributions.
const HOST_SUITE: &str = "";
/// The time limit of a test in a sandbox.
const DEADLINE: Duration = Duration::from_mins(5);

/// Process 1 of a sandbox. It must reap orphans: an unreaped service would look alive.
const INIT: &str = r#"
set -e
mount -t tmpfs -o mode=755 ship-tests /run
mkdir -p /run/sshd /run/netns /run/lock
mkdir -m 1777 /run/tmp
# `ip netns add` wants a mount there; made now, the mounts before and after a fleet are the same.
mount --bind /run/netns /run/netns
export TMPDIR=/run/tmp
ip link set lo up
"$@" &
wait $!
"#;

/// The programs that systemd hosts need, and their Debian packages.
const HOST_TOOLS: [(&str, &str); 4] = [
    ("ip", "iproute2"),
    ("sshd", "openssh-server"),
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
];

/// Why a test cannot run here.
#[derive(Debug)]
pub struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs `body` in a sandbox where systemd hosts can boot. If they cannot, prints `skipped: …`.
///
/// `body` must be a closure in the test function itself, because its type name contains the name of
/// the test.
pub fn with_hosts<F: FnOnce()>(body: F) {
    enter(&HOST_TOOLS, &[HOST_SUITE], body);
}

/// The same for hosts of these Debian suites, see [`image_of`]. Fails if no mirror has a suite.
pub fn with_hosts_of<F: FnOnce()>(suites: &[&str], body: F) {
    enter(&HOST_TOOLS, suites, body);
}

/// Runs `body` in a sandbox with only a loopback interface and an sshd.
pub fn with_sshd<F: FnOnce()>(body: F) {
    enter(
        &[
            ("ip", "iproute2"),
            ("sshd", "openssh-server"),
            ("python3", "python3"),
        ],
        &[],
        body,
    );
}

/// Runs `body` in a sandbox with only a loopback interface and these programs, each with its Debian
/// package. If one is missing, prints `skipped: …`.
pub fn with_programs<F: FnOnce()>(programs: &[(&str, &str)], body: F) {
    if has_programs(programs) {
        enter(&[("ip", "iproute2"), ("ss", "iproute2")], &[], body);
    }
}

/// Whether these programs are installed, each with its Debian package. If one is missing, prints
/// `skipped: …`.
pub fn has_programs(programs: &[(&str, &str)]) -> bool {
    let Some((program, package)) = programs.iter().find(|(program, _)| find(program).is_none())
    else {
        return true;
    };
    println!("skipped: `{program}` is missing (Debian package {package})");
    false
}

/// Whether systemd hosts can boot here. If they cannot, prints `skipped: …`.
pub fn can_boot_hosts() -> bool {
    meets_requirements(&HOST_TOOLS)
}

/// The name of this sandbox, and of its control groups.
pub fn name() -> String {
    env::var(NAMESPACE_VARIABLE)
        .expect("a fleet is booted inside `namespace::with_hosts` or `namespace::with_sshd`")
}

/// The directory of the image of the hosts.
pub fn image() -> PathBuf {
    images()
        .next()
        .expect("one image in each sandbox with hosts")
}

/// The directory of the image of a Debian suite.
pub fn image_of(suite: &str) -> PathBuf {
    let is_of_suite =
        |image: &PathBuf| image.to_string_lossy().contains(&format!("/host-{suite}-"));
    images()
        .find(is_of_suite)
        .unwrap_or_else(|| panic!("this sandbox has no image of {suite}"))
}

fn images() -> impl Iterator<Item = PathBuf> {
    let images =
        env::var(IMAGES_VARIABLE).expect("systemd hosts are booted inside `namespace::with_hosts`");
    images
        .split(':')
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .into_iter()
}

fn enter<F: FnOnce()>(tools: &[(&str, &str)], suites: &[&str], body: F) {
    if env::var_os(NAMESPACE_VARIABLE).is_some() {
        return body();
    }
    if !meets_requirements(tools) {
        return;
    }
    remove_stale_control_groups();
    let images: Vec<_> = suites.iter().map(|suite| make_image(suite)).collect();
    run_in_namespaces(test_name::<F>(), &images);
}

fn meets_requirements(tools: &[(&str, &str)]) -> bool {
    let Err(skip) = check_requirements(tools) else {
        return true;
    };
    assert!(
        env::var_os("SHIP_REQUIRE_HOSTS").is_none(),
        "this run requires real hosts, but {skip}"
    );
    println!("skipped: {skip}");
    false
}

/// `module::test` of a closure's type name `file::module::test::{{closure}}`.
fn test_name<F>() -> &'static str {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::")
        .expect("a closure of a test function")
        .1
}

fn check_requirements(tools: &[(&str, &str)]) -> Result<(), Skip> {
    if !is_root() {
        return Err(Skip("namespaces need root".to_owned()));
    }
    for (tool, package) in tools {
        if find(tool).is_none() {
            return Err(Skip(format!(
                "`{tool}` is missing (Debian package {package})"
            )));
        }
    }
    let trial = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "true"])
        .stderr(Stdio::null())
        .status();
    match trial {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Skip(
            "root cannot make namespaces here (a container without CAP_SYS_ADMIN?)".to_owned(),
        )),
    }
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let dirs = path
        .split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    dirs.map(|dir| Path::new(dir).join(tool))
        .find(|file| file.is_file())
}

fn make_image(suite: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("host-image.sh");
    let mut command = Command::new(script);
    command.args(Some(suite).filter(|suite| *suite != HOST_SUITE));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("bash is installed");
    assert!(
        output.status.success(),
        "cannot make the image of {suite} test hosts; the reason is above"
    );
    String::from_utf8(output.stdout)
        .expect("a path")
        .trim()
        .to_owned()
}

fn run_in_namespaces(test: &str, images: &[String]) {
    static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);
    let sandbox = format!(
        "{}-{}",
        std::process::id(),
        NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let mut command = Command::new("setpriv");
    // If this process is killed, so are `unshare`, process 1 and the sandbox.
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command
        .args(["bash", "-c", INIT, "bash"])
        .arg(env::current_exe().expect("the path of the test"));
    command.args([
        "--exact",
        test,
        "--nocapture",
        "--include-ignored",
        "--test-threads=1",
    ]);
    command
        .env(NAMESPACE_VARIABLE, &sandbox)
        .env("PATH", path_with_sbin());
    command.env(IMAGES_VARIABLE, images.join(":"));
    let done = Running::spawn(command).wait_within(DEADLINE);
    remove_control_groups(&sandbox);
    // Indented, so that the result line of the inner test does not count as another result.
    for line in done.stdout.lines().chain(done.stderr.lines()) {
        println!("    {line}");
    }
    // With a name that matches no test, the inner run would pass without running anything.
    let ran = done.stdout.contains("test result: ok. 1 passed");
    assert!(
        done.code == Some(0) && ran,
        "`{test}` failed in its sandbox (its output is above)"
    );
}

fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}

/// The hierarchies in which systemd keeps its units, where the control groups of hosts are made.
///
/// Each host needs a group of its own. Otherwise, hosts would share the groups of units with the
/// same name.
pub fn control_group_roots() -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    if base.join("cgroup.controllers").exists() {
        return vec![base.to_owned()];
    }
    ["unified", "systemd"]
        .iter()
        .map(|name| base.join(name))
        .filter(|dir| dir.is_dir())
        .collect()
}

/// Whether this machine has control groups of version 1, which systemd-nspawn must be configured
/// for.
pub fn control_groups_are_v1() -> bool {
    !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The directory name of a sandbox's control groups.
pub fn control_group(sandbox: &str) -> String {
    format!("ship-tests-{sandbox}")
}

/// Removes the control groups of sandboxes whose process is dead.
fn remove_stale_control_groups() {
    for root in control_group_roots() {
        let Ok(entries) = fs::read_dir(root) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(sandbox) = name
                .to_str()
                .and_then(|name| name.strip_prefix("ship-tests-"))
            else {
                continue;
            };
            let maker = sandbox.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(maker).exists() {
                remove_tree(&entry.path());
            }
        }
    }
}

/// Processes of a sandbox that has just ended need a moment to leave their groups.
fn remove_control_groups(sandbox: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    for root in control_group_roots() {
        let dir = root.join(control_group(sandbox));
        while dir.exists() && !remove_tree(&dir) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes a tree of control groups, children first. Their files are removed with them.
fn remove_tree(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(dir).is_ok()
}

/// Runs a command that must succeed, and returns its output.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|error| panic!("cannot run `{program}`: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{program} {}` failed: {stderr}",
        args.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Calls `poll` every 10 ms until it returns a value. Panics with what was `awaited` after
/// `within`.
pub fn until<T>(awaited: &str, within: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{awaited}: not within {within:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a file and makes its directories.
pub fn write(path: &Path, text: &str) {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).expect("a directory of the test");
    }
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// An empty file to collect output in. It is opened for appending, so that it can be read while a
/// child writes.
pub fn unnamed_file() -> File {
    tempfile::Builder::new()
        .append(true)
        .tempfile()
        .expect("a temporary file")
        .into_file()
}
