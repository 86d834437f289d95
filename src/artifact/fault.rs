//! Why an archive is refused.

/// Why an archive is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has no end, or is not an archive.
    Broken(String),
    /// It exceeds a limit, or some tars would read it differently.
    Refused(String),
    /// An entry that is not allowed; messages read "holds `entry`, why".
    Unsafe {
        entry: String,
        why: String,
    },
    Empty,
}

/// Makes a name printable for messages.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}
