//! `ship cron`: collects what a crontab or systemd unit needs. Makes no changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Internal, Refused};
use crate::app::sudo_password::sudo_password;
use crate::config::Overrides;
use crate::core::policy::unattended::RunMode;
use crate::system::accounts;

/// How the job runs.
const UNATTENDED: RunMode = RunMode {
    unattended: true,
    force: false,
};

/// When to deploy, and which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRequest {
    pub hour: i8,
    pub minute: i8,
    /// A version or channel that overrides the playbook's.
    pub version: Option<String>,
    /// The address to which the output is mailed.
    pub mail: Option<String>,
}

/// The contents of a crontab or of systemd units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronJob {
    pub service: String,
    pub fleet: String,
    /// The command, with absolute paths because the working directory is not known.
    pub command: Vec<String>,
    pub hour: i8,
    pub minute: i8,
    /// The time zone of this machine; `None` if it has no name.
    pub zone: Option<String>,
    pub user: String,
    pub mail: Option<String>,
}

impl CronJob {
    /// `page on production`.
    pub fn subject(&self) -> String {
        format!("{} on {}", self.service, self.fleet)
    }
}

/// Builds the job of a nightly deploy.
///
/// # Errors
/// If the files are invalid, or a path cannot be written in a crontab.
pub fn cron(env: &Arc<dyn Environment>, request: CronRequest) -> Result<CronJob, Error> {
    let overrides = Overrides {
        version: request.version.clone(),
        set: Vec::new(),
    };
    let files = env.read_files(&overrides, Reading::Strict)?;
    sudo_password(&**env, &files.project.inventory, UNATTENDED)?;
    let inventory = std::path::absolute(&files.inventory).unwrap_or(files.inventory);
    Ok(CronJob {
        service: files.project.playbook.service.name,
        fleet: files.project.inventory.fleet,
        command: command(&inventory, request.version)?,
        hour: request.hour,
        minute: request.minute,
        zone: TimeZone::system().iana_name().map(str::to_owned),
        user: own_user(),
        mail: request.mail,
    })
}

fn command(inventory: &Path, version: Option<String>) -> Result<Vec<String>, Error> {
    let ship = std::env::current_exe().map_err(Internal::NoProgram)?;
    let mut command = vec![line_of(&ship)?, "deploy".to_owned(), line_of(inventory)?];
    command.extend(
        version
            .into_iter()
            .flat_map(|version| ["--version".to_owned(), version]),
    );
    command.extend(["--unattended", "--lock-timeout", "10m"].map(str::to_owned));
    Ok(command)
}

/// The user that this process runs as, even under sudo, because ship uses that user's SSH keys.
fn own_user() -> String {
    let caller = accounts::effective_uid();
    accounts::user_name(caller).unwrap_or_else(|| caller.to_string())
}

/// The path as one line of text.
fn line_of(path: &Path) -> Result<String, Error> {
    let text = path
        .to_str()
        .filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned)
        .ok_or_else(|| Refused::UnwritablePath(PathBuf::from(path)).into())
}
