//! Floor 4: the verbs.
