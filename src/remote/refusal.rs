//! What ssh's messages mean. Its exit status is 255 for all of them.

use super::pipes::last_line;

/// Why ssh did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    HostKeyUnknown,
    HostKeyChanged,
    Authentication,
    Misconfigured,
    Unreachable,
    Busy,
}

impl Refusal {
    /// Reads all that ssh and the ssh of its jump hosts said. The order matters: a jump host's refusal is followed by
    /// complaints about a closed connection.
    pub(super) fn of(log: &str) -> Self {
        const SIGNS: [(Refusal, &[&str]); 5] = [
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
                ],
            ),
            (
                Refusal::Busy,
                &[
                    "kex_exchange_identification: ",
                    "banner exchange: ",
                    "Exceeded MaxStartups",
                    "Not allowed at this time",
                ],
            ),
        ];
        SIGNS
            .into_iter()
            .find(|(refusal, signs)| {
                signs.iter().any(|sign| log.contains(sign))
                    // A server that is silent during the banner is out of reach; one that hangs up is busy.
                    && !(*refusal == Refusal::Busy && log.contains("timed out"))
            })
            .map_or(Refusal::Unreachable, |(refusal, _)| refusal)
    }

    /// How often it is worth a try.
    pub(super) fn tries_max(self) -> u32 {
        match self {
            Refusal::Unreachable => 2,
            Refusal::Busy => 20,
            _ => 1,
        }
    }

    /// The line of the log that tells a person most.
    pub(super) fn gist(self, log: &str) -> Option<&str> {
        let telling = match self {
            Refusal::HostKeyChanged => log.lines().find(|line| line.starts_with("Offending ")),
            Refusal::Authentication => log.lines().find(|line| line.contains("Permission denied (")),
            Refusal::Misconfigured => log.lines().find(|line| line.contains(": ")),
            _ => None,
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
    }
}
