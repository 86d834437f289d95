//! What a check of a host reports.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Required programs that are not installed.
    pub missing: Vec<String>,
    /// The user who runs the scripts; the systemd driver requires `root`.
    pub user: String,
    /// The state of systemd (`running`, `degraded`, …); `None` if it is not running.
    pub systemd: Option<String>,
    /// Other reasons why a deploy would fail.
    pub problems: Vec<String>,
    /// The shared directories and their sizes in KiB; `None` for a size that is not known.
    pub shared_dirs: Vec<(String, Option<u64>)>,
    /// The size of all releases in KiB, if there are any and it is known.
    pub releases_kib: Option<u64>,
    /// Possible causes of later failures.
    pub warnings: Vec<String>,
}
