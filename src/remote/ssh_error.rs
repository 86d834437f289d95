//! Classifies the messages of ssh, whose exit status is 255 for every failure.
//!
//! ssh ends each line of its log with a carriage return. A line without one comes from
//! elsewhere: the server's banner, PAM on the server, or the user's `ProxyCommand`. ship shows such
//! lines, but classifies only by ssh's own.

use super::sanitize::clean_lines;

/// The parts of ssh's messages that identify a refusal. The order matters, because messages
/// about a closed connection follow a refusal by a jump host.
const SIGNS: [(SshRefusal, &[&str]); 7] = [
    (
        SshRefusal::HostKeyChanged,
        &[
            "IDENTIFICATION HAS CHANGED",
            "REVOKED HOST KEY",
            "is marked as revoked",
        ],
    ),
    (
        SshRefusal::HostKeyUnknown,
        &["Host key verification failed", "host key is known for"],
    ),
    (
        SshRefusal::Authentication,
        &[
            "Permission denied (",
            "Too many authentication failures",
            "No supported authentication methods",
        ],
    ),
    (
        SshRefusal::Misconfigured,
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
            // For example, sshd on the jump host has `AllowTcpForwarding no`.
            "open failed: administratively prohibited",
        ],
    ),
    // The jump host works, the host behind it does not.
    (SshRefusal::Unreachable, &FORWARDING),
    (
        SshRefusal::Busy,
        &[
            "kex_exchange_identification: ",
            "banner exchange: ",
            "Exceeded MaxStartups",
            "Not allowed at this time",
        ],
    ),
    (
        SshRefusal::HungUp,
        &[
            "Connection reset by ",
            "Connection closed by ",
            "ssh_dispatch_run_fatal: ",
        ],
    ),
];

/// Messages of a jump host's ssh about an unreachable host behind it, the most specific first.
const FORWARDING: [&str; 2] = ["open failed: ", "tdio forwarding"];

/// Why ssh did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SshRefusal {
    HostKeyUnknown,
    HostKeyChanged,
    Authentication,
    Misconfigured,
    Unreachable,
    /// The user's `ProxyCommand` printed something and exited before the login.
    Proxy,
    /// The server printed something and closed the connection: it rejects all users, or this
    /// one.
    LoginClosed,
    /// The server closed the connection before it sent its version.
    Busy,
    /// The server closed the connection later: it may have started to check a key.
    HungUp,
}

impl SshRefusal {
    /// Classifies the log of ssh and of the ssh of its jump hosts.
    pub(super) fn classify(log: &str) -> Self {
        let own: Vec<_> = own_lines(log).collect();
        let has = |sign: &str| own.iter().any(|line| line.contains(sign));
        let refusal = SIGNS
            .into_iter()
            .find(|(refusal, signs)| {
                signs.iter().any(|sign| has(sign))
                    // A server that sends no banner in time is unreachable; one that closes the
                    // connection is busy.
                    && !(matches!(refusal, SshRefusal::Busy | SshRefusal::HungUp) && has("timed out"))
            })
            .map_or(SshRefusal::Unreachable, |(refusal, _)| refusal);
        let has_foreign_output = !clean_lines(foreign_lines(log)).is_empty();
        match refusal {
            SshRefusal::Busy | SshRefusal::HungUp if has_foreign_output && has(BEHIND_PROXY) => {
                SshRefusal::Proxy
            }
            SshRefusal::HungUp if has_foreign_output => SshRefusal::LoginClosed,
            // Behind a proxy, an overloaded server is probably not the reason. If it is, a few
            // attempts suffice.
            SshRefusal::Busy if has(BEHIND_PROXY) => SshRefusal::HungUp,
            refusal => refusal,
        }
    }

    /// The limit of attempts to log in.
    pub(super) fn tries_max(self) -> usize {
        match self {
            SshRefusal::Unreachable | SshRefusal::Proxy => 2,
            SshRefusal::HungUp | SshRefusal::LoginClosed => 5,
            SshRefusal::Busy => 20,
            _ => 1,
        }
    }

