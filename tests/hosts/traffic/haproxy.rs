//! `HAProxy` on its own machine, configured as its users do.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;

/// The socket of its runtime API.
pub(crate) const SOCKET: &str = "/run/haproxy/admin.sock";
/// The pause between two counts of the servers.
const PAUSE: Duration = Duration::from_millis(20);

const CONFIG: &str = "\
global
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners
    # Read-only, for the tests.
    stats socket ipv4@:9999 level user
    stats timeout 30s

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-request 60s
";

/// A frontend and its backend: the slots of a service.
pub(crate) struct Backend<'a> {
    pub(crate) name: &'a str,
    /// The port of the frontend.
    pub(crate) port: u16,
    pub(crate) hosts: &'a [Host],
    /// The ports of the slots on each host.
    pub(crate) slots: &'a [u16],
}

/// The backend of most tests.
const PAGE: &str = "page";
/// The port of its frontend.
const PAGE_PORT: u16 = 8080;

impl Backend<'_> {
    /// The part of the configuration, with a server for each slot, named `h1-8081` and so on.
    fn config(&self) -> String {
        let Self { name, port, .. } = self;
        let mut config = format!(
            "\nfrontend front-{name}\n    bind :{port}\n    default_backend {name}\n\n\
             backend {name}\n    balance roundrobin\n    option httpchk GET /\n    \
             default-server check inter 1s fastinter 200ms downinter 200ms rise 2 fall 2\n"
        );
        for Host { name, address, .. } in self.hosts {
            for slot in self.slots {
                writeln!(config, "    server {name}-{slot} {address}:{slot}").expect("memory");
            }
        }
        config
    }
}

/// A running `HAProxy`.
pub(crate) struct Haproxy<'a> {
    machine: &'a Host,
}

impl<'a> Haproxy<'a> {
    /// Starts it with a server for each slot of the fleet's hosts, named `h1-8081` and so on.
    pub(crate) fn start(machine: &'a Host, fleet: &Fleet, ports: &[u16]) -> Self {
        Self::start_with("", machine, fleet, ports)
    }

    /// The same, with additional lines in the defaults.
    pub(crate) fn start_with(
        defaults: &str,
        machine: &'a Host,
        fleet: &Fleet,
        ports: &[u16],
    ) -> Self {
        let page = Backend {
            name: PAGE,
            port: PAGE_PORT,
            hosts: &fleet.hosts,
            slots: ports,
        };
        Self::start_configured(machine, &format!("{CONFIG}{defaults}{}", page.config()))
    }

    /// Starts it with these backends.
    pub(crate) fn start_backends(machine: &'a Host, backends: &[Backend<'_>]) -> Self {
        Self::start_backends_with("", machine, backends)
    }

    /// The same, with additional lines in the defaults.
    pub(crate) fn start_backends_with(
        defaults: &str,
        machine: &'a Host,
        backends: &[Backend<'_>],
    ) -> Self {
        let backends: String = backends.iter().map(Backend::config).collect();
        Self::start_configured(machine, &format!("{CONFIG}{defaults}{backends}"))
    }

    fn start_configured(machine: &'a Host, config: &str) -> Self {
        namespace::write(&machine.path("/etc/haproxy/haproxy.cfg"), config);
        // systemd must not restart it after a kill.
        let unit = "[Service]\nRestart=no\nTimeoutStopSec=1\n";
        namespace::write(
            &machine.path("/etc/systemd/system/haproxy.service.d/tests.conf"),
            unit,
        );
        machine
            .exec("systemctl daemon-reload && systemctl start haproxy")
            .exits(0);
        Self { machine }
    }

    /// Waits until this many servers are up.
    pub(crate) fn await_servers(&self, count: usize) {
        self.await_servers_of(PAGE, count);
    }

    /// Waits until this many servers of a backend are up.
    pub(crate) fn await_servers_of(&self, backend: &str, count: usize) {
        let up = || {
            servers_up(&self.machine.address, backend)
                .is_ok_and(|up| up == count)
                .then_some(())
        };
        namespace::until("the servers are up", Duration::from_secs(20), up);
    }

    /// The endpoint of the frontend.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{PAGE_PORT}", self.machine.address)
    }

    /// Starts counting the servers that are up.
    pub(crate) fn count_servers(&self) -> ServerCount {
        self.count_servers_of(PAGE)
    }

    /// Starts counting the servers of a backend that are up.
    pub(crate) fn count_servers_of(&self, backend: &'static str) -> ServerCount {
        ServerCount::start(self.machine.address.clone(), backend)
    }

    /// Reloads the configuration, as an administrator would.
    pub(crate) fn reload(&self) {
        self.machine.exec("systemctl reload haproxy").exits(0);
    }

    /// Kills all its processes.
    pub(crate) fn kill(&self) {
        self.machine
            .exec("systemctl kill --signal=KILL haproxy")
            .exits(0);
        let is_down =
            || (self.machine.exec("systemctl is-failed haproxy").code == Some(0)).then_some(());
        namespace::until("the end of haproxy", Duration::from_secs(10), is_down);
    }

    /// Starts it again.
    pub(crate) fn start_again(&self) {
        self.machine
            .exec("systemctl reset-failed haproxy; systemctl start haproxy")
            .exits(0);
    }
}

/// Counts the servers that are up until it is stopped.
pub(crate) struct ServerCount {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl ServerCount {
    fn start(address: String, backend: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut fewest = usize::MAX;
            while !stopped.load(Ordering::Relaxed) {
                fewest = servers_up(&address, backend).map_or(fewest, |up| fewest.min(up));
                thread::sleep(PAUSE);
            }
            fewest
        });
        Self { stop, thread }
    }

    /// The fewest servers that were up at one time, while `HAProxy` answered.
    pub(crate) fn fewest(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread did not panic")
    }
}

/// The number of servers of a backend that are up.
fn servers_up(address: &str, backend: &str) -> std::io::Result<usize> {
    let mut api = TcpStream::connect((address, 9999))?;
    api.write_all(format!("show stat {backend} 4 -1\n").as_bytes())?;
    let mut table = String::new();
    api.read_to_string(&mut table)?;
    let status = |line: &&str| {
        line.split(',')
            .nth(17)
            .is_some_and(|status| status.starts_with("UP"))
    };
    Ok(table.lines().filter(status).count())
}
