//! Which machine sends a file to which host, if the hosts pass it on to each other.
//!
//! The control machine sends the file to one host of each group. Every host that has received it sends
//! it to others of the group, so that the number of senders doubles with each round.

use std::collections::BTreeMap;

use crate::core::ids::HostId;

/// Below this size, the logins between hosts take longer than the transfer from the control machine.
const RELAYED_MIN_BYTES: u64 = 1 << 20;
/// How many hosts one host serves at the same time: while one unpacks, another one receives.
const RECEIVERS_MAX: usize = 2;
/// A host that has failed this often in a row is not asked again.
const FAILURES_MAX: u32 = 2;
/// A group in which this many transfers have failed, and none has succeeded, relays nothing more.
const GROUP_FAILURES_MAX: u32 = 4;

/// Which hosts pass files on to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Relaying {
    /// None: the control machine sends every file to each host.
    #[default]
    Off,
    /// Those with the same value of this label; all hosts without a label.
    Among(Option<String>),
}

impl Relaying {
    /// The group of a host with these labels for a file of this size; `None` if the control machine
    /// sends the file to it.
    pub fn group_of(&self, labels: &BTreeMap<String, String>, size_bytes: u64) -> Option<String> {
        match self {
            Self::Among(label) if size_bytes >= RELAYED_MIN_BYTES => {
                let value = label.as_ref().and_then(|label| labels.get(label));
                Some(value.cloned().unwrap_or_default())
            }
            Self::Among(_) | Self::Off => None,
        }
    }
}

/// The machine that sends a file to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    ControlMachine,
    Host(HostId),
}

/// Hosts that are near each other, and how far one file has come among them.
#[derive(Clone, Debug)]
pub struct RelayGroup {
    /// The hosts that have no sender yet, at most.
    waiting_max: usize,
    /// The hosts that can send the file.
    servers: BTreeMap<HostId, RelayHost>,
    /// The hosts that receive the file from the control machine now.
    sent_from_control: usize,
    failures: u32,
    has_succeeded: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct RelayHost {
    /// The hosts that receive the file from this one now.
    receivers: usize,
    /// The failures since its last success.
    failures: u32,
}

impl RelayHost {
    fn is_usable(self) -> bool {
        self.failures < FAILURES_MAX
    }
}

impl RelayGroup {
    /// A group of this many hosts, none of which has the file.
    pub fn new(hosts: usize) -> Self {
        Self {
            waiting_max: hosts,
            servers: BTreeMap::new(),
            sent_from_control: 0,
            failures: 0,
            has_succeeded: false,
        }
    }

    /// Chooses the machine that sends the file to the next host. `None` if the host has to wait until
    /// a transfer of the group ends: at least one is then under way.
    pub fn choose(&mut self) -> Option<Sender> {
        let sender = self.next_sender()?;
        self.waiting_max = self.waiting_max.saturating_sub(1);
        match &sender {
            Sender::ControlMachine => self.sent_from_control += 1,
            Sender::Host(host) => {
                if let Some(server) = self.servers.get_mut(host) {
                    server.receivers += 1;
                }
            }
        }
        Some(sender)
    }

    fn next_sender(&self) -> Option<Sender> {
        if self.has_given_up() {
            return Some(Sender::ControlMachine);
        }
        let usable = || self.servers.iter().filter(|(_, server)| server.is_usable());
        let free = usable().filter(|(_, server)| server.receivers < RECEIVERS_MAX);
        if let Some((host, _)) = free.min_by_key(|(_, server)| server.receivers) {
            return Some(Sender::Host(host.clone()));
        }
        let is_under_way = self.sent_from_control > 0 || usable().next().is_some();
        (!is_under_way).then_some(Sender::ControlMachine)
    }

    fn has_given_up(&self) -> bool {
        self.failures >= GROUP_FAILURES_MAX && !self.has_succeeded
    }

    /// Records that the control machine sends the file to a host that could not receive it from
    /// another host.
    pub fn begin_from_control(&mut self) {
        self.sent_from_control += 1;
    }

    /// Records the end of a transfer.
    pub fn end(&mut self, sender: &Sender, has_received: bool) {
        let Sender::Host(host) = sender else {
            self.sent_from_control = self.sent_from_control.saturating_sub(1);
            return;
        };
        self.has_succeeded |= has_received;
        self.failures += u32::from(!has_received);
        if let Some(server) = self.servers.get_mut(host) {
            server.receivers = server.receivers.saturating_sub(1);
            server.failures = if has_received { 0 } else { server.failures + 1 };
        }
    }

    /// Takes back a failure for which the sender was not to blame, because the host could not receive
    /// the file from the control machine either.
    pub fn forgive(&mut self, sender: &HostId) {
        self.failures = self.failures.saturating_sub(1);
        if let Some(server) = self.servers.get_mut(sender) {
            server.failures = server.failures.saturating_sub(1);
        }
    }

