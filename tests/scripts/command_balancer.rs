//! A balancer that the user's own commands control.

use std::fs;

use ship::core::fleet::traffic::{BalancerState, Server, SlotAdmission};
use ship::core::ids::{ActionId, Epoch, Slot};
use ship::script::{
    BalancerCommands, Script, ScriptEnd, SlotSwitch, observe_command_balancer,
    read_balancer_report, switch_command_balancer,
};

use crate::host::{Host, Shell, shells};

const OPEN: SlotSwitch = SlotSwitch::Open {
    weight_percent: None,
};

/// A balancer of two slots. It records each command, and the open requests of each slot are in a file.
struct Balancer {
    host: Host,
    all: [BalancerCommands; 2],
}

impl Balancer {
    fn with(shell: Shell) -> Self {
        let host = Host::with(shell);
        let dir = host.dir.path().display().to_string();
        let note = |word: &str, port: u16| {
            // A quote and a blank in a word are the user's.
            vec![
                "sh".into(),
                "-c".into(),
                format!("echo \"it's\"  {word} {port} >>{dir}/reported; cat {dir}/{word}-{port}"),
            ]
        };
        let all = [8081, 8082].map(|port| BalancerCommands {
            slot: Slot::new("web1", port),
            admit: note("admit", port),
            drain: note("drain", port),
            remaining: vec!["cat".into(), format!("{dir}/left-{port}")],
            cut: note("cut", port),
        });
        let balancer = Self { host, all };
        for port in [8081, 8082] {
            for word in ["admit", "drain", "cut"] {
                balancer.write(&format!("{word}-{port}"), "");
            }
            balancer.write(&format!("left-{port}"), "2\n");
        }
        balancer
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.host.dir.path().join(name), text).expect("our own file");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.host.dir.path().join(name)).expect("our own file");
    }

    fn reported(&self) -> String {
        fs::read_to_string(self.host.dir.path().join("reported"))
            .unwrap_or_default()
            .replace("it's ", "")
    }

    fn run(&self, script: &Script) -> (ScriptEnd, BalancerState) {
        let ran = self.host.run(script);
        assert_eq!(ran.stderr, "");
        read_balancer_report(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    }

    fn turn(&self, number: usize, turn: SlotSwitch) -> (ScriptEnd, BalancerState) {
        self.run(&switch_command_balancer(
            &self.host.site,
            &self.all,
            &self.all[number],
            turn,
        ))
    }

    fn look(&self) -> BalancerState {
        let (end, view) = self.run(&observe_command_balancer(&self.host.site, &self.all));
        assert_eq!(end, ScriptEnd::Done);
        view
    }

    fn server(&self, view: &BalancerState, number: usize) -> Server {
        view.servers[&self.all[number].slot]
    }
}

#[test]
fn command_balancer_reports_the_last_change_and_the_remaining_requests() {
    for shell in shells() {
        let balancer = Balancer::with(shell);
        assert_eq!(balancer.look(), BalancerState::default(), "{shell:?}");
        let (end, view) = balancer.turn(0, OPEN);
        assert_eq!(
            (end, balancer.server(&view, 0)),
            (
                ScriptEnd::Done,
                Server {
                    admission: SlotAdmission::Open,
                    ..Server::default()
                }
            )
        );
        assert_eq!(
            (view.servers.len(), view.epoch),
            (1, Some(balancer.host.site.epoch))
        );
        let (end, view) = balancer.turn(0, SlotSwitch::Close);
        let closed = Server {
            in_flight: 2,
            ..Server::default()
        };
        assert_eq!((end, balancer.server(&view, 0)), (ScriptEnd::Done, closed));
        balancer.write("left-8081", "0\n");
        let (end, view) = balancer.turn(0, SlotSwitch::Cut);
        assert_eq!(
            (end, balancer.server(&view, 0)),
            (ScriptEnd::Done, Server::default())
        );
        assert_eq!(
            balancer.reported(),
            "admit 8081\ndrain 8081\ncut 8081\n",
            "{shell:?}"
        );
        assert_eq!(balancer.look(), view);
    }
}

