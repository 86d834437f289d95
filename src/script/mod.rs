//! Floor 1: from orders to POSIX sh, and from what it prints back to facts. Builders and parsers; nothing runs here.

pub mod quote;
