//! What the tests of the crontab and of the units have in common.

use crate::app::verbs::cron::CronJob;

/// The job of a service that is deployed at 2:05 by this command.
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
