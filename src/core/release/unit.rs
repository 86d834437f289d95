//! The settings of an instance's systemd unit.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A section of a unit in which a playbook may set directives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UnitSection {
    Service,
    Unit,
}

/// systemd's own directives, by section and name. A directive with several values is repeated.
/// Each value is a template with the values of the slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Directives(pub BTreeMap<UnitSection, BTreeMap<String, Vec<String>>>);

impl UnitSection {
    pub const ALL: [Self; 2] = [Self::Service, Self::Unit];

    /// The name, without brackets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Unit => "Unit",
        }
    }
}

impl Directives {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The directives of a section, each with its value.
    pub fn in_section(&self, section: UnitSection) -> impl Iterator<Item = (&str, &str)> {
        let section = self.0.get(&section).into_iter().flatten();
        section.flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (name.as_str(), value.as_str()))
        })
    }

    /// The last value of a directive, which is the one that counts.
    pub fn get(&self, section: UnitSection, name: &str) -> Option<&str> {
        let values = self.0.get(&section)?.get(name)?;
        values.last().map(String::as_str)
    }

    /// Replaces every value.
    ///
    /// # Errors
    /// The first error of `change`.
    pub fn try_map(
        &self,
        mut change: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut changed = self.clone();
        for values in changed.0.values_mut().flat_map(BTreeMap::values_mut) {
            for value in values {
                *value = change(value)?;
            }
        }
        Ok(changed)
    }
}

impl fmt::Display for Directives {
    /// One line for each directive: `Service.MemoryMax=512M`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for section in UnitSection::ALL {
            for (name, value) in self.in_section(section) {
                write!(f, "{separator}{}.{name}={value}", section.name())?;
                separator = "\n";
            }
        }
        Ok(())
    }
}

/// The signal that asks an instance to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    #[default]
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
    Tstp,
    Winch,
}

impl StopSignal {
    /// The names and the signals, in the order of the documentation.
    pub const ALL: [(&'static str, Self); 8] = [
        ("TERM", Self::Term),
        ("INT", Self::Int),
        ("QUIT", Self::Quit),
        ("HUP", Self::Hup),
        ("USR1", Self::Usr1),
        ("USR2", Self::Usr2),
        ("TSTP", Self::Tstp),
        ("WINCH", Self::Winch),
    ];

    /// The name without `SIG`, as `kill` takes it.
    pub fn name(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(_, signal)| *signal == self);
        known.map_or("TERM", |(name, _)| name)
    }

    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
