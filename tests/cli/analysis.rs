//! Analyses that judge a new version during its rollout.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::runtime::Runtime;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::project::LocalProject;
use ship_testing::namespace::write;

/// A service that tells how much goes wrong elsewhere.
struct Numbers {
    runtime: Runtime,
    server: MockServer,
}

impl Numbers {
    fn that_say(error_rate: f64) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let server = runtime.block_on(MockServer::start());
        let numbers = Self { runtime, server };
        numbers.set_error_rate(error_rate);
        numbers
    }

    /// Sets the error rate that the server returns.
    fn set_error_rate(&self, error_rate: f64) {
        let document = serde_json::json!({ "errors": { "rate": error_rate } });
        let answer =
            Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(document));
        self.runtime.block_on(async {
            self.server.reset().await;
            answer.mount(&self.server).await;
        });
    }

    fn url(&self) -> String {
        self.server.uri()
    }
}

/// A project with 0.8 deployed, and for what comes then an analysis of the numbers at a URL.
fn judged_by(url: &str, more: &str) -> LocalProject {
    let project = LocalProject::new();
    project.deploy("0.8");
    with_analysis(
        project,
        &format!(
            "kind = \"http\"\nurl = \"{url}\"\nvalue = \"$.errors.rate\"\nsuccess = \"< \
             1%\"\n{more}"
        ),
    )
}

fn with_analysis(project: LocalProject, lines: &str) -> LocalProject {
    let mut table = String::new();
    write!(
        table,
        "[[analysis]]\nname = \"errors\"\ninterval = \"100ms\"\n{lines}\n\n[rollout]\n"
    )
    .expect("memory");
    project.with("[rollout]\n", &table)
}

#[test]
fn failed_measurement_rolls_the_deploy_back() {
    let numbers = Numbers::that_say(0.048);
    let project = judged_by(&numbers.url(), "");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .stderr_lines(&[
            "node4:8081  ready     0.9 after [TOOK]: \"I am: [NET].14, the version is: 0.9\"",
            "analysis errors: failed: 4.8% is not < 1%",
            "0.9 failed an analysis: errors: 4.8% is not < 1%",
            "doing: analyzing 0.9",
            "next: rolling back to 0.8 (revision 1); 3 of 3 available",
            "page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1): 3 of 3 available \
             after [TOOK]",
            "reason: analysis errors: 4.8% is not < 1%",
            "hint: fix the problem and deploy again; see `ship report`",
        ])
        .status(3)
        .run();
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|instance| instance.ends_with(" 0.8"))
            .count(),
        3
    );
    assert_eq!(project.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
}

#[test]
fn dry_run_analysis_only_reports() {
    let numbers = Numbers::that_say(0.048);
    let project = judged_by(&numbers.url(), "dry_run = true");
    let output = project.deploy("0.9").stderr;
    assert!(
        output.contains("analysis errors (dry run): failed: 4.8% is not < 1%"),
        "{output}"
    );
    assert_eq!(project.history()[0], "2 0.9 succeeded");
    let again = project.deploy("0.9").stderr;
    assert!(again.contains("nothing to do"), "{again}");
}

#[test]
fn consecutive_measurement_errors_roll_the_deploy_back() {
    // Nothing listens there.
    let project = judged_by("http://127.0.0.1:1/", "consecutive_error_limit = 2");
    let args = ["deploy", "inventory.toml", "--version", "0.9"];
    let output = project.ship(&args).any_stderr().status(3).run().stderr;
    assert!(
        output.contains("(3 consecutive errors, limit 2)"),
        "{output}"
    );
    assert_eq!(project.history()[0], "2 0.9 rolled-back");
}

#[test]
fn analysis_runs_repeatedly_while_a_step_soaks() {
    let numbers = Numbers::that_say(0.001);
    let project = judged_by(&numbers.url(), "");
    let project = project.with(
        "[rollout]\n",
        "[rollout]\nsteps = [{ instances = 1, soak = \"1h\" }, \"100%\"]\n",
    );
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("step 1 of 2 reached: 1 new instance, soaking for 1h");
    numbers.set_error_rate(0.02);
    let output = deploy.wait_within(Duration::from_secs(30)).exits(3).stderr;
    assert!(
        output.contains("analysis errors: passed: 0.1% is < 1%"),
        "{output}"
    );
    assert!(
        output.contains("analysis errors: failed: 2% is not < 1%"),
        "{output}"
    );
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|instance| instance.ends_with(" 0.8"))
            .count(),
        3
    );
}

#[test]
fn step_waits_for_a_conclusive_measurement() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let number = project.path("number");
    let command = format!("sh -c 'cat {} || exit 2'", number.display());
    let lines = format!(
        "kind = \"command\"\ncommand = \"{command}\"\nsuccess = \"< 5\"\nconsecutive_error_limit = 1000000"
    );
    let project = with_analysis(project, &lines);
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("step 1 of 1 reached");
    deploy.await_words("analysis errors: error: exit status 2");
    assert_eq!(project.status()["state"], "running");
    write(&number, "4");
    let output = deploy.wait().exits(0).stderr;
    assert!(
        output.contains("analysis errors: passed: 4 is < 5"),
        "{output}"
    );
}

#[test]
fn comparison_of_equal_versions_passes() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let project = with_analysis(project, "kind = \"compare\"\non_inconclusive = \"hold\"")
        .with("[rollout]\n", "[rollout]\nsteps = [1, \"100%\"]\n");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("analysis errors: passed: 0.0 % of ");
    deploy.await_words("step 1 of 2 passed");
    let status = project.status();
    drop(deploy);
    assert_eq!(status["state"], "running", "{status:#}");
}
