//! The number of statements to `PostgreSQL`.

use crate::server::StateServer;
use crate::team::Team;
use ship_testing::namespace::until;
use ship_testing::postgres_server::PostgresServer;

/// The statements that the server executes while `action` runs.
fn statements(server: &PostgresServer, action: impl FnOnce()) -> Vec<String> {
    let marker = |name: &str| {
        let text = format!("select '{name}' as marker");
        server.sql("state", &text);
        until("the log", crate::team::DEADLINE, || {
            server.log_text().contains(&text).then_some(())
        });
        text
    };
    let nonce = server.log_text().len();
    let begin = marker(&format!("begin {nonce}"));
    action();
    let end = marker(&format!("end {nonce}"));
    let log = server.log_text();
    let (_, log) = log.split_once(&begin).expect("a marker");
    let (log, _) = log.split_once(&end).expect("a marker");
    let statement = |line: &str| {
        let (_, text) = line.split_once("LOG:  ")?;
        let text = text
            .strip_prefix("execute ")
            .or(text.strip_prefix("statement: "))?;
        (!text.contains(" as marker") && !text.is_empty()).then(|| text.to_owned())
    };
    log.lines().filter_map(statement).collect()
}

#[test]
fn status_and_deploy_need_few_statements() {
    const STATUS_MAX: usize = 4;
    const COMMITS_MAX: usize = 60;
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server);
    let a = team.checkout("a");
    a.deploy("0.8");
    let server = team.server.as_postgres();
    server.sql("state", "alter system set log_statement = 'all'");
    server.sql("state", "select pg_reload_conf()");
    until("the setting", crate::team::DEADLINE, || {
        (server.sql("state", "show log_statement") == "all").then_some(())
    });
    let status = statements(server, || drop(a.run("status", &[])));
    println!("ship status: {status:#?}");
    // The version of the schema is read while the connection is set up.
    let is_setup = |text: &&String| text.contains("schema_version");
    let read = status.len() - status.iter().filter(is_setup).count();
    assert!((1..=STATUS_MAX).contains(&read), "{status:#?}");

    let deploy = statements(server, || drop(a.deploy("0.9")));
    let commits: Vec<_> = deploy
        .iter()
        .filter(|text| text.contains(".commit("))
        .collect();
    println!(
        "a deploy to 3 of 4 hosts: {} statements, {} commits",
        deploy.len(),
        commits.len()
    );
    assert!(
        (5..=COMMITS_MAX).contains(&commits.len()),
        "{}",
        commits.len()
    );
}
