//! Where a unit runs.

/// The host of a unit, as the user names it.
#[derive(Clone, Copy, Debug)]
pub struct UnitSite<'a> {
    /// The host in comments, and for `scp`: `deploy@web1`.
    pub host: &'a str,
    /// Whether it is this machine, whose files can become the artifact as they are.
    pub is_local: bool,
}
