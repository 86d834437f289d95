//! A freeze: a time without new deploys.

use std::fmt;

use super::lease::local;
use crate::core::time::Time;

/// A time without new deploys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Who asked for it: `anna@laptop`.
    pub who: String,
    pub since: Time,
    /// `None` until somebody ends it.
    pub until: Option<Time>,
    /// The reason that the user gave; may be empty.
    pub why: String,
}

impl Freeze {
    pub fn holds(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for Freeze {
    /// `anna@laptop until 2026-12-01 08:00:00 (the sale)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)?;
        match self.until {
            Some(until) => write!(f, " until {}", local(until))?,
            None => f.write_str(" until `ship thaw`")?,
        }
        if self.why.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.why)
        }
    }
}
