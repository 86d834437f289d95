//! What a host asks its instances by itself.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ship::core::release::{Driver, Liveness, LivenessCheck};
use ship::script::{Input, Needs, Script, StartSpec, check, read_check, start};

use crate::host::{Host, Ran, Release, Shell, now, shells, wait_for};
use crate::systemd::{calls, moved};

/// A service on the host's port that the test itself runs, where systemd is none: the fake one
/// knows it as the unit's first process, and kills it on request.
struct Watched {
    host: Host,
    release: Release,
    service: Child,
}

/// Responds as configured.
const SERVER: &str = "
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_me = not self.path.startswith('/named/') or self.headers['Host'] == 'www.example.org:80'
        self.send_response(int(self.path.rsplit('/', 1)[-1]) if is_me else 400)
        self.end_headers()
    def log_message(self, *args):
        pass
class Server(http.server.HTTPServer):
    address_family = http.server.socket.AF_INET6 if ':' in sys.argv[1] else \
    http.server.socket.AF_INET
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
print('up', flush=True)
server.serve_forever()
";

/// Accepts connections, by its kernel's courtesy, and never says a word.
const STUCK: &str = "
import signal, socket, sys, time
if len(sys.argv) > 3:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print('up', flush=True)
time.sleep(60)
";

fn http(path: &str) -> Liveness {
    Liveness {
        check: LivenessCheck::Http(path.into()),
        port: None,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        failure_threshold: 3,
        initial_delay: Duration::ZERO,
        host_header: None,
    }
}

fn command(script: &str) -> Liveness {
    Liveness {
        check: LivenessCheck::Command(["sh", "-c", script].map(String::from).to_vec()),
        ..http("")
    }
}

impl Watched {
    /// A service that listens, and the question for it, as a start has brought it to the slot.
    fn new(shell: Shell, service: &str, liveness: Liveness) -> Self {
        let host = Host::with(shell);
        let address = host.site.host_address.clone();
        Self::on(host, service, &[&address], |_| {}, liveness)
    }

    fn on(
        host: Host,
        service: &str,
        args: &[&str],
        change: impl Fn(&mut StartSpec),
        liveness: Liveness,
    ) -> Self {
        let release = Release::new("hello").with_secrets("TOKEN=\"t\"\n");
        host.stage(&release);
        let (address, more) = args.split_first().expect("an address");
        let service = serve(service, address, host.port, more);
        fs::create_dir(host.dir.path().join("units")).expect("directory");
        host.fake("useradd", "");
        let watched = Self {
            host,
            release,
            service,
        };
        watched.fake_systemctl();
        let mut launch = watched.launch(liveness);
        change(&mut launch);
        watched.start(&launch);
        watched.passes();
        watched
    }

