//! Selects slots by instance, host or slot.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{HostId, InstanceId, Port};

/// A host and the instances in its slots; `None` if the host is unreachable.
pub(super) struct Seen {
    pub(super) host: HostId,
    pub(super) slots: Option<BTreeMap<Port, InstanceId>>,
}

/// The slots of a host to show.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The slots whose past lines are shown.
    pub(super) past: BTreeSet<Port>,
    pub(super) followed: BTreeSet<Port>,
}

/// Selects the slots that match the words; without words, all slots. Hosts without a match are left
/// out. With `empty_too`, the past of slots that are empty now is shown, too.
///
/// # Errors
/// The words that match nothing.
pub(super) fn choose(
    words: &[String],
    ports: &[Port],
    fleet: &[Seen],
    empty_too: bool,
) -> Result<BTreeMap<HostId, Choice>, Vec<String>> {
    let mut choices = BTreeMap::<HostId, Choice>::new();
    if words.is_empty() {
        choices.extend(
            fleet
                .iter()
                .map(|seen| (seen.host.clone(), all_of(seen, ports, empty_too))),
        );
    }
    let mut unknown = Vec::new();
    for word in words {
        let matches = find_matches(word, ports, fleet, empty_too);
        if matches.is_empty() {
            unknown.push(word.clone());
        }
        for (host, choice) in matches {
            let known = choices.entry(host).or_default();
            known.past.extend(choice.past);
            known.followed.extend(choice.followed);
        }
    }
    if unknown.is_empty() {
        Ok(choices)
    } else {
        Err(unknown)
    }
}

fn find_matches(
    word: &str,
    ports: &[Port],
    fleet: &[Seen],
    empty_too: bool,
) -> Vec<(HostId, Choice)> {
    if let Some(seen) = fleet.iter().find(|seen| seen.host.as_str() == word) {
        return vec![(seen.host.clone(), all_of(seen, ports, empty_too))];
    }
    let slot = word
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<Port>().ok()?)));
    if let Some((host, port)) = slot {
        let has_slot = |seen: &Seen| {
            ports.contains(&port)
                || seen
                    .slots
                    .as_ref()
                    .is_some_and(|slots| slots.contains_key(&port))
        };
        let seen = fleet
            .iter()
            .find(|seen| seen.host.as_str() == host)
            .filter(|seen| has_slot(seen));
        return seen
            .map(|seen| (seen.host.clone(), one(port)))
            .into_iter()
            .collect();
    }
    let slots = fleet.iter().flat_map(|seen| {
        seen.slots
            .iter()
            .flatten()
            .map(|(port, name)| (&seen.host, *port, name))
    });
    let named = slots.filter(|(_, _, name)| name.as_str().starts_with(word));
    named
        .map(|(host, port, _)| (host.clone(), one(port)))
        .collect()
}

/// All slots of a host. The past is shown only for occupied slots, or for all slots if the host is
/// unreachable.
fn all_of(seen: &Seen, ports: &[Port], empty_too: bool) -> Choice {
    let occupied = seen.slots.iter().flatten().map(|(port, _)| *port);
    let all: BTreeSet<_> = ports.iter().copied().chain(occupied.clone()).collect();
    let past = if seen.slots.is_none() || empty_too {
        all.clone()
    } else {
        occupied.collect()
    };
    Choice {
        past,
        followed: all,
    }
}

fn one(port: Port) -> Choice {
    Choice {
        past: [port].into(),
        followed: [port].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: [Port; 2] = [8081, 8082];

    fn fleet() -> [Seen; 3] {
        let slots = |slots: &[(Port, &str)]| {
            Some(
                slots
                    .iter()
                    .map(|(port, name)| (*port, (*name).into()))
                    .collect(),
            )
        };
        [
            Seen {
                host: "web1".into(),
                slots: slots(&[(8081, "page-5158-aaaaa"), (9000, "page-2307-bbbbb")]),
            },
            Seen {
                host: "web2".into(),
                slots: slots(&[]),
            },
            Seen {
                host: "web3".into(),
                slots: None,
            },
        ]
    }

    /// `web1 8081+9000 of 8081+8082+9000`, and so on.
    fn chosen(words: &[&str]) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let list = |ports: &BTreeSet<Port>| {
            ports
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("+")
        };
        let choices =
            choose(&words, &PORTS, &fleet(), false).unwrap_or_else(|unknown| panic!("{unknown:?}"));
        choices
            .iter()
            .map(|(host, choice)| {
                format!(
                    "{host} {} of {}",
                    list(&choice.past),
                    list(&choice.followed)
                )
            })
            .collect()
    }

    #[test]
    fn filter_without_words_selects_all_slots() {
        assert_eq!(
            chosen(&[]),
            [
                "web1 8081+9000 of 8081+8082+9000",
                "web2  of 8081+8082",
                "web3 8081+8082 of 8081+8082"
            ]
        );
    }

    #[test]
    fn filter_distinguishes_host_slot_and_instance_name() {
        assert_eq!(chosen(&["web1"]), ["web1 8081+9000 of 8081+8082+9000"]);
        assert_eq!(
            chosen(&["web1:9000", "web2:8082"]),
            ["web1 9000 of 9000", "web2 8082 of 8082"]
        );
        assert_eq!(chosen(&["web3:8081"]), ["web3 8081 of 8081"]);
        assert_eq!(chosen(&["page-5158"]), ["web1 8081 of 8081"]);
        assert_eq!(chosen(&["page-"]), ["web1 8081+9000 of 8081+9000"]);
    }

    #[test]
    fn filter_includes_the_past_of_empty_slots_on_request() {
        let choices = choose(&[], &PORTS, &fleet(), true).unwrap();
        assert_eq!(choices[&"web2".into()].past, PORTS.into());
        assert_eq!(choices[&"web1".into()].past, [8081, 8082, 9000].into());
    }

    #[test]
    fn filter_returns_the_words_that_match_nothing() {
        let words = ["web1", "web4", "web1:80", "page-9"].map(str::to_owned);
        assert_eq!(
            choose(&words, &PORTS, &fleet(), false),
            Err(vec!["web4".into(), "web1:80".into(), "page-9".into()])
        );
    }
}
