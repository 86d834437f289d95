//! Floor 3: observe → plan → record → perform, until done.
