//! What scripts for a balancer have in common: the change to a slot, and the observation.

use super::report::BEGINNING;
use crate::core::fleet::traffic::{BalancerState, Server, SlotAdmission};
use crate::core::ids::Slot;
use crate::script::end::ScriptEnd;
use crate::script::number::{end, epoch, number, wrong};
use crate::script::unreadable::Unreadable;

/// A change of a balancer to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotSwitch {
    /// Send new requests, with the full weight or a percentage of it.
    Open {
        /// `None` for the full weight.
        weight_percent: Option<u32>,
    },
    /// Send no new clients. Those that the balancer has bound to the slot may still come, where it
    /// binds them.
    Ease,
    /// Send no new requests. Those under way continue.
    Close,
    /// End the connections that are still open.
    Cut,
}

impl SlotSwitch {
    /// Its name in a script.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Ease | Self::Close => "close",
            Self::Cut => "cut",
        }
    }
}

/// Reads what a script for a balancer has printed: how it ended, and what the balancer does then.
///
/// # Errors
/// If it did not come to its end, or makes no sense: then nobody knows what it has done.
pub fn read_view(stdout: &str) -> Result<(ScriptEnd, BalancerState), Unreadable> {
    let mut lines = stdout
        .split_inclusive('\n')
        .skip_while(|line| line.trim_end_matches('\n') != BEGINNING);
    lines.next().ok_or(Unreadable::NoBeginning)?;
    let mut view = BalancerState::default();
    let mut ended = None;
    for line in lines {
        let line = line.strip_suffix('\n').ok_or(Unreadable::NoEnd)?;
        if ended.is_some() {
            return Err(wrong(line, "comes after the end"));
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| wrong(line, "is no `key=value`"))?;
        match key {
            "epoch" => view.epoch = Some(epoch(line, value)?),
            "generation" => value.clone_into(&mut view.generation),
            "server" => {
                let (slot, server) = read_server(line, value)?;
                if view.servers.insert(slot, server).is_some() {
                    return Err(wrong(line, "comes twice"));
                }
            }
            "unseen" => return Err(Unreadable::Unseen(value.to_owned())),
            "refused" => return Err(Unreadable::Refused(value.to_owned())),
            "end" => ended = Some(end(line, value)?),
            _ => return Err(wrong(line, "is not known")),
        }
    }
    Ok((ended.ok_or(Unreadable::NoEnd)?, view))
}

/// `HOST PORT open|closed IN_FLIGHT WEIGHT`, where `-` stands for no weight.
fn read_server(line: &str, value: &str) -> Result<(Slot, Server), Unreadable> {
    let words: Vec<_> = value.split(' ').collect();
    let [host, port, gate, in_flight, weight] = words[..] else {
        return Err(wrong(line, "has not five words"));
    };
    let gate = match gate {
        "open" => SlotAdmission::Open,
        "closed" => SlotAdmission::Closed,
        _ => return Err(wrong(line, "says neither `open` nor `closed`")),
    };
    let weight_percent = match weight {
        "-" => None,
        weight => Some(number(line, weight)?),
    };
    let server = Server {
        gate,
        in_flight: number(line, in_flight)?,
        weight_percent,
        ..Server::default()
    };
    Ok((Slot::new(host, number(line, port)?), server))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::ids::Epoch;

    #[test]
    fn what_a_balancer_says_is_read() {
        let said = "Welcome!\nship=1\nepoch=7\ngeneration=a b\nserver=web1 8081 open 3 \
                    10\nserver=web2 8081 closed 0 -\n\
                    end=failed why not\n";
        let (end, view) = read_view(said).expect("an answer");
        assert_eq!(end, ScriptEnd::Failed("why not".into()));
        assert_eq!(
            (view.epoch, view.generation.as_str()),
            (Some(Epoch(7)), "a b")
        );
        let open = Server {
            gate: SlotAdmission::Open,
            in_flight: 3,
            weight_percent: Some(10),
            ..Server::default()
        };
        assert_eq!(view.servers[&Slot::new("web1", 8081)], open);
        assert_eq!(view.servers[&Slot::new("web2", 8081)], Server::default());
    }

    #[test]
    fn half_an_answer_is_none() {
        for (said, error) in [
            ("", "the host's answer does not begin as ship's scripts do"),
            (
                "ship=1\nepoch=7\n",
                "the host's answer breaks off before its end",
            ),
            (
                "ship=1\nend=don",
                "the host's answer breaks off before its end",
            ),
            (
                "ship=1\nunseen=nft: no\nend=done\n",
                "the host could not say what runs on it: nft: no",
            ),
            (
                "ship=1\nend=done\nend=done\n",
                "the host's answer has a line that makes no sense: `end=done` comes after the end",
            ),
            (
                "ship=1\nserver=a 1 ajar 0 -\n",
                "the host's answer has a line that makes no sense: `server=a 1 ajar 0 -` says \
                 neither `open` nor `closed`",
            ),
            (
                "ship=1\nserver=a 1 open 0\n",
                "the host's answer has a line that makes no sense: `server=a 1 open 0` has not \
                 five words",
            ),
        ] {
            assert_eq!(read_view(said).expect_err(said).to_string(), error);
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(lines in proptest::collection::vec("(ship=1|server=|epoch=|end=)?[ -~é]{0,20}", 0..6)) {
            let _ = read_view(&format!("ship=1\n{}\n", lines.join("\n")));
        }
    }
}
