//! `ship cron`: what makes cron or systemd deploy every night. It prints and touches nothing.

mod cron_job;
mod crontab;
mod units;

use std::fmt::Write as _;

use self::cron_job::CronJob;
use super::args::CronArgs;
use super::exit::{Exit, Fail};
use super::output::print;

pub(super) fn run(args: &CronArgs) -> Result<Exit, Fail> {
    let night = CronJob::of(args)?;
    let mut text = String::new();
    if !args.systemd {
        text.push_str(&crontab::crontab(&night)?);
    }
    if !args.crontab {
        for (name, unit) in units::units(&night) {
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a string does not fail.
            let _ = write!(text, "{gap}# /etc/systemd/system/{name}\n{unit}");
        }
    }
    print(&text)
}
