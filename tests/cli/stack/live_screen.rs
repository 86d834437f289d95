//! The live screen of a stack on a terminal of 80 columns and 24 lines.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use regex::Regex;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{in_environment_of, ship_command};
use ship_testing::namespace::{has_programs, until};

use super::project::{SERVICES, StackProject};

/// A `ship` on a terminal of its own, whose output is recorded.
struct OnTerminal<'a> {
    project: &'a StackProject,
    script: Child,
}

impl<'a> OnTerminal<'a> {
    fn start(project: &'a StackProject, args: &str) -> Self {
        let ship = ship_command(&project.path(""), &[]);
        let program = ship.get_program().display();
        let line = format!("stty cols 80 rows 24; {program} {args}");
        let mut command = in_environment_of(&ship, "script");
        command.args(["--quiet", "--flush", "--return", "--command", &line]);
        command
            .arg(project.path("terminal"))
            .env("TERM", "xterm-256color")
            .env("TMPDIR", project.path("home"));
        // Without an end of its input, which `script` would pass on as the end of the terminal.
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Self {
            project,
            script: command.spawn().expect("script is installed"),
        }
    }

    /// The frames so far, without escape sequences. The text after the last frame belongs to it.
    fn frames(&self) -> Vec<String> {
        let recorded = fs::read_to_string(self.project.path("terminal")).unwrap_or_default();
        let escapes = Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").expect("a pattern");
        let frames = recorded.split("\u{1b}[?2026h").skip(1);
        frames
            .map(|frame| escapes.replace_all(frame, "").replace('\r', ""))
            .collect()
    }

    /// Waits for a frame with all these lines.
    fn await_frame(&self, lines: &[&str]) {
        let has_lines = |frame: &String| lines.iter().all(|line| frame.contains(line));
        until(&format!("{lines:?}"), Duration::from_mins(1), || {
            self.frames().iter().any(has_lines).then_some(())
        });
    }

    /// Waits for the end and returns the exit code and what was recorded.
    fn wait(mut self) -> (Option<i32>, String) {
        let ended = self.script.wait().expect("our own child");
        let recorded = fs::read_to_string(self.project.path("terminal"));
        (ended.code(), recorded.expect("script writes UTF-8"))
    }
}

#[test]
fn stack_on_a_terminal_has_one_live_screen_for_all_services() {
    if !has_programs(&[("script", "bsdutils"), ("stty", "coreutils")]) {
        return;
    }
    let project = StackProject::deployed();
    for service in ["api", "worker"] {
        project.release(service, "2", Behaviour::Gated);
    }
    let ship = OnTerminal::start(&project, "deploy stack.toml --version 2");
    ship.await_frame(&[
        "shop  deployment 2  rolling out",
        "0 of 3 services done",
        "api     1 → 2  rolling out",
        "worker  1 → 2  rolling out",
        "web     2      waiting for api, worker",
        "INSTANCE",
    ]);
    project.open_gate();
    ship.await_frame(&["api     1 → 2  rolled out", "web     1 → 2  rolling out"]);
    until("the summary", Duration::from_mins(1), || {
        let frames = ship.frames();
        frames
            .last()?
            .contains("deployment 2 succeeded")
            .then_some(())
    });
    let frames = ship.frames();
    let (code, recorded) = ship.wait();
    assert_eq!(code, Some(0), "{recorded}");
    let (last, before) = frames.split_last().expect("there are frames");
    for frame in before {
        assert!(frame.lines().count() < 24, "{frame}");
        for line in frame.lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
    }
    assert!(last.contains("3 of 3 services done"), "{last}");
    for service in SERVICES {
        let summary = format!("{service} 2 (revision 2): 1 of 1 available in ");
        assert!(last.contains(&summary), "{last}");
    }
    let hidden = recorded.rfind("\u{1b}[?25l");
    assert!(
        recorded.rfind("\u{1b}[?25h") > hidden,
        "the cursor is hidden"
    );
    project.assert_serves("2");
}
