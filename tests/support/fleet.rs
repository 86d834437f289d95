//! Real hosts without virtual machines: Debian with sshd and systemd as process 1, each with its
//! own address.
//!
//! Each host is a systemd-nspawn container with an overlay over the shared image, in a network
//! namespace that a bridge connects to the test's. All of this is inside a sandbox (see
//! [`namespace`]), so the addresses are always the same.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::command::{Done, Running};
use super::inventory::Inventory;
use super::namespace::{self, run, until};

/// The user that ship logs in as, with permission for `sudo -n`.
const USER: &str = "deploy";
/// The time limit for a host to boot.
const BOOT_DEADLINE: Duration = Duration::from_mins(2);

/// Each host uses about seven inotify instances, and many kernels allow root 128: without a higher
/// limit, systemd hangs during boot on the nineteenth host of all tests together.
const INOTIFY_INSTANCES_MIN: u32 = 1024;
const INOTIFY_INSTANCES_LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Running hosts, and the credentials to log in to them.
pub struct Fleet {
    pub hosts: Vec<Host>,
    /// Machines in the same network for balancers: `lb1` at 10.80.0.101, and so on.
    pub balancers: Vec<Host>,
    dir: PathBuf,
}

/// A host: `h1` at 10.80.0.11, and so on.
pub struct Host {
    pub name: String,
    pub address: String,
    dir: PathBuf,
    /// The systemd-nspawn process; `None` while the host is off.
    nspawn: Mutex<Option<Child>>,
}

impl Fleet {
    /// Boots hosts in parallel and returns when all accept logins.
    pub fn boot(count: usize) -> Self {
        Self::boot_behind(count, 0)
    }

    /// Boots hosts and machines for balancers.
    pub fn boot_behind(count: usize, balancers: usize) -> Self {
        Self::boot_images(&vec![namespace::image(); count], balancers)
    }

    /// Boots one host of each of these Debian suites. Requires `namespace::with_hosts_of`.
    pub fn boot_suites(suites: &[&str]) -> Self {
        Self::boot_images(
            &suites
                .iter()
                .map(|suite| namespace::image_of(suite))
                .collect::<Vec<_>>(),
            0,
        )
    }

