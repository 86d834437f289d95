//! How a version of the tests' service behaves: its release says so in a file.

/// Real hosts run `page.py`, which knows the first nine; hosts that are all this machine run
/// `light_page.py`, which starts faster and knows the first five and the last four.
#[derive(Clone, Copy)]
pub enum Behaviour {
    /// It serves.
    Good,
    /// Exits at once, with a message in its log.
    Exits,
    /// It runs, but never listens.
    Deaf,
    /// It answers every request with an error.
    Wrong,
    /// Serves; told to end, it goes on for three seconds, or in `light_page.py` until the gate is
    /// open.
    Lingers,
    /// Listens three seconds after its start, and serves from then on.
    Late,
    /// Serves, and keeps its connections; told to end, it tells those who ask that it does not keep
    /// them any more.
    Keeps,
    /// Writes thousands of lines into its log at its start, then serves.
    Chatty,
    /// Writes thousands of lines into its log at its start, then the decisive one, and ends.
    ChattyExits,
    /// Answers every twentieth request with an error, but never one of ship's own.
    Leaky,
    /// Answers with an error until the gate is open.
    Gated,
    /// Serves, but ends at once if it is started while the gate is open.
    Fragile,
    /// Ends at once if it is started before the gate is open, and serves from then on.
    Needy,
}

impl Behaviour {
    /// The word by which the service knows it.
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
