//! What a crontab and systemd's units have in common.

use std::path::Path;

use jiff::civil;
use jiff::tz::TimeZone;

use super::super::args::Cron;
use super::super::exit::{Exit, Fail};
use crate::app::discovery;
use crate::config::Overrides;
use crate::system::accounts;

/// All that both need to know.
pub(super) struct CronJob {
    pub(super) service: String,
    pub(super) fleet: String,
    /// What is run: absolute paths, as nobody knows from where.
    pub(super) command: Vec<String>,
    pub(super) hour: i8,
    pub(super) minute: i8,
    /// The time zone of this machine, if it has a name.
    pub(super) zone: Option<String>,
    pub(super) user: String,
    pub(super) mail: Option<String>,
}

impl CronJob {
    pub(super) fn of(args: &Cron) -> Result<Self, Fail> {
        let chosen = discovery::inventory(args.inventory.inventory.clone())?;
        let overrides = Overrides {
            version: args.version.clone(),
            set: Vec::new(),
        };
        let project = chosen.load(&overrides)?;
        let inventory = chosen.path;
        let inventory = std::path::absolute(&inventory).unwrap_or(inventory);
        let ship = std::env::current_exe().map_err(|error| {
            Fail::new(
                Exit::Internal,
                format!("error: where is this program? {error}"),
            )
        })?;
        let mut command = vec![written(&ship)?, "deploy".to_owned(), written(&inventory)?];
        if let Some(version) = &args.version {
            command.extend(["--version".to_owned(), version.clone()]);
        }
        command.extend(["--unattended", "--lock-timeout", "10m"].map(str::to_owned));
        let (hour, minute) = time_of_day(&args.at)?;
        Ok(Self {
            service: project.playbook.service.name,
            fleet: project.inventory.fleet,
            command,
            hour,
            minute,
            zone: TimeZone::system().iana_name().map(str::to_owned),
            user: own_user(),
            mail: args.mail.as_deref().map(address).transpose()?,
        })
    }

    /// `page on production`.
    pub(super) fn subject(&self) -> String {
        format!("{} on {}", self.service, self.fleet)
    }
}

/// The user that deploys here, whoever has become it: its keys are those that the hosts know.
fn own_user() -> String {
    let caller = accounts::caller();
    accounts::name_of(caller).unwrap_or_else(|| caller.to_string())
}

/// A path as a line of a file can hold it.
fn written(path: &Path) -> Result<String, Fail> {
    let text = path
        .to_str()
        .filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        Fail::refused(format!(
            "error: neither a crontab nor a unit can hold the path {}: it has a line end or is no \
             UTF-8; rename it",
            path.display()
        ))
    })
}

fn time_of_day(text: &str) -> Result<(i8, i8), Fail> {
    let time = civil::Time::strptime("%H:%M", text);
    let time = time.map_err(|_| {
        Fail::refused(format!(
            "error: --at {text}: no time of day; say it as in 02:00"
        ))
    })?;
    Ok((time.hour(), time.minute()))
}

/// An address that means nothing to cron, to systemd or to a shell.
fn address(text: &str) -> Result<String, Fail> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.,_+-=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(Fail::refused(format!(
        "error: --mail {text}: no address; say it as in ops@example.org"
    )))
}

#[cfg(test)]
pub(super) fn night(command: &[&str]) -> CronJob {
    CronJob {
        service: "page".to_owned(),
        fleet: "production".to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        hour: 2,
        minute: 5,
        zone: Some("Europe/Berlin".to_owned()),
        user: "deploy".to_owned(),
        mail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read_as_people_write_it() {
        assert_eq!(time_of_day("02:00").unwrap(), (2, 0));
        assert_eq!(time_of_day("2:5").unwrap(), (2, 5));
        for text in ["24:00", "02", "02:60", "2am", "", "* *"] {
            assert_eq!(
                time_of_day(text).unwrap_err().message,
                format!("error: --at {text}: no time of day; say it as in 02:00")
            );
        }
    }

    #[test]
    fn an_address_cannot_be_a_line_or_an_option() {
        assert_eq!(
            address("ops+night@example.org,me").unwrap(),
            "ops+night@example.org,me"
        );
        for text in ["", "a b", "a\nb", "-oQ/tmp", "$(id)", "a%b", "a'b"] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }
}