    fn boot_images(images: &[PathBuf], balancers: usize) -> Self {
        let dir = PathBuf::from("/run/fleet");
        fs::create_dir(&dir).expect("one fleet in a sandbox");
        allow_many_hosts();
        run("ip", &["link", "add", "br0", "type", "bridge"]);
        run("ip", &["addr", "add", "10.80.0.1/24", "dev", "br0"]);
        run("ip", &["link", "set", "br0", "up"]);
        run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                &text(&dir.join("id")),
            ],
        );
        let host = |(number, image): (usize, &PathBuf)| {
            Host::make(&dir, image, &format!("h{number}"), 10 + number)
        };
        let hosts = (1..).zip(images).map(host).collect();
        let balancer = |number| {
            Host::make(
                &dir,
                &namespace::image(),
                &format!("lb{number}"),
                100 + number,
            )
        };
        let balancers = (1..=balancers).map(balancer).collect();
        let fleet = Self {
            hosts,
            balancers,
            dir,
        };
        fleet.write_ssh_files();
        fleet.machines().for_each(Host::start);
        fleet.machines().for_each(Host::await_ssh);
        fleet
    }

    /// The hosts and the balancers.
    fn machines(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().chain(&self.balancers)
    }

    /// An ssh configuration that knows every host by name and by address, and accepts only their
    /// real keys.
    pub fn ssh_config(&self) -> PathBuf {
        self.dir.join("ssh_config")
    }

    /// The real host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// The private key of the user that logs in.
    pub fn identity_file(&self) -> PathBuf {
        self.dir.join("id")
    }

    /// An inventory of all hosts and balancers for a playbook, with `sudo`.
    pub fn inventory(&self, playbook: &str) -> String {
        let config = text(&self.ssh_config());
        let inventory = Inventory::new(playbook, "tests").ssh(&format!(
            "user = \"{USER}\"\nsudo = true\nconfig = \"{config}\"\nconnect_timeout = \"5s\"\n"
        ));
        let add = |table| {
            move |inventory: Inventory, machine: &Host| {
                inventory.machine(table, &machine.name, &machine.address, "")
            }
        };
        let inventory = self.hosts.iter().fold(inventory, add("hosts"));
        self.balancers
            .iter()
            .fold(inventory, add("balancers"))
            .text()
    }

    /// Runs a command on a host over ssh, as the user that ship logs in as.
    pub fn ssh(&self, host: &Host, command: &str) -> Done {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(self.ssh_config())
            .args(["-o", "BatchMode=yes", &host.address, command]);
        Running::spawn(ssh).wait_within(Duration::from_secs(30))
    }

    fn write_ssh_files(&self) {
        let config = format!(
            "Host 10.80.0.*\n  User {USER}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             StrictHostKeyChecking yes\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  ConnectTimeout 3\n",
            text(&self.identity_file()),
            text(&self.known_hosts())
        );
        namespace::write(&self.ssh_config(), &config);
        let known: Vec<_> = self
            .machines()
            .map(|host| format!("{} {}", host.address, host.public_key()))
            .collect();
        namespace::write(&self.known_hosts(), &known.concat());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for host in self.machines() {
            host.kill();
            let _ = Command::new("ip")
                .args(["link", "del", &host.link()])
                .status();
            let _ = Command::new("ip")
                .args(["netns", "del", &host.name])
                .status();
            let _ = Command::new("umount").arg(host.root()).status();
        }
        let _ = Command::new("ip").args(["link", "del", "br0"]).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Host {
    /// Runs a shell command on the host as root, without ssh or network.
    pub fn exec(&self, command: &str) -> Done {
        let leader = self
            .leader()
            .unwrap_or_else(|| panic!("{} is off", self.name))
            .to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "-t", &leader, "-m", "-u", "-i", "-n", "-p", "--wd=/", "sh", "-c", command,
        ]);
        nsenter
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Running::spawn(nsenter).wait_within(Duration::from_secs(30))
    }

    /// Disconnects its network.
    pub fn disconnect(&self) {
        run("ip", &["link", "set", &self.link(), "down"]);
    }

    /// Reconnects its network.
    pub fn reconnect(&self) {
        run("ip", &["link", "set", &self.link(), "up"]);
    }

    /// Kills the host and returns when none of its processes runs.
    pub fn kill(&self) {
        let Some(mut nspawn) = self.nspawn.lock().expect("the lock is not poisoned").take() else {
            return;
        };
        let processes = descendants(nspawn.id());
        // With one command, because the processes of a host that loses power end at once.
        let _ = Command::new("kill")
            .args(["-s", "KILL"])
            .args(processes.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
        let _ = nspawn.kill();
        let _ = nspawn.wait();
        // Signals arrive later than they are sent. A process that has exited has no command line.
        let ended = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .unwrap_or_default()
                .is_empty()
        };
        until("a host without power", Duration::from_secs(10), || {
            processes.iter().all(ended).then_some(())
        });
    }

    /// Boots the host again, with its disk, and waits for sshd.
    pub fn boot_again(&self) {
        self.start();
        self.await_ssh();
    }

    /// Freezes every process of the host: connections stay open, nothing answers.
    pub fn freeze(&self) {
        // A process may start another one before it receives the signal, so repeat until there are
        // no new processes.
        let mut frozen = Vec::new();
        loop {
            let new: Vec<_> = self
                .processes()
                .into_iter()
                .filter(|pid| !frozen.contains(pid))
                .collect();
            if new.is_empty() {
                return;
            }
            signal("STOP", &new);
            frozen.extend(new);
        }
    }

    /// Resumes a frozen host.
    pub fn thaw(&self) {
        signal("CONT", &self.processes());
    }

    /// Mounts a file system on a directory, small enough for [`Self::fill_disk`].
    pub fn small_disk(&self, dir: &str, size: &str) {
        self.exec(&format!(
            "mkdir -p {dir} && mount -t tmpfs -o mode=755,size={size} small {dir}"
        ))
        .exits(0);
    }

    /// Fills the disk of a directory completely.
    pub fn fill_disk(&self, dir: &str) {
        self.exec(&format!("dd if=/dev/zero of={dir}/ballast bs=4k 2>&1"))
            .exits(1)
            .prints(&["No space left"]);
    }

    /// Removes the file that [`Self::fill_disk`] wrote.
    pub fn free_disk(&self, dir: &str) {
        self.exec(&format!("rm {dir}/ballast")).exits(0);
    }

    fn make(fleet: &Path, image: &Path, name: &str, number: usize) -> Self {
        let address = format!("10.80.0.{number}");
        let host = Self {
            dir: fleet.join(name),
            name: name.to_owned(),
            address,
            nspawn: Mutex::new(None),
        };
        host.make_network();
        host.make_disk(image, &fleet.join("id.pub"));
        host
    }

    fn make_network(&self) {
        let (name, link) = (self.name.as_str(), self.link());
        run("ip", &["netns", "add", name]);
        run(
            "ip",
            &[
                "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name,
            ],
        );
        run("ip", &["link", "set", &link, "master", "br0", "up"]);
        run("ip", &["-n", name, "link", "set", "lo", "up"]);
        run(
            "ip",
            &[
                "-n",
                name,
                "addr",
                "add",
                &format!("{}/24", self.address),
                "dev",
                "eth0",
            ],
        );
        run("ip", &["-n", name, "link", "set", "eth0", "up"]);
    }

    fn make_disk(&self, image: &Path, authorized: &Path) {
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(self.dir.join(part)).expect("a directory in the sandbox");
        }
        let part = |name: &str| text(&self.dir.join(name));
        let image = text(image);
        let layers = format!(
            "lowerdir={image},upperdir={},workdir={}",
            part("upper"),
            part("work")
        );
        run(
            "mount",
            &["-t", "overlay", "overlay", "-o", &layers, &part("root")],
        );
        let root = self.root();
        run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                &self.name,
                "-f",
                &text(&self.host_key()),
            ],
        );
        namespace::write(&root.join("etc/hostname"), &format!("{}\n", self.name));
        // sudo resolves the name of the host.
        namespace::write(
            &root.join("etc/hosts"),
            &format!("127.0.0.1 localhost\n127.0.1.1 {}\n", self.name),
        );
        let keys = root.join("home/deploy/.ssh/authorized_keys");
        namespace::write(&keys, &fs::read_to_string(authorized).expect("our own key"));
        run(
            "chroot",
            &[
                &text(&root),
                "chown",
                "-R",
                "deploy:deploy",
                "/home/deploy/.ssh",
            ],
        );
    }

    fn start(&self) {
        let mut enter_groups = String::new();
        for hierarchy in namespace::control_group_roots() {
            let group = hierarchy
                .join(namespace::control_group(&namespace::name()))
                .join(&self.name);
            fs::create_dir_all(&group).expect("root can make control groups");
            write!(
                enter_groups,
                "echo $$ > {}/cgroup.procs && ",
                group.display()
            )
            .expect("memory");
        }
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("{enter_groups} exec \"$@\""),
            "sh",
            "systemd-nspawn",
            "--quiet",
            "--boot",
        ]);
        command.args([
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            "--link-journal=no",
        ]);
        command.args([
            "--resolv-conf=off",
            "--timezone=off",
            "--capability=CAP_NET_ADMIN",
        ]);
        command
            .arg(format!("--machine={}", self.name))
            .arg("-D")
            .arg(self.root());
        command.arg(format!("--network-namespace-path=/run/netns/{}", self.name));
        if namespace::control_groups_are_v1() {
            command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "0");
        }
        let console = fs::File::create(self.console()).expect("a file in the sandbox");
        command
            .stdin(Stdio::null())
            .stderr(console.try_clone().expect("one more descriptor"))
            .stdout(console);
        let child = command.spawn().expect("sh is installed");
        *self.nspawn.lock().expect("the lock is not poisoned") = Some(child);
    }

    fn await_ssh(&self) {
        let socket: SocketAddr = format!("{}:22", self.address).parse().expect("an address");
        let deadline = std::time::Instant::now() + BOOT_DEADLINE;
        let answers = || sends_banner(socket).then_some(());
        let ended = || {
            self.nspawn
                .lock()
                .expect("the lock is not poisoned")
                .as_mut()
                .is_none_or(has_ended)
        };
        until(
            &format!("the sshd of {}", self.name),
            BOOT_DEADLINE + Duration::from_secs(1),
            || {
                let console = || fs::read_to_string(self.console()).unwrap_or_default();
                assert!(!ended(), "{} did not boot:\n{}", self.name, console());
                assert!(
                    std::time::Instant::now() < deadline,
                    "{} has no sshd:\n{}",
                    self.name,
                    console()
                );
                answers()
            },
        );
    }

    /// A path on the disk of the host, as the test sees it, even while the host is disconnected or
    /// frozen.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn console(&self) -> PathBuf {
        self.dir.join("console")
    }

    fn host_key(&self) -> PathBuf {
        self.root().join("etc/ssh/ssh_host_ed25519_key")
    }

    fn public_key(&self) -> String {
        fs::read_to_string(self.host_key().with_extension("pub")).expect("our own key")
    }

    fn link(&self) -> String {
        format!("veth-{}", self.name)
    }

    /// Every process of the host, by the test's process ids.
    fn processes(&self) -> Vec<u32> {
        let nspawn = self.nspawn.lock().expect("the lock is not poisoned");
        nspawn
            .as_ref()
            .map(|child| descendants(child.id()))
            .unwrap_or_default()
    }

    /// Process 1 of the host, by the test's process id.
    fn leader(&self) -> Option<u32> {
        let is_first = |pid: &u32| {
            status_field(*pid, "NSpid:")
                .is_some_and(|ids| ids.split_whitespace().last() == Some("1"))
        };
        self.processes().into_iter().find(is_first)
    }
}