    /// The service has passed its probe before.
    fn passes(&self) {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.service.id())).expect("a process");
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let started = fields.split_whitespace().nth(19).expect("its start");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        let noted = format!("{}.{}.{started} 0\n", boot.trim(), self.service.id());
        fs::write(self.host.slot().join("liveness.failures"), noted).expect("file");
    }

    /// How often the service has failed since its last pass, as its host has noted.
    fn failures(&self) -> Option<String> {
        let noted = fs::read_to_string(self.host.slot().join("liveness.failures")).ok()?;
        Some(
            noted
                .trim()
                .rsplit_once(' ')
                .expect("a number")
                .1
                .to_owned(),
        )
    }

    fn launch(&self, liveness: Liveness) -> StartSpec {
        StartSpec {
            driver: Driver::Systemd,
            stop_timeout: Duration::from_millis(300),
            liveness: Some(liveness),
            start_timeout: Duration::ZERO,
            settle: Duration::ZERO,
            // This machine's user of that name is there for certain.
            user: Some("root".into()),
            ..self.host.launch("a", &self.release)
        }
    }

    /// Starts the instance, whose port is taken already, by what systemd is about to say it has
    /// started.
    fn start(&self, launch: &StartSpec) {
        let script = moved(&self.host, start(&self.host.site, launch));
        let text = script
            .text
            .replace("'') [ -z \"$other\" ] ||", "'') true ||");
        assert_ne!(text, script.text);
        self.host.order(&Script { text, ..script });
    }

    fn fake_systemctl(&self) {
        let (unit, pid) = (
            format!("ship-testpage@{}.service", self.host.port),
            self.service.id(),
        );
        let calls = self.host.dir.path().join("calls");
        let text = format!(
            "echo \"$*\" >>'{}'\ncase $1 in\n\
             show) printf '%s\\n' 'Id={unit}' NRestarts=0 ControlGroup= MainPID={pid} ;;\n\
             kill) kill -s \"${{2#--signal=}}\" {pid} ;;\nesac",
            calls.display()
        );
        self.host.fake("systemctl", &text);
    }

    /// Puts another process in the place of the service's, as systemd does when it starts it again.
    fn start_again(&mut self, service: &str) {
        self.service.kill().expect("kill");
        self.service.wait().expect("wait");
        self.service = serve(service, &self.host.site.host_address, self.host.port, &[]);
        self.fake_systemctl();
    }

    /// Asks once, as the timer does. What a host may lack is named.
    fn ask_without(&self, missing: &[&str]) -> String {
        let mut text = fs::read_to_string(self.host.slot().join("liveness")).expect("the question");
        for program in missing {
            let less = text.replace(
                &format!("command -v {program} "),
                "command -v no-such-program ",
            );
            assert_ne!(text, less, "{program}");
            text = less;
        }
        let script = Script {
            text,
            input: Input::default(),
            deadline: Duration::from_secs(20),
        };
        let Ran { stdout, stderr } = self.host.run(&script);
        assert_eq!(stderr, "");
        stdout
    }

    fn ask(&self) -> String {
        self.ask_without(&[])
    }

    /// The signals that the service was sent.
    fn signals(&self) -> Vec<String> {
        let kills = calls(&self.host)
            .into_iter()
            .filter_map(|call| Some(call.strip_prefix("kill --signal=")?.to_owned()));
        kills
            .map(|call| call.split(' ').next().expect("a word").to_owned())
            .collect()
    }

    fn lives(&mut self) -> bool {
        self.service.try_wait().expect("status").is_none()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// Starts a service, which listens when this returns.
fn serve(service: &str, address: &str, port: u16, more: &[&str]) -> Child {
    let mut python = Command::new("python3");
    python
        .args(["-c", service, address, &port.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3");
    let mut up = [0; 3];
    child
        .stdout
        .take()
        .expect("stdout")
        .read_exact(&mut up)
        .expect("a service that listens");
    child
}

#[test]
fn liveness_passes_with_every_probe_tool() {
    for shell in shells() {
        for (liveness, hosts) in [
            (
                http("/302"),
                &[&[][..], &["curl"], &["curl", "bash"], &["ss"]][..],
            ),
            (
                Liveness {
                    check: LivenessCheck::Tcp,
                    ..http("")
                },
                &[&[]],
            ),
            (command("true"), &[&[]]),
        ] {
            let mut watched = Watched::new(shell, SERVER, liveness.clone());
            for missing in hosts {
                let what = format!("{shell:?}: {:?} without {missing:?}", liveness.check);
                assert_eq!(watched.ask_without(missing), "", "{what}");
                assert_eq!(watched.failures().as_deref(), Some("0"), "{what}");
                assert!(watched.lives() && watched.signals().is_empty(), "{what}");
            }
        }
    }
}

#[test]
fn liveness_sends_the_host_header() {
    for shell in shells() {
        let named = Liveness {
            host_header: Some("www.example.org:80".into()),
            ..http("/named/200")
        };
        let watched = Watched::new(shell, SERVER, named);
        for missing in [&[][..], &["curl"], &["curl", "bash"]] {
            assert_eq!(
                watched.ask_without(missing),
                "",
                "{shell:?} without {missing:?}"
            );
        }
    }
    let output = Watched::new(Shell::Sh, SERVER, http("/named/200")).ask();
    assert_eq!(output, "a: it returned status 400 (1 of 3)\n");
}

#[test]
fn liveness_probes_the_address_on_which_the_instance_listens() {
    for address in ["0.0.0.0", "::", "::1"] {
        let watched = Watched::on(Host::new(), SERVER, &[address], |_| {}, http("/200"));
        for missing in [&[][..], &["curl"], &["ss"], &["ss", "curl"]] {
            assert_eq!(
                watched.ask_without(missing),
                "",
                "{address} without {missing:?}"
            );
        }
        assert_eq!(watched.failures().as_deref(), Some("0"), "{address}");
    }
}

#[test]
fn liveness_kills_a_stuck_instance_at_the_threshold() {
    for shell in shells() {
        let mut watched = Watched::new(shell, STUCK, http("/"));
        assert_eq!(
            watched.ask(),
            "a: no answer within 1 s (1 of 3)\n",
            "{shell:?}"
        );
        assert_eq!(
            watched.ask_without(&["curl"]),
            "a: no answer within 1 s (2 of 3)\n",
            "{shell:?}"
        );
        assert!(watched.lives() && watched.signals().is_empty());
        let output = watched.ask_without(&["curl", "bash"]);
        let end = "a: failed its liveness probe and is stopped; systemd restarts it\n";
        assert_eq!(
            output,
            format!("a: no answer within 1 s (3 of 3)\n{end}"),
            "{shell:?}"
        );
        assert_eq!(watched.signals(), ["TERM"]);
        assert!(!watched.lives());
        assert_eq!(watched.failures(), None);
    }
}

#[test]
fn liveness_logs_the_reason_of_a_failure() {
    let watched = Watched::new(Shell::Sh, SERVER, http("/503"));
    assert_eq!(watched.ask(), "a: it returned status 503 (1 of 3)\n");
    assert_eq!(
        watched.ask_without(&["curl"]),
        "a: it returned status 503 (2 of 3)\n"
    );
    let watched = Watched::new(
        Shell::Sh,
        SERVER,
        command("echo the queue is full >&2; echo more; exit 4"),
    );
    assert_eq!(
        watched.ask(),
        "a: the command exited with 4: the queue is full (1 of 3)\n"
    );
    let mut watched = Watched::new(Shell::Sh, SERVER, http("/200"));
    watched.start_again("print('up', flush=True); import time; time.sleep(60)");
    watched.passes();
    assert_eq!(
        watched.ask(),
        format!(
            "a: it does not listen on port {} (1 of 3)\n",
            watched.host.port
        )
    );
}

#[test]
fn liveness_command_runs_in_the_release_and_is_killed_at_its_timeout() {
    for shell in shells() {
        let script = r#"[ "$(cat index.html), $COLOUR, $TOKEN" = "hello, deep blue, t" ] || exit 3; sleep 60"#;
        let change =
            |launch: &mut StartSpec| drop(launch.env.insert("COLOUR".into(), "deep blue".into()));
        let host = Host::with(shell);
        let address = host.site.host_address.clone();
        let watched = Watched::on(host, SERVER, &[&address], change, command(script));
        fs::create_dir_all(watched.host.slot()).expect("slot");
        let before = Instant::now();
        assert_eq!(
            watched.ask(),
            "a: no answer within 1 s (1 of 3)\n",
            "{shell:?}"
        );
        assert!(before.elapsed() < Duration::from_secs(10), "{shell:?}");
    }
}

#[test]
fn liveness_counts_consecutive_failures_of_one_process() {
    let mut watched = Watched::new(Shell::Sh, SERVER, command("[ -e ../../../alive ]"));
    let alive = watched.host.root().join("alive");
    let failed = |n| format!("a: the command exited with 1:  ({n} of 3)\n");
    assert_eq!([watched.ask(), watched.ask()], [failed(1), failed(2)]);
    fs::write(&alive, "").expect("file");
    assert_eq!(watched.ask(), "");
    fs::remove_file(&alive).expect("file");
    assert_eq!(
        [watched.ask(), watched.ask()],
        [failed(1), failed(2)],
        "a success in between resets the count"
    );
    watched.start_again(SERVER);
    watched.passes();
    assert_eq!(
        [watched.ask(), watched.ask()],
        [failed(1), failed(2)],
        "and so does another process"
    );
    assert!(watched.lives() && watched.signals().is_empty());
    assert!(watched.ask().starts_with(&failed(3)));
    assert_eq!(watched.signals(), ["TERM"]);
}

#[test]
fn process_is_not_ended_before_its_first_pass() {
    for shell in shells() {
        let mut watched = Watched::new(shell, SERVER, command("[ -e ../../../alive ]"));
        watched.start_again(SERVER);
        let starts = "a: the command exited with 1:  (not counted before the first success)\n";
        for _ in 0..5 {
            assert_eq!(watched.ask(), starts, "{shell:?}");
        }
        assert!(watched.lives() && watched.signals().is_empty(), "{shell:?}");
        let alive = watched.host.root().join("alive");
        fs::write(&alive, "").expect("file");
        assert_eq!(watched.ask(), "", "{shell:?}");
        fs::remove_file(&alive).expect("file");
        assert_eq!(
            watched.ask(),
            "a: the command exited with 1:  (1 of 3)\n",
            "{shell:?}"
        );
    }
}

#[test]
fn look_tells_that_the_liveness_probe_ended_the_process() {
    for shell in shells() {
        let mut watched = Watched::new(
            shell,
            SERVER,
            Liveness {
                failure_threshold: 1,
                ..http("/503")
            },
        );
        let seen = || {
            watched
                .host
                .instance(watched.host.observe())
                .sighting
                .failed_liveness
        };
        assert_eq!(seen(), "", "{shell:?}");
        watched.ask();
        assert_eq!(seen(), "it returned status 503 (1 of 1)", "{shell:?}");
        watched.start_again(SERVER);
        let seen = || {
            watched
                .host
                .instance(watched.host.observe())
                .sighting
                .failed_liveness
        };
        assert_eq!(
            seen(),
            "it returned status 503 (1 of 1)",
            "{shell:?}: systemd has started it again"
        );
        watched.host.order(&moved(
            &watched.host,
            watched.host.halt("a", Duration::from_secs(1)),
        ));
        assert_eq!(
            fs::read_dir(watched.host.slot()).expect("slot").count(),
            0,
            "{shell:?}"
        );
    }
}

#[test]
fn liveness_waits_for_the_initial_delay() {
    let after = |initial_delay| Liveness {
        initial_delay,
        failure_threshold: 1,
        ..http("/500")
    };
    let patient = Watched::new(Shell::Sh, SERVER, after(Duration::from_hours(1)));
    assert_eq!(patient.ask(), "");
    let watched = Watched::new(Shell::Sh, SERVER, after(Duration::from_secs(1)));
    wait_for("the delay", || !watched.ask().is_empty());
    assert_eq!(
        (watched.signals(), patient.signals()),
        (vec!["TERM".to_owned()], vec![])
    );
}

#[test]
fn liveness_kills_an_instance_that_ignores_sigterm() {
    let host = Host::new();
    let address = host.site.host_address.clone();
    let impatient = Liveness {
        failure_threshold: 1,
        ..http("/")
    };
    let mut watched = Watched::on(host, STUCK, &[&address, "deaf"], |_| {}, impatient);
    let before = Instant::now();
    watched.ask();
    assert!(
        before.elapsed() >= Duration::from_millis(1300),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(watched.signals(), ["TERM", "KILL"]);
    assert!(!watched.lives());
}

#[test]
fn while_ship_is_at_work_nothing_counts() {
    let watched = Watched::new(Shell::Sh, SERVER, http("/500"));
    let lock = fs::File::open(watched.host.root().join("lock")).expect("the lock");
    lock.lock().expect("no other thread panics");
    assert_eq!(watched.ask(), "");
    lock.unlock().expect("ours");
    assert_eq!(watched.failures().as_deref(), Some("0"));
    assert_eq!(watched.ask(), "a: it returned status 500 (1 of 3)\n");
}

#[test]
fn liveness_does_not_probe_an_exited_instance() {
    let mut watched = Watched::new(Shell::Sh, SERVER, http("/500"));
    watched.service.kill().expect("kill");
    // Not even one that has not been reaped yet.
    wait_for("the end", || {
        !fs::read_to_string(format!("/proc/{}/stat", watched.service.id()))
            .expect("a zombie")
            .contains(") S ")
    });
    assert_eq!(watched.ask(), "");
    watched.service.wait().expect("wait");
    assert_eq!(watched.ask(), "");
    assert!(watched.signals().is_empty());
}

#[test]
fn start_installs_the_liveness_probe_and_stop_ends_it_first() {
    for shell in shells() {
        let watched = Watched::new(shell, SERVER, http("/200"));
        let host = &watched.host;
        let units = host.dir.path().join("units");
        let timer = format!("ship-testpage.liveness@{}.timer", host.port);
        let question = format!("ship-testpage.liveness@{}.service", host.port);
        let unit = format!("ship-testpage@{}.service", host.port);
        let enabled = units.join("timers.target.wants").join(&timer);
        assert_eq!(
            calls(host),
            [
                "daemon-reload".to_owned(),
                format!("--no-ask-password start {timer} {unit}")
            ],
            "{shell:?}"
        );
        assert_eq!(fs::read_link(&enabled).expect("link"), units.join(&timer));
        assert!(units.join(&question).exists());

        let count = calls(host).len();
        fs::write(host.slot().join("liveness.failures"), "x 2\n").expect("file");
        let halt = host.halt("a", Duration::from_secs(1));
        host.order(&moved(host, halt));
        let stops = [
            format!("--no-ask-password stop {timer} {question}"),
            format!("--no-ask-password stop {unit}"),
        ];
        assert_eq!(calls(host)[count..], stops, "{shell:?}");
        assert!(
            fs::symlink_metadata(&enabled).is_err(),
            "no probe runs after a restart of the host"
        );
        assert_eq!(
            fs::read_dir(host.slot()).expect("slot").count(),
            0,
            "{shell:?}"
        );

        // The same units again need no reading; a slot without liveness keeps none.
        let mut launch = watched.launch(http("/other"));
        let count = calls(host).len();
        watched.start(&launch);
        assert_eq!(
            calls(host)[count..],
            [format!("--no-ask-password start {timer} {unit}")],
            "{shell:?}"
        );
        host.order(&moved(host, host.halt("a", Duration::from_secs(1))));
        let count = calls(host).len();
        launch.liveness = None;
        watched.start(&launch);
        assert_eq!(
            calls(host)[count..],
            [format!("--no-ask-password start {unit}")],
            "{shell:?}"
        );
        assert!(
            !units.join(&timer).exists() && !units.join(&question).exists(),
            "{shell:?}"
        );
        assert!(!host.slot().join("liveness").exists());
    }
}

#[test]
fn check_reports_missing_probe_tools() {
    let (host, release) = Host::with_release();
    host.fake("useradd", "");
    host.fake("systemctl", "");
    fs::create_dir(host.dir.path().join("units")).expect("directory");
    let launch = |liveness| StartSpec {
        driver: Driver::Systemd,
        liveness: Some(liveness),
        ..host.launch("a", &release)
    };
    let without = |script: Script| {
        let text = script.text.replace("command -v \"$tool\"", "false");
        assert_ne!(text, script.text);
        moved(&host, Script { text, ..script })
    };
    let refused = host.run(&without(start(&host.site, &launch(http("/")))));
    assert_eq!(
        refused.failure(),
        "the liveness probe needs one of these programs on this host: curl bash wget"
    );
    assert!(refused.reply().observation.slots.is_empty());
    let script = check(
        &host.site,
        &Needs {
            driver: Driver::Systemd,
            liveness: Some(&LivenessCheck::Tcp),
            ..Needs::NONE
        },
    );
    let (facts, _) = read_check(&host.run(&without(script)).stdout, now()).expect("facts");
    assert_eq!(
        facts.missing.last().map(String::as_str),
        Some("one of bash for the liveness probe")
    );
    let script = check(
        &host.site,
        &Needs {
            driver: Driver::Systemd,
            liveness: Some(&LivenessCheck::Tcp),
            ..Needs::NONE
        },
    );
    let (facts, _) = read_check(&host.run(&script).stdout, now()).expect("facts");
    assert!(
        facts
            .missing
            .iter()
            .all(|missing| !missing.contains("liveness")),
        "{facts:?}"
    );
}
