//! A world of its own for a test: network, mounts and processes that nobody else sees and that die
//! with it.
//!
//! A test that needs hosts runs itself once more as process 2 of fresh network, mount and process
//! namespaces. So tests run side by side with the same addresses, nothing is asked of the machine's
//! own network, and whatever happens (a panic, a kill -9) the kernel ends every process, unmounts
//! every mount and removes every link. Only control groups outlive a world; they are named after
//! the process that made it and swept by the next.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use super::command::Running;

/// Set inside a world, to its name.
const INSIDE: &str = "SHIP_TEST_WORLD";
/// Set inside a world, to the directories of the hosts' images, separated by colons.
const IMAGES: &str = "SHIP_TEST_IMAGES";
/// The suite of this machine, or the default one.
const OWN_SUITE: &str = "";
/// A world that has not ended by then is ended.
const DEADLINE: Duration = Duration::from_mins(5);

/// Process 1 of a world. It must reap orphans: an unreaped service would look alive for ever.
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

/// What systemd hosts need, and the Debian packages that have it.
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

/// Runs `body` in a world where systemd hosts can boot; says `skipped: …` where that cannot be.
///
/// `body` must be a closure written in the test function itself: the test is found again by its
/// name.
pub fn with_hosts<F: FnOnce()>(body: F) {
    enter(&HOST_TOOLS, &[OWN_SUITE], body);
}

/// The same for hosts of these Debian suites, for [`image_of`]. Fails where no mirror has one.
pub fn with_hosts_of<F: FnOnce()>(suites: &[&str], body: F) {
    enter(&HOST_TOOLS, suites, body);
}

/// Runs `body` in a world with no more than a loopback and an sshd.
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

/// Runs `body` in a world with no more than a loopback and these programs, each with its Debian
/// package; says `skipped: …` where one is missing.
pub fn with_programs<F: FnOnce()>(programs: &[(&str, &str)], body: F) {
    if has_programs(programs) {
        enter(&[("ip", "iproute2"), ("ss", "iproute2")], &[], body);
    }
}

/// Whether these programs are there, each with its Debian package; says `skipped: …` where one is
/// not.
pub fn has_programs(programs: &[(&str, &str)]) -> bool {
    let Some((program, package)) = programs.iter().find(|(program, _)| find(program).is_none())
    else {
        return true;
    };
    println!("skipped: `{program}` is missing (Debian package {package})");
    false
}

/// Whether systemd hosts can boot here; says `skipped: …` where they cannot.
pub fn has_room_for_hosts() -> bool {
    has_room_for(&HOST_TOOLS)
}

/// The name of this world, and of its control groups.
pub fn name() -> String {
    env::var(INSIDE)
        .expect("a fleet is booted inside `namespace::with_hosts` or `namespace::with_sshd`")
}

/// The directory of the image that hosts boot from.
pub fn image() -> PathBuf {
    images().next().expect("one image in each world with hosts")
}

/// The directory of the image of a Debian suite.
pub fn image_of(suite: &str) -> PathBuf {
    let is_of_suite =
        |image: &PathBuf| image.to_string_lossy().contains(&format!("/host-{suite}-"));
    images()
        .find(is_of_suite)
        .unwrap_or_else(|| panic!("this world has no image of {suite}"))
}

fn images() -> impl Iterator<Item = PathBuf> {
    let images = env::var(IMAGES).expect("systemd hosts are booted inside `namespace::with_hosts`");
    images
        .split(':')
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .into_iter()
}

fn enter<F: FnOnce()>(tools: &[(&str, &str)], suites: &[&str], body: F) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    if !has_room_for(tools) {
        return;
    }
    sweep_dead_worlds();
    let images: Vec<_> = suites.iter().map(|suite| make_image(suite)).collect();
    run_again_inside(test_name::<F>(), &images);
}

fn has_room_for(tools: &[(&str, &str)]) -> bool {
    let Err(skip) = possible(tools) else {
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

fn possible(tools: &[(&str, &str)]) -> Result<(), Skip> {
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
            "root may not make namespaces here (a container without CAP_SYS_ADMIN?)".to_owned(),
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
    command.args(Some(suite).filter(|suite| *suite != OWN_SUITE));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("bash is there");
    assert!(
        output.status.success(),
        "cannot make the image of {suite} test hosts; the reason is above"
    );
    String::from_utf8(output.stdout)
        .expect("a path")
        .trim()
        .to_owned()
}

fn run_again_inside(test: &str, images: &[String]) {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    let world = format!(
        "{}-{}",
        std::process::id(),
        WORLDS.fetch_add(1, Ordering::Relaxed)
    );
    let mut command = Command::new("setpriv");
    // If this process is killed, so is `unshare`, so is process 1, so is the world.
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
        .arg(env::current_exe().expect("the test's own file"));
    command.args([
        "--exact",
        test,
        "--nocapture",
        "--include-ignored",
        "--test-threads=1",
    ]);
    command.env(INSIDE, &world).env("PATH", path_with_sbin());
    command.env(IMAGES, images.join(":"));
    let done = Running::spawn(command).wait_within(DEADLINE);
    remove_control_groups(&world);
    // Indented, so that nobody takes the inner test's result line for one more result.
    for line in done.stdout.lines().chain(done.stderr.lines()) {
        println!("    {line}");
    }
    // A name that matches no test would pass without having run.
    let ran = done.stdout.contains("test result: ok. 1 passed");
    assert!(
        done.code == Some(0) && ran,
        "`{test}` failed in its world (its output is above)"
    );
}

fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}

/// Where the hosts' control groups are made: the hierarchies in which systemd keeps its units.
///
/// Each host needs a group of its own, else all hosts would share the groups of equally named
/// units.
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

/// Whether this machine has the older control groups, which systemd-nspawn must then be told to
/// give to the hosts.
pub fn control_groups_are_v1() -> bool {
    !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The directory name of a world's control groups.
pub fn control_group(world: &str) -> String {
    format!("ship-tests-{world}")
}

/// Removes what worlds of dead processes have left.
fn sweep_dead_worlds() {
    for root in control_group_roots() {
        let Ok(entries) = fs::read_dir(root) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(world) = name
                .to_str()
                .and_then(|name| name.strip_prefix("ship-tests-"))
            else {
                continue;
            };
            let maker = world.split('-').next().unwrap_or_default();
            if !Path::new("/proc").join(maker).exists() {
                remove_tree(&entry.path());
            }
        }
    }
}

/// Processes of a world that has just ended take a moment to leave their groups.
fn remove_control_groups(world: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    for root in control_group_roots() {
        let dir = root.join(control_group(world));
        while dir.exists() && !remove_tree(&dir) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes a tree of control groups, children first; their files go with them.
fn remove_tree(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(dir).is_ok()
}

/// Runs a command that must succeed, and gives its output.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` does not run: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{program} {}` failed: {stderr}",
        args.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Looks again and again until `look` finds something; panics with what was `awaited` when the time
/// is over.
pub fn until<T>(awaited: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{awaited}: not within {within:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a new file, with its directories.
pub fn write(path: &Path, text: &str) {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).expect("a directory in the test's own place");
    }
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
}

/// An empty file to collect output in. Appending, so that reading it while a child writes disturbs
/// nobody.
pub fn unnamed_file() -> File {
    tempfile::Builder::new()
        .append(true)
        .tempfile()
        .expect("a temporary file")
        .into_file()
}
