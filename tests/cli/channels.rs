//! Channels, which are resolved to a version before anything else.

use std::fs;
use std::net::TcpListener;

use crate::call::json;
use crate::project::LocalProject;
use ship_testing::web::{Reply, Web};

/// A small project whose playbook has this channel.
fn with_channel(channel: &str) -> LocalProject {
    let source = "source = \"page-{{ version }}\"";
    LocalProject::small().with(source, &format!("{source}\nchannels.nightly = {channel}"))
}

fn from(server: &Web, path: &str) -> LocalProject {
    with_channel(&format!("\"{}\"", server.url(path)))
}

/// The first entry of the history: version and cause.
fn newest(project: &LocalProject) -> (String, String) {
    let done = project
        .ship(&["history", "inventory.toml", "--output", "json"])
        .any_stdout()
        .run();
    let history = json(&done.stdout);
    let text = |key: &str| history[0][key].as_str().expect("a text").to_owned();
    (text("version"), text("reason"))
}

#[track_caller]
fn refusal(project: &LocalProject) -> String {
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "nightly"])
        .any_stderr()
        .status(2)
        .run();
    project.assert_hosts_untouched();
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    done.stderr.trim_end().to_owned()
}

#[test]
fn deploy_of_a_channel_records_the_version() {
    let server = Web::start(|_, _| Reply::of("0.9  built at noon\n"));
    let project = from(&server, "latest.txt");
    project.deploy("0.8");
    assert_eq!(server.paths().len(), 0, "a version is not looked up");
    let deploy = ["deploy", "inventory.toml", "--version", "nightly"];
    let done = project.ship(&deploy).any_stderr().run();
    assert!(
        done.stderr.starts_with("channel nightly resolved to 0.9\n"),
        "{}",
        done.stderr
    );
    assert_eq!(
        newest(&project),
        ("0.9".to_owned(), "deploy 0.9 (nightly)".to_owned())
    );
    assert_eq!(
        project.running(),
        ["node1:8081 0.9"].map(|row| row.replace("8081", &port(&project)))
    );

    let again = project.ship(&deploy).any_stderr().run();
    assert!(
        again
            .stderr
            .contains("nothing to do: page 0.9 (revision 2)"),
        "{}",
        again.stderr
    );
    let done = project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(!done.stderr.contains("channel"), "{}", done.stderr);
}

/// Where the only instance is.
fn port(project: &LocalProject) -> String {
    project.status()["instances"][0]["port"].to_string()
}

#[test]
fn every_verb_accepts_a_channel_as_the_playbook_version() {
    let server = Web::start(|_, _| Reply::of("{\"build\": {\"version\": \"0.9\"}}"));
    let url = server.url("latest.json");
    let channel = format!("{{ source = \"{url}\", value = \"$.build.version\" }}");
    let project = with_channel(&channel).with("version = \"0.8\"", "version = \"nightly\"");
    let plan = project
        .ship(&["plan", "inventory.toml"])
        .any_stdout()
        .any_stderr()
        .run();
    assert!(
        plan.stdout.starts_with("page 0.9 on local"),
        "{}",
        plan.stdout
    );
    let dry = project
        .ship(&["deploy", "inventory.toml", "--dry-run"])
        .any_stdout()
        .any_stderr()
        .run();
    assert_eq!(dry.stdout, plan.stdout);
    let check = project
        .ship(&["check", "inventory.toml"])
        .any_stdout()
        .stderr("channel nightly resolved to 0.9\n")
        .run();
    assert!(
        check.stdout.contains("ok      artifact of 0.9 "),
        "{}",
        check.stdout
    );
    let cause = ["deploy", "inventory.toml", "--reason", "because"];
    project.ship(&cause).any_stderr().run();
    assert_eq!(newest(&project), ("0.9".to_owned(), "because".to_owned()));
    let restart = project
        .ship(&["restart", "inventory.toml"])
        .any_stderr()
        .any_stdout()
        .run();
    assert!(!restart.stderr.contains("channel"), "{}", restart.stderr);
}

