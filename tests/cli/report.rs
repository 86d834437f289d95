//! `ship report`: the page about a rollout, rendered by a real browser.

use std::fs;
use std::path::{Path, PathBuf};

use ship::core::rollout::event::FailureResponse;
use ship::core::rollout::failure::Outcome;

use crate::journal::{HOSTILE, Night};
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::browser::{Appearance, Browser, CHROMIUM};
use ship_testing::namespace::{self, write};

/// The directory of the screenshots, for visual checks.
fn gallery() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&dir).expect("a directory for pictures");
    dir
}

/// What a person's phone and a person's desk show, in the light, in the dark and without colours.
pub(crate) const LOOKS: [(&str, Appearance); 5] = [
    (
        "phone",
        Appearance {
            width: 375,
            dark: false,
            grey: false,
        },
    ),
    (
        "phone-dark",
        Appearance {
            width: 375,
            dark: true,
            grey: false,
        },
    ),
    (
        "desk",
        Appearance {
            width: 1100,
            dark: false,
            grey: false,
        },
    ),
    (
        "desk-dark",
        Appearance {
            width: 1100,
            dark: true,
            grey: false,
        },
    ),
    (
        "desk-grey",
        Appearance {
            width: 1100,
            dark: false,
            grey: true,
        },
    ),
];

/// Opens a page in each appearance and takes screenshots.
pub(crate) fn check_page(
    browser: &mut Browser,
    page: &Path,
    name: &str,
    looks: &[(&str, Appearance)],
) {
    for (how, look) in looks {
        measure(browser, page, &format!("{name} on a {how}"), *look);
        // A picture of thousands of lines would take its time.
        let fold = "document.querySelectorAll('.events').forEach(it => it.closest('details').open \
                    = it.rows.length < 200)";
        browser.evaluate(fold);
        browser.picture(&gallery().join(format!("{name}-{how}.png")));
    }
}

/// Nothing is wider than the window or too small to be read, and nothing is fetched or run.
fn measure(browser: &mut Browser, page: &Path, what: &str, look: Appearance) {
    browser.open(page, look);
    browser.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)");
    assert_eq!(
        browser.evaluate("document.scrollingElement.scrollWidth"),
        look.width,
        "{what}"
    );
    let wide = "[...document.querySelectorAll('body *')].filter(it => !it.closest('svg') && \
                it.getBoundingClientRect().right > innerWidth + 1).map(it => it.outerHTML).join()";
    assert_eq!(browser.evaluate(wide), "", "{what}");
    let small = "[...document.querySelectorAll('body *')].filter(it => !it.closest('svg') && \
                 it.textContent.trim() \
                 && parseFloat(getComputedStyle(it).fontSize) < 12).map(it => it.outerHTML).join()";
    assert_eq!(browser.evaluate(small), "", "{what}");
    assert_eq!(
        browser.evaluate("performance.getEntriesByType('resource').length"),
        0,
        "{what}"
    );
    assert_eq!(browser.evaluate("document.scripts.length"), 0, "{what}");
}

#[test]
fn report_is_readable_on_a_phone_in_dark_mode_and_without_colours() {
    if !namespace::has_programs(&[CHROMIUM]) {
        return;
    }
    let project = LocalProject::new();
    project.release("1.0", Behaviour::Exits);
    project.deploy("0.8");
    project.deploy("0.9");
    let args = [
        "deploy",
        "--version",
        "1.0",
        "--reason",
        "the night's build",
    ];
    project.ship(&args).any_stderr().status(3).run();
    let mut browser = Browser::start();
    for (rollout, name) in [("1", "first"), ("2", "succeeded"), ("3", "rolled-back")] {
        let page = project.path(&format!(".ship/runs/{rollout}.html"));
        check_page(&mut browser, &page, name, &LOOKS);
    }
}

/// A rollout of `hosts` hosts, with events of every kind.
fn eventful(hosts: u32, batch: u32) -> Night {
    let mut night = Night::of(hosts);
    let name = |n: u32| format!("web{n:03}");
    for first in (1..=hosts).step_by(batch as usize) {
        let hosts: Vec<_> = (first..=(first + batch - 1).min(hosts)).map(name).collect();
        for host in &hosts {
            night.start(host);
        }
        for host in &hosts {
            night.ready(host);
        }
        if first <= batch * 2 {
            night.step(first / batch + 1, first + batch - 1);
        }
        for host in &hosts {
            night.stop(host, u32::from(first == 1));
        }
    }
    night
}

