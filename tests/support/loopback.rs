//! Many light hosts for the process driver: one sshd on 127.1.X.Y for all of them, an ordinary
//! user, no sudo, no systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::command::{Done, Running};
use super::inventory::Inventory;
use super::namespace::{self, run, until};

/// The user that ship logs in as, who exists only in the sandbox.
const USER: &str = "shipper";
const USER_ID: u32 = 64_123;
const PORT: u16 = 2222;

/// Hosts on one machine, each with its own address and base directory.
pub struct Loopback {
    pub hosts: Vec<LightHost>,
    dir: PathBuf,
    sshd: Child,
}

/// A host: `h1` at 127.1.0.1, and so on.
pub struct LightHost {
    pub name: String,
    pub address: String,
    pub base_dir: PathBuf,
}

impl Loopback {
    /// Starts the sshd and returns when it accepts connections.
    pub fn boot(count: usize) -> Self {
        let dir = PathBuf::from("/run/loopback");
        fs::create_dir(&dir).expect("one loopback fleet in a sandbox");
        make_user(&dir);
        for key in ["id", "host_key"] {
            run(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", &text(&dir.join(key))],
            );
        }
        let hosts: Vec<_> = (0..count)
            .map(|number| LightHost::new(&dir, number))
            .collect();
        write_ssh_files(&dir, &hosts);
        let sshd = start_sshd(&dir);
        Self { hosts, dir, sshd }
    }

    /// An ssh configuration that accepts only the real host key.
    pub fn ssh_config(&self) -> PathBuf {
        self.dir.join("ssh_config")
    }

    /// An inventory of all hosts for a playbook, without `sudo`.
    pub fn inventory(&self, playbook: &str) -> String {
        let config = text(&self.ssh_config());
        let inventory = Inventory::new(playbook, "tests").ssh(&format!(
            "user = \"{USER}\"\nport = {PORT}\nsudo = false\nconfig = \"{config}\"\nconnect_timeout = \"3s\"\n"
        ));
        let add = |inventory: Inventory, host: &LightHost| {
            let base_dir = format!("base_dir = \"{}\"\n", host.base_dir.display());
            inventory.machine("hosts", &host.name, &host.address, &base_dir)
        };
        self.hosts.iter().fold(inventory, add).text()
    }

    /// Runs a command on a host over ssh, as the user that ship logs in as.
    pub fn ssh(&self, host: &LightHost, command: &str) -> Done {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(self.ssh_config())
            .args(["-o", "BatchMode=yes", &host.address, command]);
        Running::spawn(ssh).wait_within(Duration::from_secs(30))
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // The services that were started through it end with the sandbox.
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl LightHost {
    fn new(dir: &Path, number: usize) -> Self {
        let base_dir = dir.join(format!("home/h{}", number + 1));
        let address = format!("127.1.{}.{}", number / 250, number % 250 + 1);
        Self {
            name: format!("h{}", number + 1),
            address,
            base_dir,
        }
    }
}

/// Adds the user to the sandbox's copy of `/etc/passwd`.
fn make_user(dir: &Path) {
    let home = dir.join("home");
    let users = fs::read_to_string("/etc/passwd").expect("a list of users");
    let line = format!("{USER}:*:{USER_ID}:{USER_ID}::{}:/bin/sh\n", home.display());
    namespace::write(
        &dir.join("passwd"),
        &format!("{}\n{line}", users.trim_end()),
    );
    run(
        "mount",
        &["--bind", &text(&dir.join("passwd")), "/etc/passwd"],
    );
    fs::create_dir(&home).expect("a directory in the sandbox");
    run("chown", &[&format!("{USER_ID}:{USER_ID}"), &text(&home)]);
}

fn write_ssh_files(dir: &Path, hosts: &[LightHost]) {
    let path = |name: &str| text(&dir.join(name));
    let config = format!(
        "Host 127.1.*\n  User {USER}\n  Port {PORT}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         StrictHostKeyChecking yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  \
         ConnectTimeout 3\n",
        path("id"),
        path("known_hosts")
    );
    namespace::write(&dir.join("ssh_config"), &config);
    let key = fs::read_to_string(dir.join("host_key.pub")).expect("our own key");
    let known: Vec<_> = hosts
        .iter()
        .map(|host| format!("[{}]:{PORT} {key}", host.address))
        .collect();
    namespace::write(&dir.join("known_hosts"), &known.concat());
}

fn start_sshd(dir: &Path) -> Child {
    let path = |name: &str| text(&dir.join(name));
    let config = format!(
        "Port {PORT}\nListenAddress 0.0.0.0\nHostKey {}\nPidFile none\nAuthorizedKeysFile \
         {}\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nMaxStartups 1000\nUseDNS no\nSubsystem sftp internal-sftp\n",
        path("host_key"),
        path("id.pub")
    );
    namespace::write(&dir.join("sshd_config"), &config);
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-f", &path("sshd_config"), "-E", &path("sshd.log")]);
    let sshd = command
        .stdin(Stdio::null())
        .spawn()
        .expect("sshd is installed");
    until(
        "the sshd of the loopback hosts",
        Duration::from_secs(20),
        || {
            std::net::TcpStream::connect(("127.1.0.1", PORT))
                .is_ok()
                .then_some(())
        },
    );
    sshd
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
