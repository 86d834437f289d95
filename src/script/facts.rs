//! What a host reports about itself when it is checked.

/// What was found on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Programs that are needed and not there.
    pub missing: Vec<String>,
    /// The user that runs the scripts; the systemd driver needs `root`.
    pub user: String,
    /// The state of systemd (`running`, `degraded`, …); `None` where it does not run.
    pub systemd: Option<String>,
    /// Other reasons why a deploy would fail.
    pub problems: Vec<String>,
    /// What may cause a failure later.
    pub warnings: Vec<String>,
}
