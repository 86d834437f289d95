//! nginx.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use ship::core::fleet::traffic::{BalancerState, Server, SlotAdmission};
use ship::core::ids::{ActionId, Epoch, Slot};
use ship::script::{
    Nginx, Script, ScriptEnd, SlotAddress, SlotSwitch, observe_nginx, read_balancer_report,
    switch_nginx,
};

use crate::host::{Host, Shell, shells, wait_for};
use ship_testing::keepalive::{Client, ClientPool, Page, get};
use ship_testing::namespace;

const PROGRAMS: [(&str, &str); 1] = [("nginx", "nginx-light")];
const OPEN: SlotSwitch = SlotSwitch::Open {
    weight_percent: None,
};
/// Where nginx answers.
const FRONT: &str = "127.0.0.1:8080";

/// A balancer's machine on which nginx runs, and three slots behind it. nginx ends with the test's
/// world.
struct Balancer {
    host: Host,
    nginx: Nginx,
    slots: Vec<SlotAddress>,
}

impl Balancer {
    /// With servers that another user has written into the file.
    fn with(shell: Shell, servers: &str) -> Self {
        let host = Host::with(shell);
        let dir = host.dir.path();
        let include = dir.join("servers.conf");
        fs::write(&include, servers).expect("file");
        let conf = dir.join("nginx.conf");
        let text = format!(
            "user root; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n access_log off; keepalive_requests 1000000; client_body_temp_path \
             {dir}/body;\n\
             upstream page {{ include {dir}/servers.conf; keepalive 32; }}\n\
             server {{ listen {FRONT}; location / {{ proxy_pass http://page; proxy_http_version \
             1.1;\n\
             proxy_set_header Connection ''; }} }}\n}}\n",
            dir = dir.display()
        );
        fs::write(&conf, text).expect("file");
        let words = |more: &[&str]| {
            ["nginx", "-c", conf.to_str().expect("path")]
                .iter()
                .chain(more)
                .map(|word| (*word).to_owned())
                .collect()
        };
        let nginx = Nginx {
            include: include.to_str().expect("path").into(),
            upstream: "page".into(),
            test: words(&["-t"]),
            reload: words(&["-s", "reload"]),
        };
        let slots = [
            ("web1", "127.0.0.1", 8081),
            ("web2", "127.0.0.2", 8081),
            ("web3", "localhost", 8082),
        ];
        let slots = slots.map(|(host, address, port)| SlotAddress {
            slot: Slot::new(host, port),
            address: address.into(),
            port,
        });
        let balancer = Self {
            host,
            nginx,
            slots: slots.to_vec(),
        };
        balancer.run_nginx(&[]);
        balancer
    }

    fn run_nginx(&self, more: &[&str]) {
        let conf = self.host.dir.path().join("nginx.conf");
        let output = Command::new("nginx")
            .arg("-c")
            .arg(conf)
            .args(more)
            .output()
            .expect("nginx");
        assert!(output.status.success(), "{output:?}");
    }

    fn switch(&self, slot: usize, turn: SlotSwitch) -> Script {
        switch_nginx(
            &self.host.site,
            &self.nginx,
            &self.slots,
            &self.slots[slot],
            turn,
        )
    }

    fn run(&self, script: &Script) -> (ScriptEnd, BalancerState) {
        let ran = self.host.run(script);
        assert_eq!(ran.stderr, "");
        read_balancer_report(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    }

    fn turn(&self, slot: usize, turn: SlotSwitch) -> BalancerState {
        let (end, view) = self.run(&self.switch(slot, turn));
        assert_eq!(end, ScriptEnd::Done);
        view
    }

    fn look(&self) -> BalancerState {
        let (end, view) = self.run(&observe_nginx(&self.host.site, &self.nginx, &self.slots));
        assert_eq!(end, ScriptEnd::Done);
        view
    }

    /// What the file holds, without its first line.
    fn servers(&self) -> String {
        let text = fs::read_to_string(&self.nginx.include).expect("file");
        text.split_once('\n').expect("lines").1.to_owned()
    }

    fn server(&self, view: &BalancerState, slot: usize) -> Server {
        view.servers[&self.slots[slot].slot]
    }

    /// What lies beside the file.
    fn leftovers(&self) -> Vec<PathBuf> {
        let dir = Path::new(&self.nginx.include).parent().expect("directory");
        let names = ["servers.conf.old", "servers.conf.new"].map(|name| dir.join(name));
        names
            .into_iter()
            .chain([self.host.root().join("unloaded")])
            .filter(|path| path.exists())
            .collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.run_nginx(&["-s", "stop"]);
            let pid = self.host.dir.path().join("nginx.pid");
            wait_for("the end of nginx", || !pid.exists());
        }
    }
}

