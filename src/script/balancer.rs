//! The common parts of balancer scripts: the change to a slot, and the observation.

use super::report::BEGINNING;
use crate::core::fleet::traffic::{BalancerState, Server, SlotAdmission};
use crate::core::ids::Slot;
use crate::script::end::ScriptEnd;
use crate::script::unreadable::Unreadable;
use crate::script::values::{end, epoch, malformed, number};

/// A change to a slot at a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotSwitch {
    /// Admit new requests, with the full weight or a percentage of it.
    Open {
        /// `None` for the full weight.
        weight_percent: Option<u32>,
    },
    /// Admit no new clients. Clients that the balancer has bound to the slot may still send
    /// requests.
    LimitToBound,
    /// Admit no new requests. Pending requests continue.
    Close,
    /// Close the connections that are still open.
    Cut,
}

impl SlotSwitch {
    /// The word for the change in scripts.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::LimitToBound | Self::Close => "close",
            Self::Cut => "cut",
        }
    }
}

/// Parses the output of a balancer script: how the script ended, and the balancer's state then.
///
/// # Errors
/// If the output is incomplete or malformed. Then the effect of the script is unknown.
pub fn read_balancer_report(stdout: &str) -> Result<(ScriptEnd, BalancerState), Unreadable> {
    let mut lines = stdout
        .split_inclusive('\n')
        .skip_while(|line| line.trim_end_matches('\n') != BEGINNING);
    lines.next().ok_or(Unreadable::NoBeginning)?;
    let mut view = BalancerState::default();
    let mut ended = None;
    for line in lines {
        let line = line.strip_suffix('\n').ok_or(Unreadable::NoEnd)?;
        if ended.is_some() {
            return Err(malformed(line, "follows the end"));
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| malformed(line, "is not `key=value`"))?;
        match key {
            "epoch" => view.epoch = Some(epoch(line, value)?),
            "generation" => value.clone_into(&mut view.generation),
            "server" => {
                let (slot, server) = read_server(line, value)?;
                if view.servers.insert(slot, server).is_some() {
                    return Err(malformed(line, "is a duplicate"));
                }
            }
            "unseen" => return Err(Unreadable::ObservationFailed(value.to_owned())),
            "refused" => return Err(Unreadable::UnsafePath(value.to_owned())),
            "end" => ended = Some(end(line, value)?),
            _ => return Err(malformed(line, "has an unknown key")),
        }
    }
    Ok((ended.ok_or(Unreadable::NoEnd)?, view))
}

/// `HOST PORT open|closed IN_FLIGHT WEIGHT`, where `-` means that there are no weights.
fn read_server(line: &str, value: &str) -> Result<(Slot, Server), Unreadable> {
    let words: Vec<_> = value.split(' ').collect();
    let [host, port, admission, in_flight, weight] = words[..] else {
        return Err(malformed(line, "does not have five words"));
    };
    let admission = match admission {
        "open" => SlotAdmission::Open,
        "closed" => SlotAdmission::Closed,
        _ => return Err(malformed(line, "is neither `open` nor `closed`")),
    };
    let weight_percent = match weight {
        "-" => None,
        weight => Some(number(line, weight)?),
    };
    let server = Server {
        admission,
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
    fn balancer_report_is_parsed() {
        let stdout = "Welcome!\nship=1\nepoch=7\ngeneration=a b\nserver=web1 8081 open 3 \
                    10\nserver=web2 8081 closed 0 -\n\
                    end=failed why not\n";
        let (end, view) = read_balancer_report(stdout).expect("a report");
        assert_eq!(end, ScriptEnd::Failed("why not".into()));
        assert_eq!(
            (view.epoch, view.generation.as_str()),
            (Some(Epoch(7)), "a b")
        );
        let open = Server {
            admission: SlotAdmission::Open,
            in_flight: 3,
            weight_percent: Some(10),
            ..Server::default()
        };
        assert_eq!(view.servers[&Slot::new("web1", 8081)], open);
        assert_eq!(view.servers[&Slot::new("web2", 8081)], Server::default());
    }

    #[test]
    fn incomplete_balancer_report_is_an_error() {
        for (stdout, error) in [
            (
                "",
                "the host's output does not contain the report of a ship script",
            ),
            ("ship=1\nepoch=7\n", "the host's report is incomplete"),
            ("ship=1\nend=don", "the host's report is incomplete"),
            (
                "ship=1\nunseen=nft: no\nend=done\n",
                "the host cannot determine what is running: nft: no",
            ),
            (
                "ship=1\nend=done\nend=done\n",
                "the host's report has a malformed line: `end=done` follows the end",
            ),
            (
                "ship=1\nserver=a 1 ajar 0 -\n",
                "the host's report has a malformed line: `server=a 1 ajar 0 -` is \
                 neither `open` nor `closed`",
            ),
            (
                "ship=1\nserver=a 1 open 0\n",
                "the host's report has a malformed line: `server=a 1 open 0` does not have \
                 five words",
            ),
        ] {
            assert_eq!(
                read_balancer_report(stdout).expect_err(stdout).to_string(),
                error
            );
        }
    }

    proptest! {
        #[test]
        fn balancer_report_parser_accepts_any_text(lines in proptest::collection::vec("(ship=1|server=|epoch=|end=)?[ -~é]{0,20}", 0..6)) {
            let _ = read_balancer_report(&format!("ship=1\n{}\n", lines.join("\n")));
        }
    }
}
