//! `ship cron`: what makes cron or systemd deploy every night. Nothing is touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Internal, Refused};
use crate::config::Overrides;
use crate::system::accounts;

/// When a service is to be deployed, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronRequest {
    pub hour: i8,
    pub minute: i8,
    /// The version or the channel, instead of the playbook's version.
    pub version: Option<String>,
    /// Who is sent what was said.
    pub mail: Option<String>,
}

/// All that a crontab and systemd's units say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronJob {
    pub service: String,
    pub fleet: String,
    /// What is run: absolute paths, as nobody knows from where.
    pub command: Vec<String>,
    pub hour: i8,
    pub minute: i8,
    /// The time zone of this machine, if it has a name.
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

/// Makes the job that deploys every night.
///
/// # Errors
/// If the files are wrong, or a path cannot be written in a crontab.
pub fn cron(env: &Arc<dyn Environment>, request: CronRequest) -> Result<CronJob, Error> {
    let overrides = Overrides {
        version: request.version.clone(),
        set: Vec::new(),
    };
    let files = env.read_files(&overrides, Reading::Strict)?;
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
    let mut command = vec![written(&ship)?, "deploy".to_owned(), written(inventory)?];
    command.extend(
        version
            .into_iter()
            .flat_map(|version| ["--version".to_owned(), version]),
    );
    command.extend(["--unattended", "--lock-timeout", "10m"].map(str::to_owned));
    Ok(command)
}

/// The user that this process runs as, also under sudo: the hosts know that user's keys.
fn own_user() -> String {
    let caller = accounts::caller();
    accounts::name_of(caller).unwrap_or_else(|| caller.to_string())
}

/// The path as text that fits on one line.
fn written(path: &Path) -> Result<String, Error> {
    let text = path
        .to_str()
        .filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned)
        .ok_or_else(|| Refused::UnwritablePath(PathBuf::from(path)).into())
}
