//! How a version of the tests' service behaves. Its release contains a file with the name.

/// Real hosts run `page.py`, which supports the first nine. Hosts that are this machine run
/// `light_page.py`, which starts faster and supports the first five and the last four.
#[derive(Clone, Copy)]
pub enum Behaviour {
    /// Serves.
    Good,
    /// Exits at once, with a message in its log.
    Exits,
    /// Runs, but never listens.
    Deaf,
    /// Answers every request with an error.
    Wrong,
    /// Serves. After SIGTERM it runs for three more seconds, or in `light_page.py` until the gate
    /// is open.
    Lingers,
    /// Listens three seconds after its start, then serves.
    Late,
    /// Serves with keep-alive connections. After SIGTERM it announces in each response that it
    /// closes the connection.
    Keeps,
    /// Writes thousands of lines to its log at its start, then serves.
    Chatty,
    /// Writes thousands of lines to its log at its start, then the decisive one, and exits.
    ChattyExits,
    /// Answers every twentieth request with an error, but no request of ship itself.
    Leaky,
    /// Answers with an error until the gate is open.
    Gated,
    /// Serves, but exits at once if it is started while the gate is open.
    Fragile,
    /// Exits at once if it is started before the gate is open; otherwise it serves.
    Needy,
}

impl Behaviour {
    /// The name in the release's file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Exits => "exits",
            Self::Deaf => "deaf",
            Self::Wrong => "wrong",
            Self::Lingers => "lingers",
            Self::Late => "late",
            Self::Keeps => "keeps",
            Self::Chatty => "chatty",
            Self::ChattyExits => "chatty-exits",
            Self::Leaky => "leaky",
            Self::Gated => "gated",
            Self::Fragile => "fragile",
            Self::Needy => "needy",
        }
    }
}
