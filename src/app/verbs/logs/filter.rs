//! Selects slots by instance, host or slot.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{HostId, InstanceId, SlotNumber};

/// A host and the instances in its slots; `None` if the host is unreachable.
pub(super) struct HostSlots {
    pub(super) host: HostId,
    pub(super) slots: Option<BTreeMap<SlotNumber, InstanceId>>,
}

/// The slots of a host whose logs are shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotSelection {
    /// Slots whose past lines are shown.
    pub(super) past: BTreeSet<SlotNumber>,
    pub(super) followed: BTreeSet<SlotNumber>,
}

/// Selects the slots that match the words; without words, all slots. Hosts without a match are left
/// out. With `include_empty`, also selects the past of slots that are empty now.
///
/// # Errors
/// The words that match nothing.
pub(super) fn select_slots(
    words: &[String],
    slots: &[SlotNumber],
    fleet: &[HostSlots],
    include_empty: bool,
) -> Result<BTreeMap<HostId, SlotSelection>, Vec<String>> {
    let mut selections = BTreeMap::<HostId, SlotSelection>::new();
    if words.is_empty() {
        selections.extend(fleet.iter().map(|observed| {
            (
                observed.host.clone(),
                all_slots(observed, slots, include_empty),
            )
        }));
    }
    let mut unknown = Vec::new();
    for word in words {
        let matches = find_matches(word, slots, fleet, include_empty);
        if matches.is_empty() {
            unknown.push(word.clone());
        }
        for (host, selection) in matches {
            let known = selections.entry(host).or_default();
            known.past.extend(selection.past);
            known.followed.extend(selection.followed);
        }
    }
    if unknown.is_empty() {
        Ok(selections)
    } else {
        Err(unknown)
    }
}

fn find_matches(
    word: &str,
    slots: &[SlotNumber],
    fleet: &[HostSlots],
    include_empty: bool,
) -> Vec<(HostId, SlotSelection)> {
    if let Some(observed) = fleet.iter().find(|observed| observed.host.as_str() == word) {
        return vec![(
            observed.host.clone(),
            all_slots(observed, slots, include_empty),
        )];
    }
    let slot = word
        .rsplit_once(':')
        .and_then(|(host, number)| Some((host, number.parse::<SlotNumber>().ok()?)));
    if let Some((host, number)) = slot {
        let has_slot = |observed: &HostSlots| {
            slots.contains(&number)
                || observed
                    .slots
                    .as_ref()
                    .is_some_and(|slots| slots.contains_key(&number))
        };
        let observed = fleet
            .iter()
            .find(|observed| observed.host.as_str() == host)
            .filter(|observed| has_slot(observed));
        return observed
            .map(|observed| (observed.host.clone(), single_slot(number)))
            .into_iter()
            .collect();
    }
    let slots = fleet.iter().flat_map(|observed| {
        observed
            .slots
            .iter()
            .flatten()
            .map(|(number, name)| (&observed.host, *number, name))
    });
    let named = slots.filter(|(_, _, name)| name.as_str().starts_with(word));
    named
        .map(|(host, number, _)| (host.clone(), single_slot(number)))
        .collect()
}

/// All slots of a host. The past is shown only for occupied slots, or for all slots if the host is
/// unreachable.
fn all_slots(observed: &HostSlots, slots: &[SlotNumber], include_empty: bool) -> SlotSelection {
    let occupied = observed.slots.iter().flatten().map(|(number, _)| *number);
    let all: BTreeSet<_> = slots.iter().copied().chain(occupied.clone()).collect();
    let past = if observed.slots.is_none() || include_empty {
        all.clone()
    } else {
        occupied.collect()
    };
    SlotSelection {
        past,
        followed: all,
    }
}

fn single_slot(number: SlotNumber) -> SlotSelection {
    SlotSelection {
        past: [number].into(),
        followed: [number].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: [SlotNumber; 2] = [8081, 8082];

    fn fleet() -> [HostSlots; 3] {
        let slots = |slots: &[(SlotNumber, &str)]| {
            Some(
                slots
                    .iter()
                    .map(|(number, name)| (*number, (*name).into()))
                    .collect(),
            )
        };
        [
            HostSlots {
                host: "web1".into(),
                slots: slots(&[(8081, "page-5158-aaaaa"), (9000, "page-2307-bbbbb")]),
            },
            HostSlots {
                host: "web2".into(),
                slots: slots(&[]),
            },
            HostSlots {
                host: "web3".into(),
                slots: None,
            },
        ]
    }

    /// `web1 8081+9000 of 8081+8082+9000`, and so on.
    fn chosen(words: &[&str]) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let list = |slots: &BTreeSet<SlotNumber>| {
            slots
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("+")
        };
        let selections = select_slots(&words, &PORTS, &fleet(), false)
            .unwrap_or_else(|unknown| panic!("{unknown:?}"));
        selections
            .iter()
            .map(|(host, selection)| {
                format!(
                    "{host} {} of {}",
                    list(&selection.past),
                    list(&selection.followed)
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
        let selections = select_slots(&[], &PORTS, &fleet(), true).unwrap();
        assert_eq!(selections[&"web2".into()].past, PORTS.into());
        assert_eq!(selections[&"web1".into()].past, [8081, 8082, 9000].into());
    }

    #[test]
    fn filter_returns_the_words_that_match_nothing() {
        let words = ["web1", "web4", "web1:80", "page-9"].map(str::to_owned);
        assert_eq!(
            select_slots(&words, &PORTS, &fleet(), false),
            Err(vec!["web4".into(), "web1:80".into(), "page-9".into()])
        );
    }
}
