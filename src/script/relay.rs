//! Lets hosts receive files from each other, over their own sshd.

use std::time::Duration;

use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK, line_count};

/// How long a host serves others. After that, they receive files from the control machine.
const SERVE_DURATION: Duration = Duration::from_hours(1);
/// How long a host waits for an answer of the host that sends.
const SENDER_WAIT: Duration = Duration::from_secs(10);

/// A host that sends a file to another one, and the key with which it can be asked.
#[derive(Clone, Copy)]
pub struct RelayedFrom<'a> {
    pub server: &'a RelayServer,
    /// The private key of the rollout, in the format of OpenSSH.
    pub private_key: &'a str,
}

/// A host that sends files to others, and how they reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayServer {
    /// Its name in the inventory, for messages.
    pub host: String,
    pub address: String,
    pub port: u16,
    /// The user whose `authorized_keys` has the key of the rollout.
    pub user: String,
    /// The name by which `host_keys` lists it.
    pub name: String,
    /// The keys of the host that this machine trusts, in the format of `known_hosts`.
    pub host_keys: String,
}

impl RelayedFrom<'_> {
    /// The lines that the script reads: the key, and the keys of the host.
    pub(super) fn input(&self) -> impl Iterator<Item = u8> {
        let keys = [self.private_key, &self.server.host_keys];
        keys.concat().into_bytes().into_iter()
    }

    /// Adds the values of `from_host.sh`.
    pub(super) fn set(&self, text: Text) -> Text {
        let server = self.server;
        text.set("KEY_LINES", line_count(self.private_key))
            .set("HOST_KEYS_LINES", line_count(&server.host_keys))
            .set("SENDER", &server.host)
            .set("SENDER_ADDRESS", &server.address)
            .set("SENDER_PORT", server.port)
            .set("SENDER_USER", &server.user)
            .set("SENDER_NAME", &server.name)
            .set("SENDER_WAIT", SENDER_WAIT.as_secs())
    }
}

/// The directory in which a host keeps the files for other hosts, while [`serve`] runs there. `relay`
/// is a name that belongs to one rollout, of letters and digits.
pub fn relay_dir(context: &HostContext, relay: &str) -> String {
    format!("{}/relay/{relay}", context.root())
}

/// Lets other hosts receive the files in [`relay_dir`] from this one with the key of the rollout, until
/// the reader disconnects. The script prints a line that [`read_serving`] parses; if it cannot serve,
/// it ends with a reply for [`read_reply`](super::read_reply).
///
/// `silence` is how long it waits for a heartbeat of the reader.
pub fn serve(context: &HostContext, relay: &str, public_key: &str, silence: Duration) -> Script {
    let send = Text::empty().add(include_str!("sh/send.sh")).into_text();
    Text::changing(context, "relay")
        .marking_proven(context)
        .set("RELAY", relay)
        .set("PUBLIC_KEY", public_key)
        .set("SEND", send)
        .set("SERVE_S", SERVE_DURATION.as_secs())
        .set("SILENCE_S", silence.as_secs())
        .add(include_str!("sh/serve.sh"))
        .script(Input::default(), SERVE_DURATION + LOCK_WAIT + WORK * 3)
}

/// The user as whom other hosts log in, from a line of [`serve`]; `None` for any other line.
pub fn read_serving(line: &str) -> Option<&str> {
    line.strip_prefix("serving=")
}