#[test]
fn channel_selects_the_newest_file_of_a_directory() {
    let channel = "{ newest = \"builds/page-{{ version }}.done\" }";
    let project = with_channel(channel);
    for name in [
        "page-0.8.done",
        "page-0.10.done",
        "page-0.10~rc1.done",
        "page-0.9.done",
        "page- 1.done",
        "page-2.tmp",
    ] {
        fs::create_dir_all(project.path("builds")).expect("our own directory");
        fs::write(project.path("builds").join(name), "").expect("our own directory");
    }
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "nightly"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        done.stderr.starts_with(
            "channel nightly resolved to 0.10\nerror: cannot read the artifact page-0.10: "
        ),
        "{done:?}"
    );
    fs::remove_dir_all(project.path("builds")).expect("our own directory");
    assert_eq!(
        project.redacted(&refusal(&project)),
        "error: cannot resolve channel `nightly`: builds: No such file or directory (os error 2); \
         correct the path of the \
         channel"
    );
}

#[test]
fn invalid_channel_content_is_refused_in_one_line() {
    let page = "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n";
    let prose = "The build\nhas failed.\nSee the log.\n";
    for (reply, why) in [
        (
            Reply::status(404),
            "the server returned 404 Not Found; publish it, or correct the channel",
        ),
        (
            Reply::of(""),
            "it is empty; check the job that publishes the channel",
        ),
        (
            Reply::of(page),
            "it is an HTML page, not a version; check the URL",
        ),
        (
            Reply::of(prose),
            "it is not a version; it starts with \"The build\\nhas failed.\\nSee the log.\"; it \
             must contain the version, optionally followed by a few words on the same line",
        ),
        (
            Reply::of("../../0.9"),
            "the content is not a valid version: it cannot begin with `.`: `../../0.9`; check the \
             job that publishes the channel",
        ),
        (
            Reply::of(vec![b'1'; 100_000]),
            "it is larger than 64 KiB; check that this is the right file",
        ),
        (
            Reply::of(vec![0xff, 0xfe]),
            "it is not text; it must contain the version, optionally followed by a few words on the same line",
        ),
        (Reply::of("nightly"), ""),
    ] {
        let server = Web::start(move |_, _| reply.clone());
        let project = with_channel(&format!(
            "\"http://me:hunter2@{}/latest.txt?token=hunter2\"",
            server.address()
        ));
        let refusal = refusal(&project);
        if why.is_empty() {
            let expected =
                "error: channel `nightly` refers to the channel `nightly`; expected a version";
            assert_eq!(refusal, expected);
        } else {
            let url = server.url("latest.txt");
            assert_eq!(
                refusal,
                format!("error: cannot resolve channel `nightly`: {url}: {why}")
            );
        }
        assert_eq!(project.history(), Vec::<String>::new());
    }
}

#[test]
fn unreachable_channel_is_refused_in_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let project = with_channel(&format!("\"http://{closed}/latest.txt\""));
    assert_eq!(
        refusal(&project),
        format!(
            "error: cannot resolve channel `nightly`: http://{closed}/latest.txt: Connection \
             refused (os error 111) (3 \
             attempts); check that this machine can reach the server (curl -I), then retry"
        )
    );
    for (body, why) in [
        (
            "{\"build\": {}}",
            "it has no value at /build/version; check that `value` points to the version",
        ),
        (
            "{\"build\": {\"version\": null}}",
            "the value at /build/version is not a string; check that `value` points to the version",
        ),
        (
            "{\"build\": {\"version\": 0.10}}",
            "the value at /build/version is a number, which may have lost digits; publish \
             it as a string",
        ),
        (
            "<html>",
            "it is not valid JSON: expected value at line 1 column 1; check that `value` points to \
             the version",
        ),
    ] {
        let server = Web::start(move |_, _| Reply::of(body));
        let url = server.url("latest.json");
        let project = with_channel(&format!(
            "{{ source = \"{url}\", value = \"$.build.version\" }}"
        ));
        assert_eq!(
            refusal(&project),
            format!("error: cannot resolve channel `nightly`: {url}: {why}")
        );
    }
}

#[test]
fn check_reports_an_invalid_channel_and_still_checks_the_hosts() {
    let server = Web::start(|_, _| Reply::status(404));
    let project = from(&server, "latest.txt");
    let check = ["check", "inventory.toml", "--version", "nightly"];
    let done = project.ship(&check).any_stdout().status(2).run();
    let expected = format!(
        "FAILED  cannot resolve channel `nightly`: {}: the server",
        server.url("latest.txt")
    );
    assert!(
        done.stdout.contains(&expected) && done.stdout.contains("ok      node1: "),
        "{}",
        done.stdout
    );
}
