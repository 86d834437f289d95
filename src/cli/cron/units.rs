//! The systemd units: the service, its timer, and the mail after a failure.

use std::fmt::Write as _;

use crate::app::verbs::cron::CronJob;
use crate::script::quote;

/// The units, each with its name.
pub(super) fn units(job: &CronJob) -> Vec<(String, String)> {
    let name = name(job);
    let mut units = vec![
        (format!("{name}.service"), service(job, &name)),
        (format!("{name}.timer"), timer(job)),
    ];
    if let Some(mail) = &job.mail {
        units.push((format!("{name}-failed.service"), failed(job, &name, mail)));
    }
    units
}

/// `ship-deploy-page-on-production`.
fn name(job: &CronJob) -> String {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name = job
        .subject()
        .chars()
        .map(|c| if is_fit(c) { c } else { '-' })
        .collect::<String>();
    format!("ship-deploy-{name}")
}

fn service(job: &CronJob, name: &str) -> String {
    let on_failure = match job.mail {
        Some(_) => format!("OnFailure={name}-failed.service"),
        None => "# OnFailure= can start a unit that notifies you; `ship cron --mail` prints one."
            .to_owned(),
    };
    format!(
        "\
[Unit]
Description=Deploy {subject}
Wants=network-online.target
After=network-online.target
# Started at every exit code except 0 and those of SuccessExitStatus= below.
{on_failure}

[Service]
Type=oneshot
User={user}
ExecStart={command}
# 6: locked, frozen, or outside the deploy windows. No changes were made, and the next run tries \
again.
# To be notified of it, remove this line.
SuccessExitStatus=6
# After SIGTERM, ship finishes in-flight actions. The signal goes to ship alone, because ship still
# needs its ssh connections.
KillMode=mixed
TimeoutStopSec=5min
",
        subject = escaped(&job.subject()),
        user = escaped(&job.user),
        command = job
            .command
            .iter()
            .enumerate()
            .map(|(at, word)| exec_word(word, at > 0))
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn timer(job: &CronJob) -> String {
    let CronJob {
        hour, minute, zone, ..
    } = job;
    let zone = zone
        .as_ref()
        .map(|zone| format!(" {zone}"))
        .unwrap_or_default();
    format!(
        "\
[Unit]
Description=Deploy {} every night

[Timer]
OnCalendar=*-*-* {hour:02}:{minute:02}:00{zone}
# Spreads the load if several services have the same time.
RandomizedDelaySec=5min
# A missed run is not caught up on during the day.
Persistent=false

[Install]
WantedBy=timers.target
",
        escaped(&job.subject())
    )
}

/// The unit that mails the last lines of a failed run.
fn failed(job: &CronJob, name: &str, mail: &str) -> String {
    let subject = format!(
        "deploy of {} failed (exit code ${{MONITOR_EXIT_STATUS:-?}})",
        job.subject()
    );
    let mut script = String::new();
    // Writing to a string does not fail. The subject needs no quoting: the names in it were
    // validated with the files.
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
Description=Notify {mail} of a failed deploy of {}

[Service]
Type=oneshot
ExecStart=/bin/sh -c {}
",
        escaped(&job.subject()),
        exec_word(&script, true)
    )
}

/// Escapes `%`, which is special to systemd in every value.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// Quotes a word of an `ExecStart=` line. systemd expands variables in every word except the first.
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
    use super::super::testing::job;
    use super::*;

    #[test]
    fn units_deploy_every_night_and_mail_after_a_failure() {
        let mut job = job(&[
            "/usr/bin/ship",
            "deploy",
            "/srv/inventory.toml",
            "--unattended",
        ]);
        job.mail = Some("ops@example.org".to_owned());
        let units = units(&job)
            .into_iter()
            .map(|(name, unit)| format!("# {name}\n{unit}"));
        insta::assert_snapshot!(units.collect::<Vec<_>>().join("\n"), @r#"
        # ship-deploy-page-on-production.service
        [Unit]
        Description=Deploy page on production
        Wants=network-online.target
        After=network-online.target
        # Started at every exit code except 0 and those of SuccessExitStatus= below.
        OnFailure=ship-deploy-page-on-production-failed.service

        [Service]
        Type=oneshot
        User=deploy
        ExecStart=/usr/bin/ship deploy /srv/inventory.toml --unattended
        # 6: locked, frozen, or outside the deploy windows. No changes were made, and the next run tries again.
        # To be notified of it, remove this line.
        SuccessExitStatus=6
        # After SIGTERM, ship finishes in-flight actions. The signal goes to ship alone, because ship still
        # needs its ssh connections.
        KillMode=mixed
        TimeoutStopSec=5min

        # ship-deploy-page-on-production.timer
        [Unit]
        Description=Deploy page on production every night

        [Timer]
        OnCalendar=*-*-* 02:05:00 Europe/Berlin
        # Spreads the load if several services have the same time.
        RandomizedDelaySec=5min
        # A missed run is not caught up on during the day.
        Persistent=false

        [Install]
        WantedBy=timers.target

        # ship-deploy-page-on-production-failed.service
        [Unit]
        Description=Notify ops@example.org of a failed deploy of page on production

        [Service]
        Type=oneshot
        ExecStart=/bin/sh -c "{ printf 'To: %%s\\nSubject: %%s\\n\\n' 'ops@example.org' \"deploy of page on production failed (exit code $${MONITOR_EXIT_STATUS:-?})\"; journalctl --no-pager --output=cat --lines=60 --unit=ship-deploy-page-on-production.service; } | /usr/sbin/sendmail -oi -t"
        "#);
    }

    #[test]
    fn units_without_an_address_send_no_mail() {
        let units = units(&job(&["/usr/bin/ship"]));
        assert_eq!(units.len(), 2);
        assert!(!units[0].1.contains("\nOnFailure="), "{}", units[0].1);
    }

    #[test]
    fn exec_word_escapes_characters_of_systemd() {
        assert_eq!(exec_word("/opt/100%/$ship", false), r#""/opt/100%%/$ship""#);
        assert_eq!(
            exec_word(r#"/srv/it's "$HOME"\50%"#, true),
            r#""/srv/it's \"$$HOME\"\\50%%""#
        );
        assert_eq!(exec_word("--version", true), "--version");
    }
}