    /// The relevant lines of ssh, and what others printed, on one line.
    pub(super) fn summary(self, log: &str) -> String {
        let own: Vec<_> = own_lines(log).collect();
        let with = |sign: &str| own.iter().find(|line| line.contains(sign)).copied();
        let from = |sign: &&str| with(sign).and_then(|line| line.get(line.find(sign)?..));
        let relevant = match self {
            SshRefusal::HostKeyChanged => with("Offending "),
            SshRefusal::Misconfigured => FORWARDING.iter().find_map(from).or_else(|| with(": ")),
            SshRefusal::Unreachable => FORWARDING.iter().find_map(from),
            _ => None,
        };
        let last = || {
            own.iter()
                .rev()
                .find(|line| !line.trim().is_empty())
                .copied()
        };
        let all_foreign: Vec<_> = foreign_lines(log)
            .filter(|line| !line.trim().is_empty())
            .collect();
        let foreign = |count: usize| {
            all_foreign[all_foreign.len().saturating_sub(count)..]
                .iter()
                .copied()
        };
        match self {
            SshRefusal::Proxy | SshRefusal::LoginClosed => clean_lines(foreign(4)),
            SshRefusal::Authentication => {
                let signs = own
                    .iter()
                    .copied()
                    .filter(|line| AUTHENTICATION.iter().any(|sign| line.contains(sign)));
                clean_lines(foreign(2).chain(signs))
            }
            _ => clean_lines(foreign(2).chain(relevant.or_else(last))),
        }
    }
}

/// ssh's name for the other end of a `ProxyCommand`.
const BEHIND_PROXY: &str = "UNKNOWN port 65535";

/// Messages of ssh about keys that it cannot use, and about the end of the login.
const AUTHENTICATION: [&str; 8] = [
    "Load key ",
    "no such identity",
    "sign_and_send_pubkey",
    "Permission denied (",
    "Received disconnect from ",
    "agent refused operation",
    "Could not open a connection to your authentication agent",
    "No more authentication methods",
];

fn own_lines(log: &str) -> impl Iterator<Item = &str> {
    log.split('\n').filter_map(|line| line.strip_suffix('\r'))
}