#[test]
fn requests_reach_only_open_servers() {
    namespace::with_programs(&PROGRAMS, || {
        let _pages = [
            Page::serve("one", &["127.0.0.1:8081"]),
            Page::serve("two", &["127.0.0.2:8081"]),
        ];
        for shell in shells() {
            let balancer = Balancer::with(shell, "server 127.0.0.1:8081;\n");
            let view = balancer.look();
            assert_eq!(
                (
                    balancer.server(&view, 0).admission,
                    view.servers.len(),
                    view.epoch
                ),
                (SlotAdmission::Open, 1, None)
            );
            assert_eq!(get(FRONT).expect("an answer"), "one");

            let crowd = ClientPool::start(20, FRONT);
            let view = balancer.turn(1, OPEN);
            assert_eq!(
                (balancer.server(&view, 1).admission, view.epoch),
                (SlotAdmission::Open, Some(Epoch(7)))
            );
            let view = balancer.turn(0, SlotSwitch::Close);
            assert_eq!(balancer.server(&view, 0).admission, SlotAdmission::Closed);
            wait_for("the last request to the closed slot", || {
                let view = balancer.look();
                balancer.server(&view, 0).in_flight == 0
            });
            let after = ClientPool::start(4, FRONT);
            wait_for("answers", || get(FRONT).is_ok());
            let after = after.end();
            assert!(!after.answers.contains_key("one"), "{shell:?}: {after:?}");
            let asked = crowd.end();
            let answered: usize = asked.answers.values().sum();
            // A reload closes idle connections: a client that sends a request at that very
            // moment gets no answer.
            println!(
                "{shell:?}: {answered} answered, {} lost by 20 clients in 2 reloads",
                asked.lost.len()
            );
            assert!(
                asked.answers.contains_key("one") && asked.answers.contains_key("two"),
                "{asked:?}"
            );
            assert!(
                asked.lost.len() <= 40,
                "not more than one for each client and reload"
            );
            assert!(
                !asked.answers.contains_key("502"),
                "no request found its page gone: {asked:?}"
            );
            assert_eq!(
                balancer.servers(),
                "server 127.0.0.1:8081 weight=100 down; # ship 7 1\nserver 127.0.0.2:8081 \
                 weight=100; # ship 7 1\n"
            );
            assert_eq!(balancer.leftovers(), Vec::<PathBuf>::new());
        }
    });
}

#[test]
fn nginx_restores_a_rejected_configuration() {
    namespace::with_programs(&PROGRAMS, || {
        let _page = Page::serve("one", &["127.0.0.1:8081"]);
        for shell in shells() {
            let before = "server 127.0.0.1:8081  max_fails=2; # mine\n\n\tkeepalive_timeout 60s;\n";
            let mut balancer = Balancer::with(shell, before);
            balancer.slots[1].address = "no.such.host.invalid".into();
            let (end, view) = balancer.run(&balancer.switch(1, OPEN));
            let ScriptEnd::Failed(why) = end else {
                panic!("{end:?}")
            };
            assert!(
                why.starts_with("nginx rejects its configuration, and ")
                    && why.contains(" was restored: "),
                "{why}"
            );
            assert!(
                why.contains("host not found in upstream \"no.such.host.invalid:8081\""),
                "{why}"
            );
            assert_eq!(
                (view.servers.len(), balancer.server(&view, 0).admission),
                (1, SlotAdmission::Open)
            );
            assert_eq!(
                fs::read_to_string(&balancer.nginx.include).expect("file"),
                before
            );
            assert_eq!(balancer.leftovers(), Vec::<PathBuf>::new());

            balancer.nginx.reload = ["sh", "-c", "echo 'no such signal'; exit 3"]
                .map(String::from)
                .to_vec();
            let (end, _) = balancer.run(&balancer.switch(0, SlotSwitch::Close));
            let ScriptEnd::Failed(why) = end else {
                panic!("{end:?}")
            };
            assert!(
                why.starts_with("cannot reload nginx") && why.ends_with(": no such signal"),
                "{why}"
            );
            assert_eq!(
                fs::read_to_string(&balancer.nginx.include).expect("file"),
                before
            );
            assert_eq!(get(FRONT).expect("an answer"), "one", "{shell:?}");
            assert_eq!(balancer.leftovers(), Vec::<PathBuf>::new());
        }
    });
}

