//! A private, real sshd for a test: a port, keys and a directory of its own, gone with the test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd that lets the user of the test in with [`Sshd::key`].
pub struct Sshd {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Sshd {
    /// Starts one, with more lines for its configuration. `None`, and a word about it, where there
    /// is no sshd.
    pub fn start(more: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("SKIPPED: {SSHD} is missing (Debian: apt-get install openssh-server)");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("sshd-").tempdir().unwrap();
        // Where sshd, as root, locks itself in.
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
                 none\nAuthorizedKeysFile {at}/id.pub\n\
                 StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication \
                 no\nLogLevel VERBOSE\n{more}\n\
                 # So that no dotfile of whoever runs the test is read (the first SetEnv wins).\n\
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
        // By its log: a connection, to find out, would be counted as one of the test's.
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

    /// How many connections it has taken. It notes each before it answers, so the number is right
    /// as soon as a client has an answer; what it notes of a client that went away may come later.
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from 127.0.0.1 ").count()
    }

    /// The number of logins so far.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Makes a public key the only one that clients know for this server.
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

/// Waits for something to become true, for a bounded time.
pub fn eventually(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if began.elapsed() > within {
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