fn foreign_lines(log: &str) -> impl Iterator<Item = &str> {
    log.split('\n').filter(|line| !line.ends_with('\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGS: [(&str, SshRefusal); 17] = [
        ("Host key verification failed.", SshRefusal::HostKeyUnknown),
        (
            "No ED25519 host key is known for [127.0.0.1]:22 and you have requested strict \
             checking.\r\n\
             Host key verification failed.",
            SshRefusal::HostKeyUnknown,
        ),
        (
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 \
             key in /x/known_hosts:3\n\
             Host key verification failed.",
            SshRefusal::HostKeyChanged,
        ),
        (
            "deploy@web1: Permission denied (publickey).",
            SshRefusal::Authentication,
        ),
        (
            "ssh: connect to host web1 port 22: Permission denied",
            SshRefusal::Unreachable,
        ),
        (
            "ssh: Could not resolve hostname web1: Name or service not known",
            SshRefusal::Misconfigured,
        ),
        (
            "ssh: Could not resolve hostname web1: Temporary failure in name resolution",
            SshRefusal::Unreachable,
        ),
        (
            "ssh: connect to host 127.0.0.1 port 9: Connection refused",
            SshRefusal::Unreachable,
        ),
        (
            "kex_exchange_identification: read: Connection reset by peer",
            SshRefusal::Busy,
        ),
        (
            "kex_exchange_identification: Connection closed by remote host",
            SshRefusal::Busy,
        ),
        (
            "Connection timed out during banner exchange",
            SshRefusal::Unreachable,
        ),
        (
            "Connection reset by 127.0.0.1 port 2222",
            SshRefusal::HungUp,
        ),
        (
            "Connection closed by 127.0.0.1 port 2222",
            SshRefusal::HungUp,
        ),
        (
            "ssh_dispatch_run_fatal: Connection to 127.0.0.1 port 22: Broken pipe",
            SshRefusal::HungUp,
        ),
        (
            "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding \
             failed\r\n\
             kex_exchange_identification: Connection closed by remote host\n\
             Connection closed by UNKNOWN port 65535",
            SshRefusal::Unreachable,
        ),
        (
            "kex_exchange_identification: Connection closed by remote host\n\
             open failed: administratively prohibited: open failed",
            SshRefusal::Misconfigured,
        ),
        (
            "jump@bastion: Permission denied (publickey).\n\
             kex_exchange_identification: Connection closed by remote host\n\
             Connection closed by UNKNOWN port 65535",
            SshRefusal::Authentication,
        ),
    ];

    #[test]
    fn ssh_refusal_is_classified_by_the_log() {
        for (log, refusal) in LOGS {
            let log = format!("{}\n", log.replace('\r', "")).replace('\n', "\r\n");
            assert_eq!(SshRefusal::classify(&log), refusal, "{log}");
        }
    }

    #[test]
    fn ssh_refusal_shows_foreign_lines_but_ignores_them_in_the_classification() {
        let closed = "kex_exchange_identification: Connection closed by remote host\r\nConnection \
                      closed by UNKNOWN port 65535\r\n";
        for (log, refusal, words) in [
            (
                "An error occurred (ExpiredTokenException): The token has expired\n\
                 banner exchange: Connection to UNKNOWN port 65535: Broken pipe\r\n",
                SshRefusal::Proxy,
                "An error occurred (ExpiredTokenException): The token has expired",
            ),
            (
                &format!("\u{1b}[31msh: 1: exec: cloudflared: not found\n{closed}"),
                SshRefusal::Proxy,
                "sh: 1: exec: cloudflared: not found",
            ),
            (
                closed,
                SshRefusal::HungUp,
                "Connection closed by UNKNOWN port 65535",
            ),
            (
                "System is booting up.\n\nConnection closed by 10.0.0.1 port 22\r\n",
                SshRefusal::LoginClosed,
                "System is booting up.",
            ),
            (
                "Legal: Permission denied (to strangers)\nReceived disconnect from 10.0.0.1 port \
                 22:2: Too many authentication failures\r\n\
                 Disconnected from 10.0.0.1 port 22\r\n",
                SshRefusal::Authentication,
                "Legal: Permission denied (to strangers); Received disconnect from 10.0.0.1 port \
                 22:2: Too many authentication failures",
            ),
            (
                "@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\r\nThis private key will be \
                 ignored.\r\n\
                 Load key \"/x/id\": bad permissions\r\nme@web1: Permission denied \
                 (publickey).\r\n",
                SshRefusal::Authentication,
                "Load key \"/x/id\": bad permissions; me@web1: Permission denied (publickey).",
            ),
            (
                "Host key verification failed\nssh: connect to host web1 port 22: Connection \
                 refused\r\n",
                SshRefusal::Unreachable,
                "Host key verification failed; ssh: connect to host web1 port 22: Connection \
                 refused",
            ),
        ] {
            assert_eq!(SshRefusal::classify(log), refusal, "{log}");
            assert_eq!(refusal.summary(log), words, "{log}");
        }
    }

    #[test]
    fn ssh_refusal_summary_picks_the_relevant_line() {
        let log = "@@@@\r\nOffending ED25519 key in /x/known_hosts:3\r\nHost key verification \
                   failed.\r\n\r\n";
        assert_eq!(
            SshRefusal::HostKeyChanged.summary(log),
            "Offending ED25519 key in /x/known_hosts:3"
        );
        assert_eq!(
            SshRefusal::HostKeyUnknown.summary(log),
            "Host key verification failed."
        );
        assert_eq!(SshRefusal::Busy.summary("\r\n"), "");
        let log = "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding \
                   failed\r\nConnection closed\r\n";
        assert_eq!(
            SshRefusal::Unreachable.summary(log),
            "open failed: connect failed: No route to host"
        );
        assert_eq!(
            SshRefusal::Unreachable.summary("Connection to web1 timed out\r\n"),
            "Connection to web1 timed out"
        );
    }
}