#[test]
fn command_balancer_does_not_count_requests_of_an_earlier_epoch() {
    for shell in shells() {
        let mut balancer = Balancer::with(shell);
        balancer.turn(0, SlotSwitch::Close);
        balancer.remove("left-8081");
        balancer.host.site.epoch = Epoch(8);
        let (end, view) = balancer.turn(1, OPEN);
        assert_eq!(
            (end, balancer.server(&view, 0)),
            (ScriptEnd::Done, Server::default()),
            "{shell:?}"
        );
    }
}

#[test]
fn command_balancer_drains_after_a_failed_admit_and_repeats_an_interrupted_one() {
    for shell in shells() {
        let balancer = Balancer::with(shell);
        balancer.remove("admit-8081");
        let (end, view) = balancer.turn(0, OPEN);
        assert!(
            matches!(&end, ScriptEnd::Failed(why) if why.contains("No such file")),
            "{shell:?} {end:?}"
        );
        assert_eq!(balancer.server(&view, 0).admission, SlotAdmission::Closed);
        assert_eq!(balancer.reported(), "admit 8081\ndrain 8081\n");

        balancer.remove("drain-8081");
        let (end, view) = balancer.turn(0, OPEN);
        assert!(matches!(end, ScriptEnd::Failed(_)));
        let half = Server {
            admission: SlotAdmission::Open,
            weight_percent: Some(0),
            ..Server::default()
        };
        assert_eq!(
            balancer.server(&view, 0),
            half,
            "the state is unknown: it may receive requests, but does not count as serving"
        );
        let (end, view) = balancer.turn(0, SlotSwitch::Close);
        assert!(matches!(end, ScriptEnd::Failed(_)));
        assert_eq!(balancer.server(&view, 0), half);
        balancer.write("admit-8081", "");
        let (end, view) = balancer.turn(0, OPEN);
        assert_eq!(
            (end, balancer.server(&view, 0).weight_percent),
            (ScriptEnd::Done, None)
        );
    }
}

#[test]
fn command_balancer_rejects_older_epochs_and_late_actions() {
    for shell in shells() {
        let mut balancer = Balancer::with(shell);
        let epoch = balancer.host.site.epoch;
        balancer.host.site.order = ActionId(9);
        assert_eq!(balancer.turn(0, OPEN).0, ScriptEnd::Done);
        balancer.host.site.order = ActionId(5);
        assert_eq!(
            balancer.turn(1, OPEN).0,
            ScriptEnd::Done,
            "orders for different slots come in any order"
        );
        assert_eq!(
            balancer.turn(0, SlotSwitch::Close).0,
            ScriptEnd::Late { taken: ActionId(9) },
            "{shell:?}"
        );
        balancer.host.site.epoch = Epoch(epoch.0 - 1);
        balancer.host.site.order = ActionId(10);
        assert_eq!(
            balancer.turn(0, SlotSwitch::Close).0,
            ScriptEnd::Fenced { seen: epoch }
        );
        assert_eq!(balancer.reported(), "admit 8081\nadmit 8082\n");
        assert_eq!(
            balancer.server(&balancer.look(), 0).admission,
            SlotAdmission::Open
        );
    }
}

#[test]
fn command_balancer_reports_a_count_that_is_not_a_number() {
    for shell in shells() {
        let balancer = Balancer::with(shell);
        balancer.write("left-8081", "a\nfew\n");
        let ran = balancer.host.run(&switch_command_balancer(
            &balancer.host.site,
            &balancer.all,
            &balancer.all[0],
            SlotSwitch::Close,
        ));
        let why = read_balancer_report(&ran.stdout)
            .expect_err("the remaining requests are unknown")
            .to_string();
        assert!(
            why.contains("for web1:8081 did not print a number")
                && why.contains("a few (status 0)"),
            "{why}"
        );
    }
}
