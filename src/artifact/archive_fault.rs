//! Why an archive is rejected.

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is truncated, or not an archive.
    Broken(String),
    /// It exceeds a limit, or different tar programs would read it differently.
    Refused(String),
    /// An entry that is not allowed. The message is "contains `entry`, why".
    Unsafe {
        entry: String,
        why: String,
    },
    Empty,
}

/// Makes a name printable for messages.
pub(super) fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}