/// Raises the limit of inotify instances if it is too low for the hosts of all tests together.
fn allow_many_hosts() {
    let limit = fs::read_to_string(INOTIFY_INSTANCES_LIMIT).unwrap_or_default();
    let is_enough = |limit: u32| limit >= INOTIFY_INSTANCES_MIN;
    if limit.trim().parse().is_ok_and(is_enough) {
        return;
    }
    if let Err(error) = fs::write(INOTIFY_INSTANCES_LIMIT, INOTIFY_INSTANCES_MIN.to_string()) {
        println!(
            "{INOTIFY_INSTANCES_LIMIT} stays at {}: {error}",
            limit.trim()
        );
    }
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().expect("our own child").is_some()
}

/// Whether an sshd sends its banner.
fn sends_banner(socket: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&socket, Duration::from_millis(200)) else {
        return false;
    };
    let mut greeting = [0; 4];
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
        && stream.write_all(b"SSH-2.0-tests\r\n").is_ok()
}

/// A process and its descendants.
fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = pids()
        .into_iter()
        .filter_map(|pid| Some((pid, status_field(pid, "PPid:")?.trim().parse().ok()?)))
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
}

/// Every process of this sandbox.
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn status_field(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .map(str::to_owned)
}

/// Sends a signal to processes, by name.
pub fn signal(name: &str, pids: &[u32]) {
    let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
    // Processes may have exited meanwhile.
    let _ = Command::new("kill")
        .args(["-s", name])
        .args(pids)
        .stderr(Stdio::null())
        .status();
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
