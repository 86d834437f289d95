//! `docs/reference/exit-codes.md`, from the table in the code.

use std::fmt::Write as _;

use ship::app::exit::Exit;

use crate::generated::escaped;
use crate::markdown::Page;

const INTRODUCTION: &str = "\
# Exit codes

Every verb of ship ends with one of these codes. They are stable: scripts, cron jobs and CI pipelines can rely on them.

| code | meaning |
|--:|---|
";

const SCRIPTS: &str = "
## In scripts

A deploy succeeded only if the code is 0. The other codes tell what the fleet runs:

| code | the fleet |
|---|---|
| 0 | runs the wanted version |
| 2, 7 | was not changed |
| 3 | runs the previous version |
| 4, 5 | may run both versions, and needs a person |
| 6 | was not changed, or the rollout stopped safely because its window closed, a freeze began or another process took over |
| 8, 130 | runs both versions until you resume or abort the rollout |

```sh
ship deploy inventory.toml --version 0.9 --unattended
case $? in
    0) ;;
    6) echo 'try again later' ;;
    3) echo 'rolled back; read the report' ;;
    *) echo 'a person is needed' ;;
esac
```

A deploy that ship skips because its release is quarantined, or runs already, ends with 0.

## Read on

- [States and verbs](states.md): what each verb does in each state, and its code
- [Troubleshooting](../troubleshooting.md): messages, causes and fixes
- [Nightly deploys](../guides/nightly-deploys.md): what cron and systemd do with a code
- [CI](../guides/ci.md): what a job does with a code
";

/// The cause and the next step, as paragraphs.
fn advice(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => {
            "The fleet is as you asked, or ship found nothing to do: the release runs already, or an\n\
             unattended deploy skipped a quarantined release. There is nothing to do."
        }
        Exit::Internal => {
            "Something failed that is neither your configuration nor a host: a full disk under the state\n\
             directory, a closed standard output, or a defect of ship. Read the message, fix its cause, then\n\
             run `ship resume` if a rollout had begun. Report a defect with the output of `-vv`."
        }
        Exit::Refused => {
            "ship rejected the command before it changed anything: an unknown key or flag, an artifact that\n\
             does not verify, a plan that capacity does not permit, or a state that forbids the verb. Fix what\n\
             the message names; its hint shows the next command. `ship check` reports all problems at once."
        }
        Exit::RolledBack => {
            "The new version failed, and the fleet runs the previous one again. The FAILED block of the output\n\
             and `ship report` show why. Fix the new version and deploy again."
        }
        Exit::Held => {
            "ship stopped where it was, because a rollback would not help or could do harm, or because\n\
             `on_failure = \"hold\"`. Both versions may serve. Read the reason in `ship status`, fix the cause,\n\
             then run `ship resume` to continue or `ship abort` to roll back."
        }
        Exit::RollbackFailed => {
            "Neither version could be brought up everywhere. The cause usually affects both: a port, a disk, a\n\
             balancer. Fix it, then run `ship resume`."
        }
        Exit::Locked => {
            "Another ship process works on the service, or a freeze, a pause or a deploy window forbids the\n\
             command now. Wait for the lock with `--lock-timeout 10m`, end a freeze with `ship thaw`, or let\n\
             the next scheduled run continue. A rollout whose window closes is resumed by the next run."
        }
        Exit::Unreachable => {
            "More hosts than `max_failed_hosts` permits are unreachable, or reject the host key, the login or\n\
             sudo. The message shows the `ssh` command that reproduces the problem. Or the database with the\n\
             state cannot be reached, has no leader, or has no space. Fix what the message names, then repeat\n\
             the command."
        }
        Exit::Paused => {
            "The rollout waits for a person: `ship pause` stopped it, or an unattended deploy reached a step\n\
             with `pause = true`. Continue with `ship promote` at a step and with `ship resume` after a pause,\n\
             or roll back with `ship abort`."
        }
        Exit::Interrupted => {
            "You pressed Ctrl-C, a CI job was cancelled, the machine shut down, or the database with the state\n\
             failed for longer than `progress_deadline`. Actions in flight were finished or are recorded as\n\
             unknown, and the service keeps running. Continue with `ship resume` or the same command, or roll\n\
             back with `ship abort`. If ship prints `no host was changed`, the rollout had not begun: there is\n\
             nothing to resume, run the same command again."
        }
    }
}

pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for exit in Exit::ALL {
        let code = exit.code();
        writeln!(
            page,
            "| [{code}](#exit-{code}) | {} |",
            escaped(exit.meaning())
        )
        .expect("memory");
    }
    for exit in Exit::ALL {
        let (code, meaning) = (exit.code(), exit.meaning());
        let meaning = upper_first(&escaped(meaning));
        let advice = advice(exit);
        write!(page, "\n## Exit {code}\n\n**{meaning}.**\n\n{advice}\n").expect("memory");
    }
    page + SCRIPTS
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[test]
fn troubleshooting_lists_every_exit_code() {
    let page = Page::read("docs/troubleshooting.md");
    for exit in Exit::ALL {
        let row = format!("| {} |", exit.code());
        let is_listed = page.text.lines().any(|line| line.starts_with(&row));
        assert!(
            is_listed,
            "{} has no row that begins with `{row}`",
            page.path
        );
    }
}
