//! `ship state show` and `ship state move`.

use serde_json::Value;

use crate::checkout::Checkout;
use crate::server::StateServer;
use crate::team::Team;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::write;

/// Writes the inventory of a checkout: with the state at this URL, or in its state directory.
fn use_state(team: &Team, checkout: &Checkout, url: Option<&str>) {
    let state = url.map(|url| format!("\n[state]\nurl = \"{url}\"\n"));
    let inventory = format!("{}{}", team.inventory(), state.unwrap_or_default());
    write(&checkout.path("inventory.toml"), &inventory);
}

/// `ship state move DESTINATION inventory.toml`.
fn arguments(destination: &str) -> [&str; 2] {
    [destination, "inventory.toml"]
}

#[test]
fn state_moves_between_all_databases_unchanged() {
    let (Some(server), Some(StateServer::Etcd(etcd))) =
        (StateServer::postgres(), StateServer::etcd())
    else {
        return;
    };
    let team = Team::new(server);
    let a = team.checkout("a");
    use_state(&team, &a, None);
    a.deploy("0.8");
    a.run("deploy", &["--version", "0.9", "--reason", "ticket 4711"]);
    a.run("scale", &["--replicas", "4"]);
    a.run("freeze", &["--reason", "the sale"]);
    let history = a.json("history", &[]);
    let show = a.json("state show", &[]);
    assert!(
        show["location"]
            .as_str()
            .is_some_and(|at| at.ends_with("/.ship/ship.db")),
        "{show}"
    );

    let postgres = team.server.as_postgres().socket_url("postgres");
    let etcd_url = etcd.url();
    let places = [None, Some(postgres.as_str()), Some(etcd_url.as_str()), None];
    for pair in places.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let done = a
            .bare("state move", &arguments(to.unwrap_or("local")))
            .exits(0);
        println!("{}", done.stdout);
        done.prints(&["moved 1 service, 3 revisions, 3 rollouts"]);
        // The old place says where the state is now.
        for (verb, more) in [("history", &[][..]), ("deploy", &["--version", "0.8"])] {
            let done = a
                .ship(verb, more)
                .exits(2)
                .prints(&["the state was moved to ", "hint: "]);
            println!(
                "{} -> {}: {}",
                from.unwrap_or("local"),
                to.unwrap_or("local"),
                done.stderr
            );
            if let Some(to) = to {
                assert!(done.stderr.contains(to), "{}", done.stderr);
            } else {
                assert!(done.stderr.contains("remove `[state]`"), "{}", done.stderr);
            }
        }
        use_state(&team, &a, to);
        assert_eq!(a.json("history", &[]), history);
        check_show(&a, to, &show);
    }
    a.run("thaw", &[]);
    a.deploy("0.8");
    assert_eq!(
        a.history(),
        [
            "4 0.8 succeeded",
            "3 0.9 succeeded",
            "2 0.9 succeeded",
            "1 0.8 succeeded"
        ]
    );
}

/// Checks both forms of `ship state show`.
#[track_caller]
fn check_show(checkout: &Checkout, url: Option<&str>, before: &Value) {
    let show = checkout.json("state show", &[]);
    for count in ["services", "revisions", "rollouts", "locks"] {
        assert_eq!(show[count], before[count], "{show}");
    }
    assert!(
        show["size_bytes"].as_u64().is_some_and(|size| size > 0),
        "{show}"
    );
    assert!(show["since"].is_u64(), "{show}");
    let text = checkout.run("state show", &[]);
    println!("{}", text.stdout);
    text.prints(&[
        "1 service, 3 revisions, 3 rollouts",
        "locked     no",
        "since ",
        "size ",
    ]);
    let scheme = url
        .and_then(|url| url.split_once("://"))
        .map(|(scheme, _)| scheme);
    let location = show["location"].as_str().expect("a location");
    assert_eq!(location.split_once("://").map(|(scheme, _)| scheme), scheme);
}

/// A checkout that has only used the shared state knows inventories, and has no other state.
#[test]
fn state_moves_to_a_checkout_that_has_only_used_the_shared_state() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server);
    team.checkout("a").deploy("0.8");
    let b = team.checkout("b");
    b.deploy("0.9");
    let history = b.history();
    b.bare("state move", &arguments("local"))
        .exits(0)
        .prints(&["moved 1 service, 2 revisions", "next: remove `[state]`"]);
    // The inventory still names the old place.
    for destination in ["local", "etcd://127.0.0.1:1/other"] {
        b.bare("state move", &arguments(destination))
            .exits(2)
            .prints(&["the state was moved to "]);
    }
    use_state(&team, &b, None);
    assert_eq!(b.history(), history);
    b.bare("status", &[]).exits(0);
}

fn check_refusals(server: Option<StateServer>) {
    let Some(server) = server else {
        return;
    };
    let team = Team::new(server);
    team.release("0.9", Behaviour::Gated);
    let a = team.checkout("a");
    a.deploy("0.8");
    let mut deploy = a.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    let b = team.checkout_elsewhere("b");
    let lock = format!("locked by tester@{}", a.host());
    let shown = format!("service `page` on fleet `shared` by tester@{}", a.host());
    b.run("state show", &[]).prints(&[&shown]);
    let held = b.json("state show", &[]);
    assert_eq!(held["locks"][0]["command"], "deploy 0.9", "{held}");
    b.bare("state move", &arguments("local"))
        .exits(6)
        .prints(&[&lock]);
    team.open_gate();
    deploy.wait().exits(0);
    assert_eq!(b.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);

    // A checkout with a history of its own. The URL contains no password, because arguments are
    // visible to others.
    let c = team.checkout("c");
    use_state(&team, &c, None);
    c.run("freeze", &["--reason", "its own"]);
    let url = match &team.server {
        StateServer::Postgres(server) => server.socket_url("postgres"),
        StateServer::Etcd(cluster) => cluster.url(),
    };
    c.bare("state move", &arguments(&url))
        .exits(2)
        .prints(&["it already contains state", "hint: "]);
    c.ship("deploy", &["--version", "0.8"])
        .exits(6)
        .prints(&["its own"]);
    assert_eq!(b.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    let secret = "postgres://anna:secret-url@127.0.0.1/state";
    let done = c.bare("state move", &arguments(secret)).exits(2);
    assert!(!done.stderr.contains("secret-url"), "{}", done.stderr);
}

#[test]
fn state_is_not_moved_under_a_deploy_or_onto_other_state_with_postgres() {
    check_refusals(StateServer::postgres());
}

#[test]
fn state_is_not_moved_under_a_deploy_or_onto_other_state_with_etcd() {
    check_refusals(StateServer::etcd());
}
