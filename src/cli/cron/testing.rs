//! Fixture for the tests of the crontab and of the units.

use crate::app::verbs::cron::CronJob;

/// A job that runs this command at 2:05.
pub(super) fn job(command: &[&str]) -> CronJob {
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
