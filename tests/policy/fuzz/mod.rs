//! Fuzz tests of external input: archives, responses of instances, and journals. Malformed input must
//! not cause a panic or a hang, and accepted input must follow the rules. `SHIP_LONG=1` runs fifty
//! times as many cases.

mod archives;
mod journal;
mod responses;
