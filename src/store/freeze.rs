//! A freeze: a period without new deploys.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::lease::local;
use crate::core::time::Time;

/// A period without new deploys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The user who set it: `anna@laptop`.
    pub who: String,
    pub since: Time,
    /// `None` for a freeze that lasts until `ship thaw`.
    pub until: Option<Time>,
    /// The user's reason; may be empty.
    pub why: String,
}

impl Freeze {
    pub fn is_active(&self, now: Time) -> bool {
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
