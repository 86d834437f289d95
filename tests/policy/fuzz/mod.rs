//! What comes from outside (archives, hosts, instances, an old journal) is almost right: nothing
//! panics, nothing hangs, and what is accepted keeps the rules. `SHIP_LONG=1` tries fifty times as
//! much.

mod answers;
mod archives;
mod journal;