#[test]
fn nginx_reload_without_new_workers_fails() {
    namespace::with_programs(&PROGRAMS, || {
        let mut balancer = Balancer::with(Shell::Sh, "server 127.0.0.1:8081;\n");
        balancer.nginx.reload = vec!["true".into()];
        let (end, _) = balancer.run(&balancer.switch(0, SlotSwitch::Close));
        let ScriptEnd::Failed(why) = end else {
            panic!("{end:?}")
        };
        assert!(
            why.starts_with("nginx was reloaded, but has no new workers after 10 s, and "),
            "{why}"
        );
        assert_eq!(
            fs::read_to_string(&balancer.nginx.include).expect("file"),
            "server 127.0.0.1:8081;\n"
        );
        assert_eq!(balancer.leftovers(), Vec::<PathBuf>::new());
    });
}

#[test]
fn nginx_counts_and_closes_pending_requests() {
    namespace::with_programs(&PROGRAMS, || {
        let (one, two) = (
            Page::serve("one", &["127.0.0.1:8081"]),
            Page::serve("two", &["127.0.0.2:8081"]),
        );
        for (n, shell) in shells().into_iter().enumerate() {
            let balancer = Balancer::with(shell, "server 127.0.0.1:8081;\n");
            let ask_long = || {
                thread::spawn(|| Client::connect(FRONT).and_then(|mut client| client.get("/long")))
            };
            let cut = ask_long();
            wait_for("the long question", || one.long_requests() == n + 1);
            balancer.turn(1, OPEN);
            balancer.turn(0, SlotSwitch::Close);
            let kept = ask_long();
            wait_for("the other long question", || two.long_requests() == n + 1);
            let view = balancer.look();
            assert_eq!(
                balancer.server(&view, 0),
                Server {
                    weight_percent: Some(100),
                    in_flight: 1,
                    ..Server::default()
                }
            );
            assert_eq!(balancer.server(&view, 1).in_flight, 1);

            balancer.turn(0, SlotSwitch::Cut);
            cut.join().expect("a client").expect_err("cut");
            wait_for("the end of the connection", || {
                let view = balancer.look();
                balancer.server(&view, 0).in_flight == 0
            });
            let view = balancer.look();
            assert_eq!(
                balancer.server(&view, 1).in_flight,
                1,
                "the other slot keeps what it has"
            );
            drop(kept);
        }
        one.answer_long_requests();
        two.answer_long_requests();
    });
}

#[test]
fn nginx_keeps_foreign_statements_and_a_valid_file() {
    namespace::with_programs(&PROGRAMS, || {
        let _page = Page::serve("two", &["127.0.0.2:8081"]);
        for shell in shells() {
            let balancer = Balancer::with(
                shell,
                "# by hand\nleast_conn; server 127.0.0.9:9 down; # spare\nserver 127.0.0.1:8081 \
                 max_fails=3 weight=5;\n",
            );
            let view = balancer.turn(
                1,
                SlotSwitch::Open {
                    weight_percent: Some(10),
                },
            );
            assert_eq!(balancer.server(&view, 0).weight_percent, Some(5));
            assert_eq!(balancer.server(&view, 1).weight_percent, Some(10));
            balancer.turn(2, SlotSwitch::Close);
            balancer.turn(0, SlotSwitch::Close);
            let view = balancer.turn(1, SlotSwitch::Close);
            assert!(
                view.servers
                    .values()
                    .all(|server| server.admission == SlotAdmission::Closed)
            );
            assert_eq!(get(FRONT).expect("an answer"), "502");
            assert_eq!(
                balancer.servers(),
                "# by hand\nleast_conn;\nserver 127.0.0.9:9 down; # spare\n\
                 server 127.0.0.1:8081 weight=5 max_fails=3 down; # ship 7 1\n\
                 server 127.0.0.2:8081 weight=10 down; # ship 7 1\nserver localhost:8082 \
                 weight=100 down; # ship 7 1\n"
            );
            balancer.turn(1, OPEN);
            assert_eq!(get(FRONT).expect("an answer"), "two");
        }
    });
}

