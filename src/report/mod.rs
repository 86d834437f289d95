//! Layer 2: shows events to people and programs. Reporters never influence decisions and never
//! fail: if their output cannot be written, the rollout continues.

use std::io::IsTerminal;

pub use self::reporter::{DeploymentReporter, Reporter, ReporterSetup, ServiceLabel};

mod availability;
pub mod clock;
pub mod columns;
pub mod event_log;
mod failure;
pub mod html;
mod json;
mod live;
mod message;
pub mod metrics;
mod narrator;
mod phrases;
mod plain;
mod replay;
mod reporter;
mod stdout;
mod summary;
pub mod table;
mod tee;
#[cfg(test)]
mod testing;
pub mod text;

pub use clock::LocalClock;
pub use json::Json;
pub use live::{Live, LiveScreen};
pub use plain::Plain;
pub use replay::{event_texts, summary_lines};
pub use stdout::{Stdout, note_stdout_failure, stdout_failure};
pub use table::HistoryRow;
pub use tee::Tee;
pub use text::{Glyphs, Versions};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressFormat {
    /// Live on a terminal, plain otherwise.
    #[default]
    Auto,
    /// One screen on stderr, redrawn in place; plain if stderr is not a terminal.
    Live,
    /// One line per event on stderr.
    Plain,
}

/// Prints each event on stdout as one line of JSON.
pub fn json_events(setup: &ReporterSetup) -> Box<dyn Reporter> {
    let service = setup.service.as_ref().map(|label| label.name.clone());
    Box::new(Json::new(Stdout::default(), service))
}

/// Shows the progress of a rollout on stderr, live on the screen that it may share with others.
pub fn progress(
    format: ProgressFormat,
    setup: ReporterSetup,
    screen: &LiveScreen,
) -> Box<dyn Reporter> {
    let terminal = std::io::stderr().is_terminal();
    match format.resolve(terminal, |name| std::env::var(name).ok()) {
        ProgressFormat::Live => Box::new(screen.reporter(setup)),
        ProgressFormat::Plain | ProgressFormat::Auto => {
            Box::new(Plain::new(anstream::stderr(), setup))
        }
    }
}

impl ProgressFormat {
    /// The format for this terminal and environment.
    fn resolve(self, terminal: bool, var: impl Fn(&str) -> Option<String>) -> Self {
        let can_redraw =
            terminal && var("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let is_watched = var("CI").is_none_or(|ci| ci.is_empty() || ci == "false");
        match self {
            ProgressFormat::Auto if can_redraw && is_watched => ProgressFormat::Live,
            ProgressFormat::Live if can_redraw => ProgressFormat::Live,
            ProgressFormat::Auto | ProgressFormat::Live => ProgressFormat::Plain,
            ProgressFormat::Plain => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(output: ProgressFormat, terminal: bool, vars: &[(&str, &str)]) -> ProgressFormat {
        output.resolve(terminal, |name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn live_format_needs_a_capable_terminal_outside_ci() {
        let xterm = ("TERM", "xterm-256color");
        assert_eq!(
            resolve(ProgressFormat::Auto, true, &[xterm]),
            ProgressFormat::Live
        );
        assert_eq!(
            resolve(ProgressFormat::Auto, false, &[xterm]),
            ProgressFormat::Plain
        );
        assert_eq!(
            resolve(ProgressFormat::Auto, true, &[("TERM", "dumb")]),
            ProgressFormat::Plain
        );
        assert_eq!(
            resolve(ProgressFormat::Auto, true, &[]),
            ProgressFormat::Plain
        );
        assert_eq!(
            resolve(ProgressFormat::Auto, true, &[xterm, ("CI", "true")]),
            ProgressFormat::Plain
        );
        assert_eq!(
            resolve(ProgressFormat::Live, true, &[xterm, ("CI", "true")]),
            ProgressFormat::Live
        );
        assert_eq!(
            resolve(ProgressFormat::Live, false, &[xterm]),
            ProgressFormat::Plain
        );
    }
}
