use super::*;
use crate::core::journal::placements::Placements;
use crate::core::rollout::event::Event;
use crate::core::rollout::failure::Outcome;
use crate::core::spec::budget::Budget;
use crate::report::testing::{self, Play};

fn written(play: Play, veil: &Redactor) -> String {
    let journal: Vec<_> = play.entries.into_iter().map(|(entry, _)| entry).collect();
    let dossier = PageInput {
        rollout: 7,
        journal: &journal,
        before: &Placements::default(),
        setup: testing::setup(4),
        budget: Some(Budget {
            replicas: 3,
            surge: 1,
            unavailable: 1,
        }),
        who: "anna@laptop",
        reason: "the night's build",
        exit_code: Some(0),
        changes: Changes {
            since: "revision 1 (0.8)".into(),
            parts: vec![["PASSWORD".into(), "hunter2".into(), "another".into()]],
            playbook: vec!["- a = \"<b>\"".into(), "+ a = 1".into()],
        },
        inventory: "my fleet.toml",
        now: testing::START,
    };
    page(&dossier, veil).unwrap()
}

fn article() -> Play {
    let mut play = Play::article();
    play.then(
        500,
        Event::RolloutFinished {
            outcome: Outcome::Succeeded,
        },
    );
    play
}

#[test]
fn the_first_line_says_how_it_ended_in_a_sign_and_a_word() {
    let page = written(article(), &Redactor::default());
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
        // What can be pasted into a shell.
        "ship rollback &#x27;my fleet.toml&#x27; --to-revision 1",
        "3 of 3 wanted instances served at the least; at least 2 were promised.",
        "node4: 0.9 on :8081, started 10:42:24, ready 10:42:26",
        "<li class=\"went\">- a = &quot;&lt;b&gt;&quot;</li>",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
}

#[test]
fn nothing_is_run_or_fetched() {
    let page = written(article(), &Redactor::default());
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
fn what_must_not_be_shown_is_covered() {
    let page = written(article(), &Redactor::new(["hunter2".to_owned()]));
    assert!(
        !page.contains("hunter2") && page.contains("<dt>PASSWORD</dt><dd>… → another</dd>"),
        "{page}"
    );
}

#[test]
fn a_journal_without_a_beginning_makes_no_page() {
    let mut play = article();
    play.entries.remove(0);
    let journal: Vec<_> = play.entries.into_iter().map(|(entry, _)| entry).collect();
    let dossier = PageInput {
        rollout: 7,
        journal: &journal,
        before: &Placements::default(),
        setup: testing::setup(4),
        budget: None,
        who: "",
        reason: "",
        exit_code: None,
        changes: Changes::default(),
        inventory: "",
        now: testing::START,
    };
    assert!(matches!(
        page(&dossier, &Redactor::default()),
        Err(PageError::NotBegun)
    ));
}
