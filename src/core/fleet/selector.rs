//! Label selectors: which hosts a service runs on.
//!
//! The rules are those of Kubernetes: requirements are joined by `and`, and a host without a label
//! meets every requirement that excludes values of it.

use std::collections::{BTreeMap, BTreeSet};

/// A label selector: a host matches if it meets all requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub label: String,
    pub test: LabelTest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelTest {
    /// `zone`: the host has the label.
    Exists,
    /// `!zone`: the host does not have the label.
    Absent,
    /// `role in (app, batch)` or `role=app`: the host has the label with one of the values.
    In(BTreeSet<String>),
    /// `role notin (db)` or `role!=db`: the host does not have the label with one of the values.
    NotIn(BTreeSet<String>),
}

impl Selector {
    /// Whether a host with these labels matches.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl Requirement {
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.label);
        match &self.test {
            LabelTest::Exists => value.is_some(),
            LabelTest::Absent => value.is_none(),
            LabelTest::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelTest::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}
