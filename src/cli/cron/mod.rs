//! `ship cron`: prints a crontab line and systemd units for nightly deploys.

mod crontab;
#[cfg(test)]
mod testing;
mod units;

use std::fmt::Write as _;

use jiff::civil;

use super::args::CronArgs;
use super::exit::{CliError, Exit};
use super::output::print;
use super::terminal;
use crate::app::verbs::cron::{CronRequest, cron};

pub(super) fn run(args: CronArgs) -> Result<Exit, CliError> {
    let (hour, minute) = time_of_day(&args.at)?;
    let request = CronRequest {
        hour,
        minute,
        version: args.version,
        mail: args.mail.as_deref().map(address).transpose()?,
    };
    let job = cron(&terminal::quiet(args.inventory), request)?;
    let mut text = String::new();
    if !args.systemd {
        text.push_str(&crontab::crontab(&job)?);
    }
    if !args.crontab {
        for (name, unit) in units::units(&job) {
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a string does not fail.
            let _ = write!(text, "{gap}# /etc/systemd/system/{name}\n{unit}");
        }
    }
    print(&text)
}

fn time_of_day(text: &str) -> Result<(i8, i8), CliError> {
    let time = civil::Time::strptime("%H:%M", text);
    let time = time.map_err(|_| {
        CliError::refused(format!(
            "error: invalid --at `{text}`: expected HH:MM, for example 02:00"
        ))
    })?;
    Ok((time.hour(), time.minute()))
}

/// Checks that an address has no characters that are special to cron, systemd or a shell.
fn address(text: &str) -> Result<String, CliError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.,_+-=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(CliError::refused(format!(
        "error: invalid --mail `{text}`: expected an address, for example ops@example.org"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_day_is_parsed_or_rejected() {
        assert_eq!(time_of_day("02:00").unwrap(), (2, 0));
        assert_eq!(time_of_day("2:5").unwrap(), (2, 5));
        for text in ["24:00", "02", "02:60", "2am", "", "* *"] {
            assert_eq!(
                time_of_day(text).unwrap_err().message,
                format!("error: invalid --at `{text}`: expected HH:MM, for example 02:00")
            );
        }
    }

    #[test]
    fn address_with_special_characters_is_rejected() {
        assert_eq!(
            address("ops+night@example.org,me").unwrap(),
            "ops+night@example.org,me"
        );
        for text in ["", "a b", "a\nb", "-oQ/tmp", "$(id)", "a%b", "a'b"] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }
}
