//! A real sshd for one test, with its own port, keys and directory.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd that accepts the user of the test with the key `id` of its directory.
pub struct Sshd {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Sshd {
    /// Starts an sshd with additional lines of configuration. If it is not installed, prints
    /// `SKIPPED` and returns `None`.
    pub fn start(more: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("SKIPPED: {SSHD} is missing (Debian: apt-get install openssh-server)");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("sshd-").tempdir().unwrap();
        // The directory to which sshd confines its unprivileged process, if it runs as root.
        if is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        for key in ["host_key", "id", "stranger"] {
            keygen(&dir.path().join(key));
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = dir.path().join("sshd_config");
        let at = dir.path().display();
        fs::write(
            &config,
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_key\nPidFile \
                 none\nAuthorizedKeysFile {at}/id.pub {at}/.ssh/authorized_keys\n\
                 StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication \
                 no\nLogLevel VERBOSE\n{more}\n\
                 # So that no dotfiles of the user are read (the first SetEnv wins).\n\
                 SetEnv HOME={at}\n"
            ),
        )
        .unwrap();
        let log = fs::File::create(dir.path().join("sshd.log")).unwrap();
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Self { child, dir, port };
        sshd.write("ssh_config", "");
        sshd.trust(&sshd.file("host_key.pub"));
        // Read from the log, because a connection attempt would count as one of the test's.
        let addresses = fs::read_to_string(&config)
            .unwrap()
            .matches("ListenAddress")
            .count();
        let listens = eventually(Duration::from_secs(10), || {
            sshd.log().matches("Server listening on").count() == addresses
        });
        assert!(listens, "sshd does not listen: {}", sshd.log());
        Some(sshd)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in its directory.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("sshd.log")).unwrap()
    }

    /// The number of connections so far. sshd logs each one before it answers, so the number is
    /// right once a client has an answer. A client that disconnected early may be logged later.
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from 127.0.0.1 ").count()
    }

    /// The number of logins so far.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Makes a public key the only one that clients accept for this server.
    pub fn trust(&self, public_key: &Path) {
        let key = fs::read_to_string(public_key).unwrap();
        self.write("known_hosts", &format!("[127.0.0.1]:{} {key}", self.port));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Polls a condition until it is true. Returns false after `within`.
pub fn eventually(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() > within {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ssh processes whose command line mentions a path.
pub fn ssh_of(path: &Path) -> Vec<u32> {
    let is_ssh = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "ssh\n")
    };
    processes_of(path).into_iter().filter(is_ssh).collect()
}

/// The processes whose command line mentions a path.
pub fn processes_of(path: &Path) -> Vec<u32> {
    let path = path.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mentions = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(path)
    };
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(mentions)
        .collect()
}
