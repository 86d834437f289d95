//! What comes from outside (archives, hosts, instances, an old journal) is almost right: nothing
//! panics, nothing hangs, and what is accepted keeps the rules. `SHIP_LONG=1` tries fifty times as
//! much.

#[path = "../script/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;
#[path = "../support/mutation.rs"]
#[allow(unreachable_pub, reason = "it is shared with other tests")]
mod mutation;

mod answers;
mod archives;
mod journal;
mod replies;
