//! A `PostgreSQL` role that may only read.

use crate::server::StateServer;
use crate::team::Team;

#[test]
fn read_only_role_reads_and_cannot_deploy() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server);
    let a = team.checkout("a");
    a.deploy("0.8");
    a.deploy("0.9");
    let server = team.server.as_postgres();
    server.sql("state", "create role reader login password 'reader'");
    server.sql(
        "state",
        "grant usage on schema ship to reader; grant select on all tables in schema ship to reader",
    );
    let url = server.url_of("reader", Some("reader"), "state");
    let reader = |name: &str| team.checkout_elsewhere(name).with_url(&url);
    let status = reader("status").json("status", &[]);
    assert_eq!(status["instances"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        reader("history").json("history", &[]),
        a.json("history", &[])
    );
    reader("revision").run("history", &["--revision", "1"]);
    let report = reader("report");
    report.run("report", &["--output-file", "rollout.html"]);
    assert!(report.path("rollout.html").exists());
    reader("logs").run("logs", &[]).prints(&["page 0.9 starts"]);
    reader("log")
        .run("logs", &["--rollout", "last"])
        .prints(&["3 of 3 available"]);
    reader("plan").run("plan", &["--version", "0.8"]);
    reader("show")
        .run("state show", &[])
        .prints(&["2 revisions"]);

    let before = team.instances();
    for (verb, arguments) in [
        ("deploy", &["--version", "0.8"][..]),
        ("rollback", &[]),
        ("freeze", &[]),
        ("scale", &["--replicas", "4"]),
    ] {
        let done = reader(&format!("write-{verb}")).ship(verb, arguments);
        println!("{verb}: {}", done.stderr);
        done.exits(2).prints(&[
            "permission denied",
            "hint: have the owner of the schema run `grant",
        ]);
    }
    assert_eq!(team.instances(), before);
    assert_eq!(a.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}
