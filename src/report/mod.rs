//! Floor 2: shows events to a person or a program. Reporters never influence decisions, and never
//! fail: where nobody can read what they write, a rollout goes on.

use std::io::IsTerminal;

pub use self::reporter::{Reporter, ReporterSetup};

mod availability;
pub mod clock;
mod failure;
pub mod grid;
pub mod html;
mod json;
mod live;
mod message;
pub mod metrics;
mod narrator;
mod phrases;
mod plain;
pub mod record;
mod reporter;
mod retold;
mod stdout;
mod summary;
pub mod table;
mod tee;
#[cfg(test)]
mod testing;
pub mod text;

pub use clock::LocalClock;
pub use json::Json;
pub use live::Live;
pub use plain::Plain;
pub use retold::last_word;
pub use stdout::{Stdout, note_stdout_failure, stdout_failure};
pub use table::HistoryRow;
pub use tee::Tee;
pub use text::{Glyphs, Versions};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressFormat {
    /// Live on a terminal, else plain.
    #[default]
    Auto,
    /// One screen on stderr, redrawn in place; plain where stderr is no terminal.
    Live,
    /// A line for each event worth one, on stderr.
    Plain,
}

/// Prints a JSON object a line for each event, on stdout.
pub fn json_events() -> Box<dyn Reporter> {
    Box::new(Json::new(Stdout::default()))
}

/// Shows the progress of a rollout on stderr.
pub fn progress(format: ProgressFormat, setup: ReporterSetup) -> Box<dyn Reporter> {
    let terminal = std::io::stderr().is_terminal();
    match format.resolve(terminal, |name| std::env::var(name).ok()) {
        ProgressFormat::Live => Box::new(Live::stderr(setup)),
        ProgressFormat::Plain | ProgressFormat::Auto => {
            Box::new(Plain::new(anstream::stderr(), setup))
        }
    }
}

impl ProgressFormat {
    /// What is shown, given whether stderr is a terminal, and the environment.
    fn resolve(self, terminal: bool, var: impl Fn(&str) -> Option<String>) -> Self {
        let moves = terminal && var("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let watched = var("CI").is_none_or(|ci| ci.is_empty() || ci == "false");
        match self {
            ProgressFormat::Auto if moves && watched => ProgressFormat::Live,
            ProgressFormat::Live if moves => ProgressFormat::Live,
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
    fn motion_is_only_for_a_terminal_that_can_move_and_that_somebody_watches() {
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
