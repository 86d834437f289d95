//! The output of a host before a script starts: greetings of the login shell, and markers.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::sudo_dialog::Sign;

/// Printed when the login shell runs the command line.
pub(super) const SHELL_MARK: &str = "ship-shell";
/// Printed before the process id of the shell that becomes sudo, if ship may have to end it.
pub(super) const PROCESS_MARK: &str = "ship-process ";
/// Printed by the process of root that reads the script, if ship waits for it.
pub(super) const ROOT_MARK: &str = "ship-root";
/// Printed when the script starts, after sudo if it is used.
pub(super) const SCRIPT_MARK: &str = "ship-script";
/// How much of the output before the script is kept.
const BEFORE_BYTES_MAX: usize = 64 << 10;

/// Separates the output before the script from the script's own.
#[derive(Debug)]
pub(super) struct PreambleReader {
    began: Instant,
    before: Vec<u8>,
    shell_after: Option<Duration>,
    root_after: Option<Duration>,
    script_after: Option<Duration>,
    /// The dialog that waits for the process and for root.
    dialog: Option<UnboundedSender<Sign>>,
    /// Whether the shell had started before the script was sent, so that the script does not show how
    /// long that takes.
    is_running: bool,
}

impl Default for PreambleReader {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            before: Vec::new(),
            shell_after: None,
            root_after: None,
            script_after: None,
            dialog: None,
            is_running: false,
        }
    }
}

impl PreambleReader {
    /// For a script in a shell that runs already, as root if the host asks for it.
    pub(super) fn in_running_shell() -> Self {
        Self {
            shell_after: Some(Duration::ZERO),
            root_after: Some(Duration::ZERO),
            is_running: true,
            ..Self::default()
        }
    }

    /// Reports the process of sudo and that of root to a dialog.
    pub(super) fn report_to(&mut self, dialog: UnboundedSender<Sign>) {
        self.dialog = Some(dialog);
    }

    /// Adds a piece of output and returns the part that belongs to the script.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.has_script() {
            return bytes.to_vec();
        }
        self.before.extend_from_slice(bytes);
        if self.shell_after.is_none()
            && let Some(rest) = self.cut_at(SHELL_MARK)
        {
            self.shell_after = Some(self.began.elapsed());
            self.before.extend_from_slice(&rest);
        }
        if self.shell_after.is_some() {
            self.report_signs();
        }
        if self.shell_after.is_some()
            && let Some(own) = self.cut_at(SCRIPT_MARK)
        {
            self.script_after = Some(self.began.elapsed());
            return own;
        }
        let surplus = self.before.len().saturating_sub(BEFORE_BYTES_MAX);
        self.before.drain(..surplus);
        Vec::new()
    }

    fn report_signs(&mut self) {
        let Some(dialog) = self.dialog.clone() else {
            return;
        };
        // A dialog that has ended does not need them.
        if let Some(process) = self.cut_process() {
            let _ = dialog.send(Sign::Process(process));
        }
        if self.root_after.is_none()
            && let Some(rest) = self.cut_at(ROOT_MARK)
        {
            self.root_after = Some(self.began.elapsed());
            self.before.extend_from_slice(&rest);
            let _ = dialog.send(Sign::Root);
        }
    }

    /// Removes the line with the process id.
    fn cut_process(&mut self) -> Option<u32> {
        let mark = PROCESS_MARK.as_bytes();
        let mut windows = self.before.windows(mark.len());
        let start = windows.position(|window| window == mark)?;
        let length = self.before[start..]
            .iter()
            .position(|byte| *byte == b'\n')?;
        let line: Vec<_> = self.before.drain(start..=start + length).collect();
        let id = std::str::from_utf8(&line[mark.len()..length]).ok()?;
        id.parse().ok()
    }

    /// Removes a marker and everything after it, and returns what followed the marker.
    fn cut_at(&mut self, mark: &str) -> Option<Vec<u8>> {
        let line = format!("{mark}\n");
        let at = self
            .before
            .windows(line.len())
            .position(|window| window == line.as_bytes())?;
        let rest = self.before.split_off(at);
        Some(rest[line.len()..].to_vec())
    }

    /// Whether the login shell has run the command line.
    pub(super) fn has_shell(&self) -> bool {
        self.shell_after.is_some()
    }

    /// Whether a process of root reads the script.
    pub(super) fn has_root(&self) -> bool {
        self.root_after.is_some()
    }

    /// Whether the script has started.
    pub(super) fn has_script(&self) -> bool {
        self.script_after.is_some()
    }

    /// How long the login shell took to start, and then sudo; `None` until the script has
    /// started, and in a shell that ran already.
    pub(super) fn delays(&self) -> Option<(Duration, Duration)> {
        if self.is_running {
            return None;
        }
        let (shell, script) = (self.shell_after?, self.script_after?);
        let root = self.root_after.unwrap_or(script);
        Some((shell, root.saturating_sub(shell)))
    }

    /// What the host printed before the script started.
    pub(super) fn before(&self) -> String {
        String::from_utf8_lossy(&self.before).into_owned()
    }
}
