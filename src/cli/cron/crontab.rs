//! The crontab line.

use super::super::exit::CliError;
use crate::app::verbs::cron::CronJob;
use crate::script::quote;

/// Longest command that cron accepts.
const COMMAND_BYTES_MAX: usize = 998;

/// Renders a comment, the mail address, and the line that deploys.
pub(super) fn crontab(job: &CronJob) -> Result<String, CliError> {
    let CronJob {
        hour,
        minute,
        zone,
        mail,
        ..
    } = job;
    let command = job
        .command
        .iter()
        .map(|word| escape(word))
        .collect::<Vec<_>>()
        .join(" ");
    if command.len() > COMMAND_BYTES_MAX {
        return Err(CliError::refused(format!(
            "error: the command has {} bytes, but cron accepts {COMMAND_BYTES_MAX}\nhint: shorten \
             the paths, or use systemd units (`ship cron --systemd`)",
            command.len()
        )));
    }
    let zone = zone
        .as_ref()
        .map(|zone| format!(" ({zone})"))
        .unwrap_or_default();
    let mailto = match mail {
        Some(mail) => format!("MAILTO={mail}\n"),
        None => "# cron mails the output to the owner of the crontab; set MAILTO=ops@example.org \
                 to change that.\n"
            .to_owned(),
    };
    Ok(format!(
        "# ship: deploys {} every night at {hour:02}:{minute:02} local time{zone}.\n# To install \
         it, add these lines with `crontab -e`.\n{mailto}{minute} {hour} * * * {command}\n",
        job.subject()
    ))
}

/// Quotes a word for the shell, then escapes `%`, which ends the command for cron.
fn escape(word: &str) -> String {
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
    use super::super::testing::job;
    use super::*;

    #[test]
    fn crontab_shows_time_and_command() {
        let mut job = job(&[
            "/usr/bin/ship",
            "deploy",
            "/srv/inventory.toml",
            "--unattended",
        ]);
        insta::assert_snapshot!(crontab(&job).unwrap(), @"
        # ship: deploys page on production every night at 02:05 local time (Europe/Berlin).
        # To install it, add these lines with `crontab -e`.
        # cron mails the output to the owner of the crontab; set MAILTO=ops@example.org to change that.
        5 2 * * * /usr/bin/ship deploy /srv/inventory.toml --unattended
        ");
        job.mail = Some("ops@example.org".to_owned());
        assert!(
            crontab(&job)
                .unwrap()
                .contains("\nMAILTO=ops@example.org\n5 2 ")
        );
    }

    #[test]
    fn crontab_escapes_characters_of_cron_and_of_the_shell() {
        let job = job(&["/opt/100%/ship", "deploy", "/srv/it's $HOME/50% off.toml"]);
        let text = crontab(&job).unwrap();
        let line = text.lines().last().unwrap();
        assert_eq!(
            line,
            r"5 2 * * * /opt/100\%/ship deploy '/srv/it'\''s $HOME/50\% off.toml'"
        );
    }

    #[test]
    fn crontab_rejects_a_command_that_is_too_long_for_cron() {
        let fail = crontab(&job(&["/ship", &"x".repeat(1000)])).unwrap_err();
        assert!(
            fail.message
                .starts_with("error: the command has 1006 bytes, but cron accepts 998\n"),
            "{fail}"
        );
    }
}
