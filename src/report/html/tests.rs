mod deployment;

use super::*;
use crate::core::journal::placements::Placements;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::spec::budget::Budget;
use crate::report::testing::{self, Play};

fn journal(play: Play) -> Vec<Entry> {
    play.entries.into_iter().map(|(entry, _)| entry).collect()
}

fn rollout<'a>(journal: &'a [Entry], before: &'a Placements) -> RolloutInput<'a> {
    RolloutInput {
        rollout: 7,
        journal,
        before,
        budget: Some(Budget {
            replicas: 3,
            surge: 1,
            unavailable: 1,
        }),
        who: "anna@laptop",
        reason: "the night's build",
        exit_code: Some(0),
        directives: String::new(),
        changes: Changes {
            since: "revision 1 (0.8)".into(),
            parts: vec![["PASSWORD".into(), "hunter2".into(), "another".into()]],
            playbook: vec!["- a = \"<b>\"".into(), "+ a = 1".into()],
        },
    }
}

fn of_rollout(play: Play, redactor: &Redactor) -> Result<String, PageError> {
    let (journal, before) = (journal(play), Placements::default());
    let input = PageInput {
        rollout: rollout(&journal, &before),
        setup: testing::setup(4),
        arguments: "'my fleet.toml'".into(),
        now: testing::START,
    };
    page(input, redactor)
}

fn written(play: Play, redactor: &Redactor) -> String {
    of_rollout(play, redactor).unwrap()
}

fn example() -> Play {
    let mut play = Play::example();
    play.then(
        500,
        Event::RolloutFinished {
            outcome: Outcome::Succeeded,
        },
    );
    play
}

#[test]
fn page_starts_with_the_outcome() {
    let page = written(example(), &Redactor::default());
    let first = page
        .split_once("<h1>")
        .unwrap()
        .1
        .split_once("</h1>")
        .unwrap()
        .0;
    assert_eq!(
        first,
        "<span class=\"sign\" aria-hidden=\"true\">✓</span>Succeeded"
    );
    for words in [
        "<title>✓ testpage 0.9 on local: succeeded</title>",
        "testpage 0.9 (revision 2): 3 of 3 available in 5.2s",
        "<dt>reason</dt><dd>the night&#x27;s build</dd>",
        // Quoted for a shell.
        "ship rollback &#x27;my fleet.toml&#x27; --to-revision 1",
        "At least 3 of 3 instances were available; the minimum was 2.",
        "node4: 0.9 on :8081, started 10:42:24, ready 10:42:26",
        "<li class=\"removed\">- a = &quot;&lt;b&gt;&quot;</li>",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
}

#[test]
fn page_has_no_scripts_or_external_resources() {
    let page = written(example(), &Redactor::default());
    for word in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "@import",
        "@font-face",
        "http:",
        "https:",
        "src=",
        "onclick",
    ] {
        assert!(!page.contains(word), "{word} in\n{page}");
    }
    assert!(!page.replace("url(#", "").contains("url("), "{page}");
    assert!(
        page.contains("default-src &#x27;none&#x27;") || page.contains("default-src 'none'"),
        "{page}"
    );
}

#[test]
fn page_redacts_secrets() {
    let page = written(example(), &Redactor::new(["hunter2".to_owned()]));
    assert!(
        !page.contains("hunter2") && page.contains("<dt>PASSWORD</dt><dd>… → another</dd>"),
        "{page}"
    );
}

#[test]
fn journal_without_a_start_has_no_page() {
    let mut play = example();
    play.entries.remove(0);
    assert!(matches!(
        of_rollout(play, &Redactor::default()),
        Err(PageError::MissingStart)
    ));
}
