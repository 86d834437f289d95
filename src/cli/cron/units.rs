//! The units of systemd: what is run, when, and who hears of a failure.

use std::fmt::Write as _;

use crate::app::verbs::cron::CronJob;
use crate::script::quote;

/// The units, each with its name.
pub(super) fn units(night: &CronJob) -> Vec<(String, String)> {
    let name = name(night);
    let mut units = vec![
        (format!("{name}.service"), service(night, &name)),
        (format!("{name}.timer"), timer(night)),
    ];
    if let Some(mail) = &night.mail {
        units.push((format!("{name}-failed.service"), failed(night, &name, mail)));
    }
    units
}

/// `ship-deploy-page-on-production`.
fn name(night: &CronJob) -> String {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name = night
        .subject()
        .chars()
        .map(|c| if is_fit(c) { c } else { '-' })
        .collect::<String>();
    format!("ship-deploy-{name}")
}

fn service(night: &CronJob, name: &str) -> String {
    let on_failure = match night.mail {
        Some(_) => format!("OnFailure={name}-failed.service"),
        None => {
            "# OnFailure= takes a unit that tells somebody; with --mail ship prints one.".to_owned()
        }
    };
    format!(
        "\
[Unit]
Description=Deploy {subject}
Wants=network-online.target
After=network-online.target
# Begun at every exit code but 0 and those of SuccessExitStatus= below.
{on_failure}

[Service]
Type=oneshot
User={user}
ExecStart={command}
# 6: another ship is at work, or the fleet is frozen. Nothing was touched and the next night \
tries again; who wants to
# hear of it takes this line out.
SuccessExitStatus=6
# TERM lets what is in flight end, and goes to ship alone: its ssh connections are still needed.
KillMode=mixed
TimeoutStopSec=5min
",
        subject = escaped(&night.subject()),
        user = escaped(&night.user),
        command = night
            .command
            .iter()
            .enumerate()
            .map(|(at, word)| exec_word(word, at > 0))
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn timer(night: &CronJob) -> String {
    let CronJob {
        hour, minute, zone, ..
    } = night;
    let zone = zone
        .as_ref()
        .map(|zone| format!(" {zone}"))
        .unwrap_or_default();
    format!(
        "\
[Unit]
Description=Every night: deploy {}

[Timer]
OnCalendar=*-*-* {hour:02}:{minute:02}:00{zone}
# Not all at once, where several services have the same hour.
RandomizedDelaySec=5min
# A night that was missed is not made up for by day.
Persistent=false

[Install]
WantedBy=timers.target
",
        escaped(&night.subject())
    )
}

/// Mails the last words of the run.
fn failed(night: &CronJob, name: &str, mail: &str) -> String {
    let subject = format!(
        "deploy of {} failed (exit code ${{MONITOR_EXIT_STATUS:-?}})",
        night.subject()
    );
    let mut script = String::new();
    // Writing to a string does not fail. The subject is no text of a stranger: the names were
    // checked with the files.
    let _ = write!(
        script,
        "{{ printf 'To: %s\\nSubject: %s\\n\\n' {} \"{subject}\"; journalctl --no-pager \
         --output=cat --lines=60 \
         --unit={name}.service; }} | /usr/sbin/sendmail -oi -t",
        quote(mail)
    );
    format!(
        "\
[Unit]
Description=Tell {mail} that the deploy of {} has failed

[Service]
Type=oneshot
ExecStart=/bin/sh -c {}
",
        escaped(&night.subject()),
        exec_word(&script, true)
    )
}

/// `%` means something to systemd in every value.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// A word of an `ExecStart=` line. Variables are filled in, but for the program itself.
fn exec_word(word: &str, has_variables: bool) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let word = escaped(word).replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "\"{}\"",
        if has_variables {
            word.replace('$', "$$")
        } else {
            word
        }
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::night;
    use super::*;

    #[test]
    fn the_units_say_what_when_and_who_hears_of_it() {
        let mut night = night(&[
            "/usr/bin/ship",
            "deploy",
            "/srv/inventory.toml",
            "--unattended",
        ]);
        night.mail = Some("ops@example.org".to_owned());
        let units = units(&night)
            .into_iter()
            .map(|(name, unit)| format!("# {name}\n{unit}"));
        insta::assert_snapshot!(units.collect::<Vec<_>>().join("\n"), @r#"
        # ship-deploy-page-on-production.service
        [Unit]
        Description=Deploy page on production
        Wants=network-online.target
        After=network-online.target
        # Begun at every exit code but 0 and those of SuccessExitStatus= below.
        OnFailure=ship-deploy-page-on-production-failed.service

        [Service]
        Type=oneshot
        User=deploy
        ExecStart=/usr/bin/ship deploy /srv/inventory.toml --unattended
        # 6: another ship is at work, or the fleet is frozen. Nothing was touched and the next night tries again; who wants to
        # hear of it takes this line out.
        SuccessExitStatus=6
        # TERM lets what is in flight end, and goes to ship alone: its ssh connections are still needed.
        KillMode=mixed
        TimeoutStopSec=5min

        # ship-deploy-page-on-production.timer
        [Unit]
        Description=Every night: deploy page on production

        [Timer]
        OnCalendar=*-*-* 02:05:00 Europe/Berlin
        # Not all at once, where several services have the same hour.
        RandomizedDelaySec=5min
        # A night that was missed is not made up for by day.
        Persistent=false

        [Install]
        WantedBy=timers.target

        # ship-deploy-page-on-production-failed.service
        [Unit]
        Description=Tell ops@example.org that the deploy of page on production has failed

        [Service]
        Type=oneshot
        ExecStart=/bin/sh -c "{ printf 'To: %%s\\nSubject: %%s\\n\\n' 'ops@example.org' \"deploy of page on production failed (exit code $${MONITOR_EXIT_STATUS:-?})\"; journalctl --no-pager --output=cat --lines=60 --unit=ship-deploy-page-on-production.service; } | /usr/sbin/sendmail -oi -t"
        "#);
    }

    #[test]
    fn without_an_address_nobody_is_mailed() {
        let units = units(&night(&["/usr/bin/ship"]));
        assert_eq!(units.len(), 2);
        assert!(!units[0].1.contains("\nOnFailure="), "{}", units[0].1);
    }

    #[test]
    fn signs_that_mean_something_to_systemd_are_escaped() {
        assert_eq!(exec_word("/opt/100%/$ship", false), r#""/opt/100%%/$ship""#);
        assert_eq!(
            exec_word(r#"/srv/it's "$HOME"\50%"#, true),
            r#""/srv/it's \"$$HOME\"\\50%%""#
        );
        assert_eq!(exec_word("--version", true), "--version");
    }
}