/// A project of `hosts` hosts that has deployed once.
fn large(hosts: u32) -> LocalProject {
    let names: Vec<_> = (1..=hosts).map(|n| format!("web{n:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let project = LocalProject::small();
    project.deploy("0.8");
    let replicas = format!("replicas = {hosts}");
    project.with("replicas = 1", &replicas).on(&names)
}

#[test]
fn report_of_a_large_fleet_is_readable() {
    if !namespace::has_programs(&[CHROMIUM]) {
        return;
    }
    let mut browser = Browser::start();
    // To draw the large one takes its time, and how it is coloured is seen at the small one.
    for (hosts, batch, looks) in [(8, 2, &LOOKS[..]), (500, 25, &LOOKS[2..3])] {
        let project = large(hosts);
        let mut night = eventful(hosts, batch);
        night.lose("web003");
        night.probed(3);
        night.end(&Outcome::Succeeded, &project);
        let page = project.path("page.html");
        project
            .ship(&["report", "--output-file", "page.html"])
            .stdout("page.html\n")
            .run();
        check_page(&mut browser, &page, &format!("{hosts}-hosts"), looks);
        measure(
            &mut browser,
            &page,
            &format!("{hosts} hosts on a phone"),
            LOOKS[0].1,
        );
    }
}

#[test]
fn report_escapes_log_output() {
    if !namespace::has_programs(&[CHROMIUM]) {
        return;
    }
    let project = large(4);
    let mut night = Night::of(4);
    night.start("web001");
    night.fail(
        "web001",
        FailureResponse::Hold {
            why: HOSTILE[1].to_owned(),
        },
    );
    night.end(
        &Outcome::Held {
            why: HOSTILE[1].to_owned(),
        },
        &project,
    );
    let html = project
        .ship(&["report", "--output-file", "-"])
        .any_stdout()
        .run()
        .stdout;
    assert!(
        !html.contains("<script") && !html.contains("<img") && !html.contains("<svg/"),
        "{html}"
    );
    assert!(
        html.contains("{{ 7 * 7 }}"),
        "a log is not a template: {html}"
    );
    let harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(html.chars().all(harmless), "{html:?}");

    let page = project.path("page.html");
    fs::write(&page, html).expect("our own file");
    let mut browser = Browser::start();
    check_page(&mut browser, &page, "hostile", &LOOKS[..1]);
    assert_eq!(browser.evaluate("document.images.length"), 0);
    let title = browser.evaluate("document.title");
    assert_eq!(title, "✗ page 0.9 on local: held");
    let log = browser.evaluate("document.querySelector('pre.log').textContent.split('\\n')[0]");
    assert_eq!(log, HOSTILE[0]);
}

/// The first line of a page.
pub(crate) fn headline(html: &str) -> &str {
    let (_, rest) = html.split_once("<h1>").expect("a headline");
    let (headline, _) = rest.split_once("</h1>").expect("its end");
    headline.rsplit('>').next().unwrap_or_default()
}

#[test]
fn report_exists_for_every_rollout() {
    let project = LocalProject::small();
    project
        .ship(&["report", "inventory.toml"])
        .stderr("error: nothing has been deployed yet; run `ship deploy` first\n")
        .status(2)
        .run();
    project.deploy("0.8");
    project.release("0.9", Behaviour::Exits);
    project
        .ship(&["deploy", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    let read = |name: &str| fs::read_to_string(project.path(name)).expect("a page");
    assert_eq!(headline(&read(".ship/runs/1.html")), "Succeeded");
    let began = "0 of 1 instances were available at the start, 1 at the end";
    assert!(
        read(".ship/runs/1.html").contains(began),
        "a first deploy has nothing to keep"
    );
    assert_eq!(
        headline(&read(".ship/runs/2.html")),
        "Failed and rolled back"
    );
    fs::remove_dir_all(project.path(".ship/runs")).expect("our own directory");

    project
        .ship(&["report"])
        .stdout("[ROOT]/.ship/runs/2.html\n")
        .run();
    assert_eq!(
        headline(&read(".ship/runs/2.html")),
        "Failed and rolled back"
    );
    project
        .ship(&["report", "--rollout", "1", "--output-file", "one.html"])
        .stdout("one.html\n")
        .run();
    assert_eq!(headline(&read("one.html")), "Succeeded");
    let printed = project
        .ship(&["report", "--output-file", "-"])
        .any_stdout()
        .run()
        .stdout;
    assert_eq!(headline(&printed), "Failed and rolled back");
    project
        .ship(&["report", "--rollout", "7"])
        .stderr(
            "error: service `page` has no rollout `7`; known rollouts:\n  2: 0.9 (revision 2), started \
             [WHEN], rolled-back\n  1: 0.8 (revision 1), started [WHEN], succeeded\n",
        )
        .status(2)
        .run();
    project
        .ship(&["report", "--output-file", "none/page.html/"])
        .any_stderr()
        .status(1)
        .run();
}

#[test]
fn report_shows_the_capacity_of_its_time() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let args = [
        "deploy",
        "--version",
        "0.9",
        "--set",
        "rollout.max_unavailable=2",
    ];
    project.ship(&args).any_stderr().run();
    let written = fs::read_to_string(project.path(".ship/runs/2.html")).expect("a page");
    assert!(written.contains("; the minimum was 1"), "{written}");
    let project = project.with("max_surge = 1", "max_surge = 2");
    let again = project
        .ship(&["report", "--output-file", "-"])
        .any_stdout()
        .run()
        .stdout;
    assert_eq!(again, written, "it is the same page whenever it is written");
}

#[test]
fn reports_are_removed_with_the_history() {
    let project = LocalProject::small().with("replicas = 1", "replicas = 1\nhistory_limit = 2");
    write(&project.path(".ship/runs/notes.html"), "not a rollout's");
    for version in ["0.8", "0.9", "0.8", "0.9"] {
        project.deploy(version);
    }
    let names = fs::read_dir(project.path(".ship/runs"))
        .expect("pages")
        .flatten();
    let pages = names.filter(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "html")
    });
    let mut names: Vec<_> = pages
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    // The current revision, and two rollback targets.
    assert_eq!(names, ["2.html", "3.html", "4.html", "notes.html"]);
}

#[test]
fn unwritable_report_is_a_warning() {
    let project = LocalProject::small();
    write(&project.path(".ship/runs"), "in the way");
    let done = project.deploy("0.8");
    let notes: Vec<_> = done
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: cannot write the report"))
        .collect();
    let note = project.redacted(&notes.join("\n"));
    assert_eq!(
        note,
        "warning: cannot write the report: [ROOT]/.ship/runs: File exists (os error 17)"
    );
}
