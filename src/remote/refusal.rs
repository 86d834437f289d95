//! What ssh's messages mean. Its exit status is 255 for all of them.

use super::pipes::last_line;

/// What a jump host's ssh says when the host behind it cannot be reached; the more telling first.
const FORWARDING: [&str; 2] = ["open failed: ", "tdio forwarding"];

/// Why ssh did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    HostKeyUnknown,
    HostKeyChanged,
    Authentication,
    Misconfigured,
    Unreachable,
    /// Before it said who it is.
    Busy,
    /// After that: it may have begun to look at a key.
    HungUp,
}

impl Refusal {
    /// Reads all that ssh and the ssh of its jump hosts said. The order matters: a jump host's refusal is followed by
    /// complaints about a closed connection.
    pub(super) fn of(log: &str) -> Self {
        const SIGNS: [(Refusal, &[&str]); 7] = [
            (Refusal::HostKeyChanged, &["IDENTIFICATION HAS CHANGED", "REVOKED HOST KEY", "is marked as revoked"]),
            (Refusal::HostKeyUnknown, &["Host key verification failed", "host key is known for"]),
            (Refusal::Authentication, &["Permission denied (", "Too many authentication failures"]),
            (
                Refusal::Misconfigured,
                &[
                    "Name or service not known",
                    "nodename nor servname",
                    "No address associated",
                    "Bad configuration option",
                    "Can't open user config file",
                    "Bad owner or permissions",
                    "bad configuration options",
                    "hostname contains invalid characters",
                    "Unable to negotiate",
                    "Bad port",
                    "command-line line 0",
                    // The sshd of a jump host has `AllowTcpForwarding no`, or the like.
                    "open failed: administratively prohibited",
                ],
            ),
            // The jump host is well, the host behind it is not.
            (Refusal::Unreachable, &FORWARDING),
            (
                Refusal::Busy,
                &[
                    "kex_exchange_identification: ",
                    "banner exchange: ",
                    "Exceeded MaxStartups",
                    "Not allowed at this time",
                ],
            ),
            (Refusal::HungUp, &["Connection reset by ", "Connection closed by ", "ssh_dispatch_run_fatal: "]),
        ];
        SIGNS
            .into_iter()
            .find(|(refusal, signs)| {
                signs.iter().any(|sign| log.contains(sign))
                    // A server that is silent during the banner is out of reach; one that hangs up is busy.
                    && !(matches!(refusal, Refusal::Busy | Refusal::HungUp) && log.contains("timed out"))
            })
            .map_or(Refusal::Unreachable, |(refusal, _)| refusal)
    }

    /// How often it is worth a try.
    pub(super) fn tries_max(self) -> usize {
        match self {
            Refusal::Unreachable => 2,
            Refusal::HungUp => 5,
            Refusal::Busy => 20,
            _ => 1,
        }
    }

    /// The line of the log that tells a person most.
    pub(super) fn gist(self, log: &str) -> Option<&str> {
        let with = |sign: &str| log.lines().find(|line| line.contains(sign));
        let from = |sign: &&str| with(sign).and_then(|line| line.get(line.find(sign)?..));
        let telling = match self {
            Refusal::HostKeyChanged => log.lines().find(|line| line.starts_with("Offending ")),
            Refusal::Authentication => with("Permission denied ("),
            Refusal::Misconfigured => FORWARDING.iter().find_map(from).or_else(|| with(": ")),
            Refusal::Unreachable => FORWARDING.iter().find_map(from),
            Refusal::HostKeyUnknown | Refusal::Busy | Refusal::HungUp => None,
        };
        telling.map(str::trim).or_else(|| last_line(log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_understood() {
        for (log, refusal) in [
            ("Host key verification failed.", Refusal::HostKeyUnknown),
            (
                "No ED25519 host key is known for [127.0.0.1]:22 and you have requested strict checking.\r\n\
                 Host key verification failed.",
                Refusal::HostKeyUnknown,
            ),
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 key in /x/known_hosts:3\n\
                 Host key verification failed.",
                Refusal::HostKeyChanged,
            ),
            ("deploy@web1: Permission denied (publickey).", Refusal::Authentication),
            ("ssh: connect to host web1 port 22: Permission denied", Refusal::Unreachable),
            ("ssh: Could not resolve hostname web1: Name or service not known", Refusal::Misconfigured),
            ("ssh: Could not resolve hostname web1: Temporary failure in name resolution", Refusal::Unreachable),
            ("ssh: connect to host 127.0.0.1 port 9: Connection refused", Refusal::Unreachable),
            ("kex_exchange_identification: read: Connection reset by peer", Refusal::Busy),
            ("kex_exchange_identification: Connection closed by remote host", Refusal::Busy),
            ("Connection timed out during banner exchange", Refusal::Unreachable),
            ("Connection reset by 127.0.0.1 port 2222", Refusal::HungUp),
            ("Connection closed by 127.0.0.1 port 2222", Refusal::HungUp),
            ("ssh_dispatch_run_fatal: Connection to 127.0.0.1 port 22: Broken pipe", Refusal::HungUp),
            (
                "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n\
                 kex_exchange_identification: Connection closed by remote host\n\
                 Connection closed by UNKNOWN port 65535",
                Refusal::Unreachable,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\n\
                 open failed: administratively prohibited: open failed",
                Refusal::Misconfigured,
            ),
            (
                "jump@bastion: Permission denied (publickey).\n\
                 kex_exchange_identification: Connection closed by remote host\n\
                 Connection closed by UNKNOWN port 65535",
                Refusal::Authentication,
            ),
        ] {
            assert_eq!(Refusal::of(log), refusal, "{log}");
        }
    }

    #[test]
    fn of_many_lines_the_telling_one_is_shown() {
        let log = "@@@@\nOffending ED25519 key in /x/known_hosts:3\nHost key verification failed.\r\n\n";
        assert_eq!(Refusal::HostKeyChanged.gist(log), Some("Offending ED25519 key in /x/known_hosts:3"));
        assert_eq!(Refusal::HostKeyUnknown.gist(log), Some("Host key verification failed."));
        assert_eq!(Refusal::Busy.gist("\n"), None);
        let log =
            "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\nConnection closed";
        assert_eq!(Refusal::Unreachable.gist(log), Some("open failed: connect failed: No route to host"));
        assert_eq!(Refusal::Unreachable.gist("Connection to web1 timed out\n"), Some("Connection to web1 timed out"));
    }
}