#[test]
fn nginx_rejects_late_actions_and_older_epochs() {
    namespace::with_programs(&PROGRAMS, || {
        for shell in shells() {
            let mut balancer = Balancer::with(shell, "server 127.0.0.9:9 down;\n");
            balancer.host.site.order = ActionId(5);
            balancer.turn(0, OPEN);
            balancer.host.site.order = ActionId(4);
            balancer.turn(1, OPEN);
            let before = balancer.servers();
            for turn in [OPEN, SlotSwitch::Close, SlotSwitch::Cut] {
                assert_eq!(
                    balancer.run(&balancer.switch(0, turn)).0,
                    ScriptEnd::Late { taken: ActionId(5) }
                );
                balancer.host.site.epoch = Epoch(6);
                assert_eq!(
                    balancer.run(&balancer.switch(1, turn)).0,
                    ScriptEnd::Fenced { seen: Epoch(7) }
                );
                balancer.host.site.epoch = Epoch(7);
            }
            assert_eq!(balancer.servers(), before, "{shell:?}");
            (balancer.host.site.epoch, balancer.host.site.order) = (Epoch(8), ActionId(1));
            let view = balancer.turn(0, SlotSwitch::Close);
            assert_eq!(
                (view.epoch, balancer.server(&view, 0).admission),
                (Some(Epoch(8)), SlotAdmission::Closed)
            );
        }
    });
}

#[test]
fn requests_to_an_unknown_name_are_not_counted_as_zero() {
    namespace::with_programs(&PROGRAMS, || {
        let mut balancer = Balancer::with(Shell::Sh, "server 127.0.0.9:9 down;\n");
        balancer.slots[0].address = "no.such.host.invalid".into();
        fs::write(
            &balancer.nginx.include,
            "server no.such.host.invalid:8081 down;\n",
        )
        .expect("file");
        let ran = balancer.host.run(&observe_nginx(
            &balancer.host.site,
            &balancer.nginx,
            &balancer.slots,
        ));
        // It takes no signal with that.
        fs::write(&balancer.nginx.include, "server 127.0.0.9:9 down;\n").expect("file");
        let error = read_balancer_report(&ran.stdout)
            .expect_err("unseen")
            .to_string();
        let why = "this machine cannot resolve no.such.host.invalid";
        assert_eq!(
            error,
            format!("the host cannot determine what is running: {why}")
        );
    });
}

#[test]
fn nginx_reports_unconfirmed_changes_as_open() {
    namespace::with_programs(&PROGRAMS, || {
        for shell in shells() {
            let balancer = Balancer::with(shell, "server 127.0.0.1:8081;\n");
            balancer.turn(0, OPEN);
            // As after a machine that went down between the two steps.
            fs::copy(
                &balancer.nginx.include,
                balancer.host.root().join("unloaded"),
            )
            .expect("file");
            fs::write(&balancer.nginx.include, "server 127.0.0.1:8081 down;\n").expect("file");
            let view = balancer.look();
            assert_eq!(
                balancer.server(&view, 0).admission,
                SlotAdmission::Open,
                "{shell:?}"
            );
            let view = balancer.turn(0, SlotSwitch::Close);
            assert_eq!(
                balancer.server(&view, 0).admission,
                SlotAdmission::Closed,
                "{shell:?}"
            );
            assert_eq!(balancer.leftovers(), Vec::<PathBuf>::new());
        }
    });
}
