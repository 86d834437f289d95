//! The reporters of several services on one terminal.

use super::super::super::testing::{self, Play};
use super::super::LiveScreen;
use super::super::painter::TerminalSize;
use super::stack::{Stack, failure, succeeded};
use super::{HIDE, SHOW, Terminal};
use crate::core::rollout::failure::FailureKind;
use crate::core::stack::StackStep;
use crate::report::reporter::{DeploymentReporter, Reporter, ReporterSetup, ServiceLabel};

/// A deployment of `api` and `web` on a terminal.
struct Shared {
    terminal: Terminal,
    screen: LiveScreen<Terminal>,
    stack: Stack,
}

impl Shared {
    fn new() -> Self {
        let terminal = Terminal::default();
        let size = || TerminalSize {
            width: 121,
            height: 40,
        };
        Self {
            screen: LiveScreen::new(terminal.clone(), false, Box::new(size)),
            terminal,
            stack: Stack::of(&[("api", &[]), ("web", &[])]),
        }
    }

    fn report_progress(&self) {
        let shown = &self.stack.shown;
        self.screen
            .progress(&shown.fleet, &shown.deployment, &shown.run);
    }

    /// Reports the events of a rollout, and returns what is written to the terminal.
    fn roll_out(&mut self, service: &str, play: &Play) -> String {
        let step = StackStep::RollOut(service.to_owned());
        self.stack.shown.run.started(&step);
        self.report_progress();
        let name = service.to_owned();
        let mut reporter = self.screen.reporter(ReporterSetup {
            service: Some(ServiceLabel { name, width: 3 }),
            ..testing::setup(4)
        });
        for (entry, status) in &play.entries {
            reporter.event(entry, status);
        }
        reporter.finish();
        drop(reporter);
        self.terminal.take()
    }
}

/// The last frame of what was written.
fn last_frame(written: &str) -> &str {
    &written[written.rfind("\u{1b}[?2026h").unwrap()..]
}

#[test]
fn services_share_one_frame_until_the_deployment_ends() {
    let mut shared = Shared::new();
    shared.report_progress();
    assert_eq!(shared.terminal.take(), "", "no rollout has begun");
    let api = shared.roll_out("api", &succeeded());
    assert!(api.contains(HIDE) && !api.contains(SHOW), "{api:?}");
    assert!(
        last_frame(&api).contains("web  0.9        waiting"),
        "{api}"
    );
    assert!(
        !api.contains("3 of 3 available in"),
        "no summary yet: {api}"
    );
    let web = shared.roll_out("web", &Play::begin(4));
    assert!(!web.contains(HIDE), "the cursor is hidden already: {web:?}");
    let last = last_frame(&web);
    assert!(last.contains("api  0.8 → 0.9  rolled out"), "{last}");
    assert!(last.contains("web  0.8 → 0.9  rolling out"), "{last}");
    shared.screen.finish();
    let end = shared.terminal.take();
    let text = anstream::adapter::strip_str(&end).to_string();
    assert!(
        text.contains("api  testpage 0.9 (revision 2): 3 of 3 available in 5.2s"),
        "{text}"
    );
    assert!(end.ends_with(SHOW), "{end:?}");
}

#[test]
fn failure_and_notes_are_printed_above_the_next_frame_with_the_name_of_the_service() {
    let mut shared = Shared::new();
    shared.screen.note("api: before the first frame");
    assert_eq!(shared.terminal.take(), "api: before the first frame\n");
    let mut play = Play::begin(4);
    failure(&mut play, FailureKind::NotReady);
    let api = shared.roll_out("api", &play);
    let last = anstream::adapter::strip_str(last_frame(&api)).to_string();
    let (above, frame) = last.split_once("shop  deployment 3").expect("a frame");
    assert!(
        above.contains("10:42:54  api  node3:8081  FAILED"),
        "{above}"
    );
    assert!(above.contains("next: rolling back to 0.8"), "{above}");
    assert!(frame.contains("api  0.8 → 0.9  rolling back"), "{frame}");
    shared.screen.note("web: a note");
    let note = anstream::adapter::strip_str(&shared.terminal.take()).to_string();
    assert!(note.contains("web: a note\r\nshop  deployment 3"), "{note}");
}

#[test]
fn deployment_that_ends_early_shows_the_cursor() {
    let mut shared = Shared::new();
    shared.roll_out("api", &Play::begin(4));
    shared.screen.finish();
    assert!(shared.terminal.take().ends_with(SHOW));
    shared.screen.finish();
    assert_eq!(shared.terminal.take(), "", "the end is written once");
}
