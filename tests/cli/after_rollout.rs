//! Notifications and metrics after a run, and that a failed delivery changes nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use snapbox::{assert_data_eq, str};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::call::json;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::write;

const PASSWORD: &str = "s3cret-of-the-page";

/// A project of one host that has deployed 0.8, and then tells in this way.
fn notifying_by(notify: &str) -> LocalProject {
    let project = LocalProject::small();
    project.deploy("0.8");
    project.with("[rollout]\n", &format!("{notify}\n[rollout]\n"))
}

fn program(path: &Path, text: &str) {
    write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

/// What a server that takes everything was sent.
async fn posted(server: &MockServer) -> Value {
    let requests = server.received_requests().await.expect("they are recorded");
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].headers["content-type"], "application/json");
    serde_json::from_slice(&requests[0].body).expect("JSON")
}

async fn server() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/hook/t0ken-of-the-hook"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    server
}

fn hook(server: &MockServer) -> String {
    format!("{}/hook/t0ken-of-the-hook", server.uri())
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_receives_a_failure_as_json() {
    let server = server().await;
    let project = notifying_by("[notify.webhook]\nurl_env = \"HOOK\"\n");
    project.release("0.9", Behaviour::Exits);
    let args = [
        "deploy",
        "--version",
        "0.9",
        "--reason",
        "the night's build",
    ];
    project
        .ship(&args)
        .env("HOOK", hook(&server))
        .any_stderr()
        .status(3)
        .run();
    let reported = posted(&server).await;
    assert_eq!(
        [
            &reported["occasion"],
            &reported["outcome"],
            &reported["service"],
            &reported["fleet"],
            &reported["verb"],
            &reported["version"]
        ],
        ["failure", "rolled-back", "page", "local", "deploy", "0.9"]
    );
    assert_eq!(
        [
            &reported["previous_version"],
            &reported["who"].as_str().map(|who| &who[..7]).into()
        ],
        ["0.8", "tester@"]
    );
    assert_eq!(
        [
            &reported["revision"],
            &reported["rollout"],
            &reported["exit_code"]
        ],
        [2, 2, 3]
    );
    let page = reported["report"].as_str().expect("a path");
    assert!(
        fs::read_to_string(page).is_ok_and(|page| page.contains("Failed and rolled back")),
        "{page}"
    );
    let summary = project.redacted(reported["summary"].as_str().unwrap_or_default());
    assert_eq!(
        summary,
        "page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1): 1 of 1 available \
         after [TOOK]"
    );
    let why = project.redacted(reported["why"].as_str().unwrap_or_default());
    assert_eq!(
        why,
        "node1:8082: the new instance exited unexpectedly after [TOOK]: exit status 7"
    );
    assert!(
        reported["duration_s"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0),
        "{reported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_message_has_the_format_of_the_chat() {
    for shape in ["slack", "teams"] {
        let server = server().await;
        let project = notifying_by(&format!(
            "[notify.webhook]\nurl_file = \"hook.url\"\nformat = \"{shape}\"\n"
        ));
        write(&project.path("hook.url"), &format!("{}\n", hook(&server)));
        project.deploy("0.9");
        let reported = posted(&server).await;
        let text = if shape == "slack" {
            reported["text"].as_str().unwrap_or_default().to_owned()
        } else {
            let card = &reported["attachments"][0];
            assert_eq!(
                card["contentType"],
                "application/vnd.microsoft.card.adaptive"
            );
            card["content"]["body"].to_string()
        };
        for words in [
            "✓ page 0.9 on local: succeeded",
            "page 0.9 (revision 2): 1 of 1 available in",
            "0.8 → 0.9",
        ] {
            assert!(text.contains(words), "no {words:?} in {reported}");
        }
    }
}

#[test]
fn mail_has_valid_headers_and_short_lines() {
    let project = notifying_by(
        "[notify.mail]\nto = [\"ops@example.org\", \"root\"]\nfrom = \
         \"ship@example.org\"\nsendmail = \"sendmail\"\n",
    );
    let program_text = format!(
        "#!/bin/sh\necho \"$@\" >{0}/args\ncat >{0}/mail\n",
        project.root().display()
    );
    program(&project.path("sendmail"), &program_text);
    project.deploy("0.9");
    let read = |name: &str| fs::read_to_string(project.path(name)).expect("the mail was sent");
    assert_eq!(read("args"), "-t -i\n");
    let mail = read("mail");
    assert!(
        !mail.contains('\r') && mail.lines().all(|line| line.len() <= 78),
        "{mail}"
    );
    let (head, _) = mail.split_once("\n\n").expect("a head and a body");
    for words in [
        "To: <ops@example.org>, <root>",
        "From: <ship@example.org>",
        "Date: ",
        "Message-ID: <",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(head.contains(words), "no {words:?} in\n{head}");
    }
    // An encoded word: a header contains only ASCII.
    assert!(head.is_ascii() && head.contains("Subject: =?"), "{head}");
    let python = "import email, email.policy, sys\nmail = email.message_from_file(sys.stdin, \
                  policy=email.policy.default)\n\
                  print(mail['subject'])\nprint(mail.defects)\nprint(mail.get_content(), end='')";
    let parsed = ship_testing::namespace::run(
        "sh",
        &[
            "-c",
            "exec python3 -c \"$1\" <\"$2\"",
            "sh",
            python,
            &project.path("mail").display().to_string(),
        ],
    );
    assert_data_eq!(
        project.redacted(&parsed),
        str![[r#"
✓ page 0.9 on local: succeeded
[]
page 0.9 (revision 2): 1 of 1 available in [TOOK]

Version:   0.8 → 0.9
Revision:  2
Asked by:  [WHO] (deploy)
When:      [WHEN], for [TOOK]
Exit code: 0
Report:    [ROOT]/.ship/runs/2.html
"#]]
    );
}

#[test]
fn notify_command_receives_json_and_environment_variables() {
    let project = notifying_by("[notify]\ncommand = \"./tell 'two words'\"\n");
    let text = format!(
        "#!/bin/sh\necho \"$1\" >{0}/args\nenv | grep ^SHIP_ | sort >{0}/env\ncat >{0}/stdin\n",
        project.root().display()
    );
    program(&project.path("tell"), &text);
    project.deploy("0.9");
    let read = |name: &str| fs::read_to_string(project.path(name)).expect("the command ran");
    assert_eq!(read("args"), "two words\n");
    assert_eq!(json(&read("stdin"))["outcome"], "succeeded");
    assert_data_eq!(
        project.redacted(&read("env")),
        str![[r#"
SHIP_EXIT_CODE=0
SHIP_FLEET=local
SHIP_OCCASION=success
SHIP_OUTCOME=succeeded
SHIP_PREVIOUS_VERSION=0.8
SHIP_REPORT=[ROOT]/.ship/runs/2.html
SHIP_REVISION=2
SHIP_ROLLOUT=2
SHIP_SERVICE=page
SHIP_SUMMARY=page 0.9 (revision 2): 1 of 1 available in [TOOK]
SHIP_VERB=deploy
SHIP_VERSION=0.9
SHIP_WHO=[WHO]
SHIP_WHY=
"#]]
    );
}

#[test]
fn failed_notification_is_reported_and_keeps_the_exit_code() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hook = format!(
        "http://{}/t0ken-of-the-hook",
        silent.local_addr().expect("bound")
    );
    let project = notifying_by(&format!(
        "[notify]\ntimeout = \"300ms\"\ncommand = \"/bin/sh -c 'sleep 600 & sleep \
         600'\"\n[notify.webhook]\nurl = \"{hook}\"\n\
         [notify.mail]\nto = [\"ops@example.org\"]\nsendmail = \"sendmail\"\n[metrics]\ntextfile \
         = \"none/page.prom\"\n"
    ));
    program(
        &project.path("sendmail"),
        "#!/bin/sh\necho 'the queue is full' >&2\nexit 75\n",
    );
    let done = project
        .ship(&["deploy", "--version", "0.9"])
        .any_stderr()
        .run();
    let notes: Vec<_> = done
        .stderr
        .lines()
        .filter(|line| line.starts_with("note: ") || line.starts_with("warning: "))
        .map(|line| project.redacted(line))
        .collect();
    assert_data_eq!(
        notes.join("\n") + "\n",
        str![[r#"
warning: cannot update the file of [metrics]: cannot write [ROOT]/none/page.prom: No such file or directory (os error 2)
warning: cannot notify [notify.webhook]: timed out after [TOOK] (`timeout` in [notify]) (the rollout is not affected)
warning: cannot notify [notify.mail]: `[ROOT]/sendmail` exited with exit status: 75: the queue is full (the rollout is not affected)
warning: cannot notify `command` in [notify]: timed out after [TOOK] (`timeout` in [notify]) (the rollout is not affected)

"#]]
    );
    assert!(done.took < Duration::from_secs(20), "{:?}", done.took);
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    // Programs that timed out are gone: only two processes of the service remain.
    assert!(project.processes().iter().all(|pid| {
        !fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("sleep"))
    }));
}

#[test]
fn notifications_are_sent_only_for_configured_results() {
    let project = notifying_by("[notify]\non = [\"failure\"]\ncommand = \"./tell\"\n");
    program(
        &project.path("tell"),
        "#!/bin/sh\necho reported >>reported\n",
    );
    project.deploy("0.9");
    assert!(!project.path("reported").exists());
    // Nothing to do in an attended deploy: no notification.
    let project = notifying_by("[notify]\ncommand = \"./tell\"\n");
    program(
        &project.path("tell"),
        "#!/bin/sh\necho reported >>reported\n",
    );
    project.deploy("0.8");
    assert!(!project.path("reported").exists());
    project.ship(&["restart"]).any_stderr().run();
    assert_eq!(
        fs::read_to_string(project.path("reported")).expect("a notification"),
        "reported\n"
    );
}

#[test]
fn requested_rollback_is_not_reported_as_a_failure() {
    let project = notifying_by(
        "[notify]\ncommand = \"/bin/sh -c 'echo $SHIP_OCCASION $SHIP_OUTCOME $SHIP_EXIT_CODE \
         >>reported'\"\n",
    );
    project.release("0.9", Behaviour::Deaf);
    let args = [
        "deploy",
        "--version",
        "0.9",
        "--set",
        "rollout.on_failure=hold",
        "--set",
        "rollout.progress_deadline=1s",
    ];
    project.ship(&args).any_stderr().status(4).run();
    project.ship(&["abort"]).any_stderr().run();
    assert_eq!(
        fs::read_to_string(project.path("reported")).expect("a notification"),
        "failure held 4\nsuccess rolled-back 0\n"
    );
}

#[test]
fn notifications_contain_no_secrets() {
    let project = notifying_by(
        "[notify]\ncommand = \"/bin/sh -c 'env >reported; cat >>reported'\"\n[metrics]\ntextfile \
                 = \"page.prom\"\n",
    )
    .with(
        "[service.env]\n",
        "env_file = \"page.env\"\n\n[service.env]\n",
    );
    write(&project.path("page.env"), &format!("PASSWORD={PASSWORD}\n"));
    // The service returns its password in responses and prints it to its log.
    project.release("0.9", Behaviour::Wrong);
    let file = project.path("page-0.9/page.py");
    let text = fs::read_to_string(&file).expect("our own file");
    let text = text
        .replace(
            "\"the frobnicator is on fire\\n\"",
            "os.environ[\"PASSWORD\"] + \" is wrong\\n\"",
        )
        .replace(
            "print(f\"page {VERSION} starts",
            "print(f\"{os.environ['PASSWORD']} is known, page {VERSION} starts",
        );
    write(&file, &text);
    let args = [
        "deploy",
        "--version",
        "0.9",
        "--set",
        "rollout.progress_deadline=3s",
    ];
    let done = project.ship(&args).any_stderr().status(3).run();
    assert!(
        done.stderr.contains("HTTP 500: … is wrong"),
        "the test has no secret to look for: {}",
        done.stderr
    );
    assert!(!done.stderr.contains(PASSWORD), "{}", done.stderr);
    project
        .ship(&["report", "--output-file", "page.html"])
        .any_stdout()
        .run();
    for name in ["reported", "page.prom", "page.html", ".ship/runs/2.html"] {
        let text = fs::read_to_string(project.path(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!text.contains(PASSWORD), "{name}: {text}");
    }
    let page = fs::read_to_string(project.path("page.html")).expect("our own file");
    assert!(
        page.contains("HTTP 500: … is wrong") && page.contains("… is known, page 0.9 starts"),
        "{page}"
    );
    let reported = fs::read_to_string(project.path("reported")).expect("a notification");
    assert!(
        reported.contains("last answer: HTTP 500: … is wrong"),
        "{reported}"
    );
}

#[test]
fn metrics_file_describes_the_last_run_and_is_written_atomically() {
    let project = notifying_by("[metrics]\ntextfile = \"page.prom\"\n");
    project.deploy("0.9");
    let read = || fs::read_to_string(project.path("page.prom")).expect("the file is there");
    let succeeded = read();
    for line in [
        "ship_last_run_outcome{service=\"page\",fleet=\"local\",outcome=\"succeeded\"} 1",
        "ship_last_run_outcome{service=\"page\",fleet=\"local\",outcome=\"rolled-back\"} 0",
        "ship_last_run_exit_code{service=\"page\",fleet=\"local\"} 0",
        "ship_instances_desired{service=\"page\",fleet=\"local\"} 1",
        "ship_instances_available{service=\"page\",fleet=\"local\"} 1",
    ] {
        assert!(
            succeeded.lines().any(|own| own == line),
            "no {line} in\n{succeeded}"
        );
    }
    let mode = fs::metadata(project.path("page.prom"))
        .expect("the metric exists")
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o644);
    project.release("1.0", Behaviour::Exits);
    project
        .ship(&["deploy", "--version", "1.0"])
        .any_stderr()
        .status(3)
        .run();
    let value = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(value(&read(), "ship_last_run_exit_code"), "3");
    let success = "ship_last_success_timestamp_seconds";
    assert_eq!(
        value(&read(), success),
        value(&succeeded, success),
        "the last good one stays"
    );
    let left = fs::read_dir(project.root())
        .expect("our own directory")
        .flatten();
    assert!(
        left.into_iter()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with(".ship-"))
    );
}
