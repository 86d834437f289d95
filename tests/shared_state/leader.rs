//! etcd loses its leader several times during one rollout.

use crate::journal;
use crate::server::StateServer;
use crate::team::{DEADLINE, Team};
use ship_testing::namespace::until;

#[test]
fn rollout_succeeds_although_the_leader_is_killed_three_times() {
    let Some(server) = StateServer::etcd() else {
        return;
    };
    let mut team = Team::new(server).with("[rollout]\n", "[rollout]\nmin_ready = \"3s\"\n");
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    for round in 1..=3 {
        until("one more instance", DEADLINE * 3, || {
            let ready = deploy.stderr_so_far().matches("  ready     0.9").count();
            (ready >= round).then_some(())
        });
        assert!(!deploy.has_ended());
        let cluster = team.server.as_etcd();
        let leader = cluster.leader();
        cluster.kill(leader);
        assert_ne!(cluster.leader(), leader);
        cluster.restart(leader);
    }
    let done = deploy.wait().exits(0);
    team.await_answers(&["node1 0.9", "node2 0.9", "node4 0.9"]);
    let stored = journal::stored(&team.server, 2);
    journal::assert_printed(&done.stdout, &stored);
    for (event, count) in [
        ("rollout_started", 1),
        ("instance_ready", 3),
        ("rollout_finished", 1),
    ] {
        assert_eq!(journal::named(&stored, event).len(), count, "{event}");
    }
    let b = team.checkout_elsewhere("b");
    b.run("report", &["--output-file", "rollout.html"]);
    assert_eq!(b.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}