    /// Whether a host that receives the file should send it to others afterwards.
    pub fn needs_servers(&self) -> bool {
        self.waiting_max > 0 && !self.has_given_up()
    }

    /// Records that a host can send the file from now on.
    pub fn add_server(&mut self, host: HostId) {
        self.servers.entry(host).or_default();
    }

    /// Records that a host that has the file cannot send it.
    pub fn refuse_server(&mut self) {
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A transfer to the host with this number.
    struct Running {
        sender: Sender,
        host: usize,
    }

    /// The transfers to all hosts of a group.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Course {
        from_control: usize,
        from_hosts: usize,
        /// The most transfers after each other.
        rounds: usize,
    }

    /// Sends a file to all hosts of a group. Each round ends all transfers of the round before;
    /// `succeeds` decides whether one from a host succeeds.
    fn send_to_all(hosts: usize, succeeds: impl Fn(&HostId, usize) -> bool) -> Course {
        let mut group = RelayGroup::new(hosts);
        let mut waiting: VecDeque<_> = (0..hosts).collect();
        let mut running = Vec::<Running>::new();
        let mut course = Course::default();
        while !waiting.is_empty() || !running.is_empty() {
            while let Some(host) = waiting.front().copied() {
                let Some(sender) = group.choose() else { break };
                waiting.pop_front();
                running.push(Running { sender, host });
            }
            assert!(
                !running.is_empty(),
                "{waiting:?} wait for nothing: {group:?}"
            );
            course.rounds += 1;
            for ended in std::mem::take(&mut running) {
                let has_received = match &ended.sender {
                    Sender::ControlMachine => true,
                    Sender::Host(host) => succeeds(host, ended.host),
                };
                group.end(&ended.sender, has_received);
                if !has_received {
                    group.begin_from_control();
                    let sender = Sender::ControlMachine;
                    running.push(Running { sender, ..ended });
                    continue;
                }
                match ended.sender {
                    Sender::ControlMachine => course.from_control += 1,
                    Sender::Host(_) => course.from_hosts += 1,
                }
                if group.needs_servers() {
                    group.add_server(format!("h{}", ended.host).into());
                }
            }
        }
        course
    }

    #[test]
    fn control_machine_sends_to_one_host_and_the_others_multiply() {
        let course = send_to_all(50, |_, _| true);
        assert_eq!((course.from_control, course.from_hosts), (1, 49));
        // 1, 3, 9, 27, and the rest.
        assert_eq!(course.rounds, 5);
    }

    #[test]
    fn single_host_gets_the_file_from_the_control_machine_and_serves_none() {
        let mut group = RelayGroup::new(1);
        assert_eq!(group.choose(), Some(Sender::ControlMachine));
        assert!(!group.needs_servers());
    }

    #[test]
    fn hosts_that_cannot_reach_each_other_get_the_file_from_the_control_machine() {
        let course = send_to_all(50, |_, _| false);
        assert_eq!((course.from_control, course.from_hosts), (50, 0));
        assert!(course.rounds <= 8, "{course:?}");
    }

    #[test]
    fn host_that_fails_is_not_asked_again() {
        let first = HostId::from("h0");
        let course = send_to_all(50, |sender, _| *sender != first);
        assert!(
            course.from_control <= 1 + FAILURES_MAX as usize + 1,
            "{course:?}"
        );
        assert_eq!(course.from_control + course.from_hosts, 50);
    }

    #[test]
    fn sender_is_not_to_blame_for_hosts_that_cannot_receive() {
        let mut group = RelayGroup::new(9);
        assert_eq!(group.choose(), Some(Sender::ControlMachine));
        group.end(&Sender::ControlMachine, true);
        let first = HostId::from("h0");
        group.add_server(first.clone());
        for _ in 0..=GROUP_FAILURES_MAX {
            let sender = group.choose().expect("a sender");
            assert_eq!(sender, Sender::Host(first.clone()));
            group.end(&sender, false);
            group.forgive(&first);
        }
    }

    #[test]
    fn group_without_servers_asks_the_control_machine_again() {
        let mut group = RelayGroup::new(3);
        assert_eq!(group.choose(), Some(Sender::ControlMachine));
        assert_eq!(group.choose(), None);
        group.end(&Sender::ControlMachine, false);
        assert_eq!(group.choose(), Some(Sender::ControlMachine));
        group.end(&Sender::ControlMachine, true);
        group.refuse_server();
        assert_eq!(group.choose(), Some(Sender::ControlMachine));
    }

    #[test]
    fn hosts_with_the_same_label_are_one_group() {
        let labels = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        let near = Relaying::Among(Some("zone".to_owned()));
        assert_eq!(near.group_of(&labels("a"), 1 << 20).as_deref(), Some("a"));
        assert_eq!(near.group_of(&labels("a"), 1000), None);
        let all = Relaying::Among(None);
        assert_eq!(all.group_of(&labels("a"), 1 << 20).as_deref(), Some(""));
        assert_eq!(Relaying::Off.group_of(&labels("a"), 1 << 20), None);
    }
}
