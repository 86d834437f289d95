//! The lines of a crontab.

use super::super::exit::CliError;
use crate::app::verbs::cron::CronJob;
use crate::script::quote;

/// What cron takes of a command.
const COMMAND_BYTES_MAX: usize = 998;

/// A comment, the address for the mail, and the line that deploys.
pub(super) fn crontab(night: &CronJob) -> Result<String, CliError> {
    let CronJob {
        hour,
        minute,
        zone,
        mail,
        ..
    } = night;
    let command = night
        .command
        .iter()
        .map(|word| written(word))
        .collect::<Vec<_>>()
        .join(" ");
    if command.len() > COMMAND_BYTES_MAX {
        return Err(CliError::refused(format!(
            "error: cron takes {COMMAND_BYTES_MAX} bytes of a command, and this one has {}; \
             shorten the paths, or use the \
             units for systemd (--systemd)",
            command.len()
        )));
    }
    let zone = zone
        .as_ref()
        .map(|zone| format!(" ({zone})"))
        .unwrap_or_default();
    let mailto = match mail {
        Some(mail) => format!("MAILTO={mail}\n"),
        None => "# What is said is mailed to the owner of the crontab; \
                 MAILTO=somebody@example.org changes that.\n"
            .to_owned(),
    };
    Ok(format!(
        "# ship: {}, every night at {hour:02}:{minute:02} by the clock of this machine{zone}. To \
         install it, add these\n\
         # lines by `crontab -e`.\n{mailto}{minute} {hour} * * * {command}\n",
        night.subject()
    ))
}

/// A word for the shell, and before that for cron, to which `%` is the end of the command.
fn written(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=%".contains(c);
    let word = if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        quote(word)
    };
    word.replace('%', "\\%")
}

#[cfg(test)]
mod tests {
    use super::super::testing::night;
    use super::*;

    #[test]
    fn the_line_says_when_and_what() {
        let mut night = night(&[
            "/usr/bin/ship",
            "deploy",
            "/srv/inventory.toml",
            "--unattended",
        ]);
        insta::assert_snapshot!(crontab(&night).unwrap(), @"
        # ship: page on production, every night at 02:05 by the clock of this machine \
        (Europe/Berlin). To install it, add these
        # lines by `crontab -e`.
        # What is said is mailed to the owner of the crontab; MAILTO=somebody@example.org changes \
        that.
        5 2 * * * /usr/bin/ship deploy /srv/inventory.toml --unattended
        ");
        night.mail = Some("ops@example.org".to_owned());
        assert!(
            crontab(&night)
                .unwrap()
                .contains("\nMAILTO=ops@example.org\n5 2 ")
        );
    }

    #[test]
    fn what_means_something_to_cron_or_to_the_shell_is_quoted() {
        let night = night(&["/opt/100%/ship", "deploy", "/srv/it's $HOME/50% off.toml"]);
        let text = crontab(&night).unwrap();
        let line = text.lines().last().unwrap();
        assert_eq!(
            line,
            r"5 2 * * * /opt/100\%/ship deploy '/srv/it'\''s $HOME/50\% off.toml'"
        );
    }

    #[test]
    fn a_line_that_cron_would_not_take_is_refused() {
        let fail = crontab(&night(&["/ship", &"x".repeat(1000)])).unwrap_err();
        assert!(
            fail.message
                .starts_with("error: cron takes 998 bytes of a command, and this one has 1006;"),
            "{fail}"
        );
    }
}
