//! A real etcd cluster on the loopback address, for one test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::etcd_certificates::Certificates;

const DEADLINE: Duration = Duration::from_secs(30);
const ATTEMPTS_MAX: usize = 5;

/// How the members run.
#[derive(Clone, Copy, Default)]
pub struct ClusterOptions {
    pub quota_bytes: Option<u64>,
    pub tls: bool,
    /// Endpoints accept only clients with a certificate.
    pub client_certificates: bool,
}

/// The members of a cluster. They end with the test.
pub struct EtcdCluster {
    dir: TempDir,
    members: Vec<Member>,
    options: ClusterOptions,
    certificates: Option<Certificates>,
}

struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl EtcdCluster {
    /// Starts this many members. If etcd is not installed, prints `SKIPPED` and returns `None`.
    pub fn start(members: usize) -> Option<Self> {
        Self::start_with(members, ClusterOptions::default())
    }

    /// The same, with options.
    pub fn start_with(members: usize, options: ClusterOptions) -> Option<Self> {
        for (program, package) in [("etcd", "etcd-server"), ("etcdctl", "etcd-client")] {
            if Command::new(program).arg("--help").output().is_err() {
                eprintln!("SKIPPED: {program} is missing (Debian: apt-get install {package})");
                return None;
            }
        }
        let mut ended = String::new();
        // Another process may take a free port before the member does.
        for _ in 0..ATTEMPTS_MAX {
            let dir = tempfile::Builder::new().prefix("etcd-").tempdir().unwrap();
            let certificates = if options.tls {
                Some(Certificates::make(dir.path())?)
            } else {
                None
            };
            let mut cluster = Self {
                dir,
                members: free_members(members),
                options,
                certificates,
            };
            for index in 0..members {
                cluster.spawn(index);
            }
            match cluster.await_health() {
                Ok(()) => return Some(cluster),
                Err(log) => ended = log,
            }
        }
        panic!("etcd does not start: {ended}");
    }

    /// The URL of all members, in their order.
    pub fn url(&self) -> String {
        let all: Vec<usize> = (0..self.members.len()).collect();
        self.url_of(&all)
    }

    /// The URL of some members, in this order.
    pub fn url_of(&self, members: &[usize]) -> String {
        let endpoints: Vec<String> = members.iter().map(|index| self.endpoint(*index)).collect();
        format!("etcd://{}/ship", endpoints.join(","))
    }

    /// As `HOST:PORT`.
    pub fn endpoint(&self, member: usize) -> String {
        format!("127.0.0.1:{}", self.members[member].client_port)
    }

    pub fn port(&self, member: usize) -> u16 {
        self.members[member].client_port
    }

    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a cluster with TLS")
    }

    /// The member that is the leader, according to a majority.
    pub fn leader(&self) -> usize {
        let since = Instant::now();
        loop {
            let running = (0..self.members.len()).filter(|i| self.members[*i].child.is_some());
            let states: Vec<(usize, Value)> = running
                .filter_map(|i| Some((i, self.post(i, "/v3/maintenance/status", &json!({})).ok()?)))
                .collect();
            let leads = |state: &Value| state["leader"] == state["header"]["member_id"];
            let agree = |leader: &Value| {
                let same = |(_, state): &&(usize, Value)| state["leader"] == leader["leader"];
                states.iter().filter(same).count() * 2 > self.members.len()
            };
            let leader = states
                .iter()
                .find(|(_, state)| leads(state) && agree(state));
            if let Some((member, _)) = leader {
                return *member;
            }
            assert!(since.elapsed() < DEADLINE, "no leader: {states:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends a member at once, as a power failure does.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Suspends a member: its connections stay open, and no one answers.
    pub fn suspend(&self, member: usize) {
        self.signal(member, Signal::STOP);
    }

    pub fn resume(&self, member: usize) {
        self.signal(member, Signal::CONT);
    }

    /// Starts a member again after [`EtcdCluster::kill`], and waits until it answers.
    pub fn restart(&mut self, member: usize) {
        self.spawn(member);
        if let Err(log) = self.await_health_of(member) {
            panic!("{log}");
        }
    }

    /// Runs `etcdctl` with the first member; returns its output.
    #[track_caller]
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let output = self.try_etcdctl(0, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "etcdctl {arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Posts to the gateway of a member without TLS.
    pub fn post(&self, member: usize, path: &str, request: &Value) -> std::io::Result<Value> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.members[member].client_port));
        let timeout = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        let body = request.to_string();
        let head = format!(
            "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }

    /// The number of watches that clients have opened at a member.
    pub fn watcher_count(&self, member: usize) -> usize {
        let address = SocketAddr::from(([127, 0, 0, 1], self.members[member].client_port));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let gauge = "etcd_debugging_mvcc_watcher_total ";
        let value = answer.lines().find_map(|line| line.strip_prefix(gauge));
        value.expect("a gauge").parse().unwrap()
    }

    fn try_etcdctl(&self, member: usize, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new("etcdctl");
        let scheme = if self.options.tls { "https" } else { "http" };
        command
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={scheme}://{}", self.endpoint(member)))
            .args(["--dial-timeout=2s", "--command-timeout=3s"]);
        if let Some(certificates) = &self.certificates {
            command
                .arg(format!("--cacert={}", certificates.ca()))
                .arg(format!("--cert={}", certificates.certificate()))
                .arg(format!("--key={}", certificates.key()));
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn await_health(&mut self) -> Result<(), String> {
        (0..self.members.len()).try_for_each(|member| self.await_health_of(member))
    }

    /// Waits until a member answers a read. Returns its log if it has ended.
    fn await_health_of(&mut self, member: usize) -> Result<(), String> {
        let since = Instant::now();
        // With authentication, an answer that access is denied needs no leader.
        while !self
            .try_etcdctl(member, &["get", "health"])
            .status
            .success()
            && !self.is_access_denied(member)
        {
            let child = self.members[member].child.as_mut();
            let has_ended = child.is_none_or(|child| child.try_wait().unwrap().is_some());
            if has_ended || since.elapsed() > DEADLINE {
                return Err(self.log(member));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn is_access_denied(&self, member: usize) -> bool {
        let output = self.try_etcdctl(member, &["get", "health"]);
        String::from_utf8_lossy(&output.stderr).contains("user name is empty")
    }

    fn spawn(&mut self, index: usize) {
        let initial: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer_port))
            .collect();
        let dir = self.dir.path();
        let member = &self.members[index];
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(format!("{}.log", member.name)))
            .unwrap();
        let scheme = if self.options.tls { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", member.client_port);
        let peer = format!("http://127.0.0.1:{}", member.peer_port);
        let mut command = Command::new("etcd");
        command
            .args(["--name", &member.name])
            .arg("--data-dir")
            .arg(Path::new(dir).join(&member.name))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-state", "new"]);
        if let Some(bytes) = self.options.quota_bytes {
            command.args(["--quota-backend-bytes", &bytes.to_string()]);
        }
        if let Some(certificates) = &self.certificates {
            command
                .args(["--cert-file", &certificates.certificate()])
                .args(["--key-file", &certificates.key()]);
            if self.options.client_certificates {
                command
                    .args(["--trusted-ca-file", &certificates.ca()])
                    .arg("--client-cert-auth");
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[index].child = Some(child);
    }

    fn signal(&self, member: usize, signal: Signal) {
        let child = self.members[member].child.as_ref().expect("a process");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn log(&self, member: usize) -> String {
        let name = format!("{}.log", self.members[member].name);
        let log = fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Members with ports that are free now.
fn free_members(count: usize) -> Vec<Member> {
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
    // All are bound before the first is released, so that no port is returned twice.
    let listeners: Vec<TcpListener> = (0..2 * count).map(|_| bind()).collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    listeners
        .chunks(2)
        .enumerate()
        .map(|(index, pair)| Member {
            name: format!("m{index}"),
            client_port: port(&pair[0]),
            peer_port: port(&pair[1]),
            child: None,
        })
        .collect()
}
