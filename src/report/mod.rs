//! Floor 2: shows events to a person or a program. Reporters never influence decisions, and never
//! fail: where nobody can read what they write, a rollout goes on.

use std::io::IsTerminal;

pub use self::reporter::{Reporter, Setup};

pub mod clock;
mod course;
mod failure;
pub mod grid;
pub mod html;
mod json;
mod live;
mod loss;
pub mod metrics;
mod plain;
pub mod record;
mod reporter;
mod retold;
mod stdout;
mod story;
mod summary;
pub mod table;
#[cfg(test)]
mod testing;
pub mod text;
mod told;

pub use clock::Clock;
pub use json::Json;
pub use live::Live;
pub use plain::Plain;
pub use retold::last_word;
pub use stdout::{Stdout, note_stdout_failure, stdout_failure};
pub use table::HistoryRow;
pub use text::{Glyphs, Versions};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Live on a terminal, else plain.
    #[default]
    Auto,
    /// One screen on stderr, redrawn in place; plain where stderr is no terminal.
    Live,
    /// A line for each event worth one, on stderr.
    Plain,
    /// A JSON object a line for each event, on stdout.
    Json,
}

pub fn reporter(output: Output, setup: Setup) -> Box<dyn Reporter> {
    let terminal = std::io::stderr().is_terminal();
    match output.resolve(terminal, |name| std::env::var(name).ok()) {
        Output::Json => Box::new(Json::new(Stdout::default())),
        Output::Live => Box::new(Live::stderr(setup)),
        Output::Plain | Output::Auto => Box::new(Plain::new(anstream::stderr(), setup)),
    }
}

impl Output {
    /// What is shown, given whether stderr is a terminal, and the environment.
    fn resolve(self, terminal: bool, var: impl Fn(&str) -> Option<String>) -> Self {
        let moves = terminal && var("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let watched = var("CI").is_none_or(|ci| ci.is_empty() || ci == "false");
        match self {
            Output::Auto if moves && watched => Output::Live,
            Output::Live if moves => Output::Live,
            Output::Auto | Output::Live => Output::Plain,
            Output::Plain | Output::Json => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(output: Output, terminal: bool, vars: &[(&str, &str)]) -> Output {
        output.resolve(terminal, |name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn motion_is_only_for_a_terminal_that_can_move_and_that_somebody_watches() {
        let xterm = ("TERM", "xterm-256color");
        assert_eq!(resolve(Output::Auto, true, &[xterm]), Output::Live);
        assert_eq!(resolve(Output::Auto, false, &[xterm]), Output::Plain);
        assert_eq!(
            resolve(Output::Auto, true, &[("TERM", "dumb")]),
            Output::Plain
        );
        assert_eq!(resolve(Output::Auto, true, &[]), Output::Plain);
        assert_eq!(
            resolve(Output::Auto, true, &[xterm, ("CI", "true")]),
            Output::Plain
        );
        assert_eq!(
            resolve(Output::Live, true, &[xterm, ("CI", "true")]),
            Output::Live
        );
        assert_eq!(resolve(Output::Live, false, &[xterm]), Output::Plain);
        assert_eq!(resolve(Output::Json, true, &[xterm]), Output::Json);
    }
}
