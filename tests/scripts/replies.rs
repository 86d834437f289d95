//! What a host answers, changed on its way: genuine transcripts of the real scripts, with a few
//! changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ship::core::fleet::{Fleet, Listener, Observation, Occupant, Process};
use ship::core::ids::{ActionId, Epoch};
use ship::core::release::Driver;
use ship::core::release::hook::{CommandRun, Hook, HookPoint, HookSite};
use ship::core::time::Time;
use ship::script::{
    CommandProbe, DoneMark, LogQuery, LogRange, Needs, ScriptEnd, StopSpec, TaskCommand,
    TaskCommandEnd, check, claim, logs, observe, probe_command, prune, read_check, read_log_tail,
    read_probe_result, read_reply, read_task, start, stop, task,
};

use crate::host::{Host, Release};
use ship_testing::mutation::{cases, mutated_text};

const NOW: Time = Time(1_700_000_000_000);
/// Far longer than the largest of these texts takes on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// What the scripts print: in the life of an instance, and where something is in the way.
struct Transcripts {
    replies: Vec<String>,
    answer: String,
    tail: String,
}

static TRANSCRIPTS: LazyLock<Transcripts> = LazyLock::new(|| {
    let mut host = Host::new();
    let (one, other) = (Release::new("one"), Release::new("other"));
    let mut launch = host.launch("page-one", &one);
    let serve = format!("echo begins; echo; exec {}", launch.argv.join(" "));
    launch.argv = ["sh".to_owned(), "-c".to_owned(), serve].into();
    let says = |on| Hook {
        on,
        at: HookSite::Host,
        command: ["sh", "-c", "echo one; echo; printf '\\033[2J'"]
            .map(str::to_owned)
            .into(),
        timeout: Duration::from_secs(5),
    };
    launch.hooks.hooks = [HookPoint::BeforeStart, HookPoint::BeforeStop]
        .map(says)
        .into();
    let unstarted = host.launch("page-other", &other);
    let mut replies = Vec::new();
    let mut run = |host: &Host, script| replies.push(host.run(&script).stdout);
    run(&host, check(&host.site, &Needs::NONE));
    run(&host, observe(&host.site));
    run(&host, claim(&host.site));
    run(&host, host.stage_script(&one));
    run(&host, host.stage_script(&other));
    run(&host, start(&host.site, &launch));
    run(&host, start(&host.site, &unstarted));
    run(&host, observe(&host.site));
    run(
        &host,
        prune(
            &host.site,
            &BTreeSet::from([one.id.clone(), other.id.clone()]),
        ),
    );
    let question = CommandProbe {
        number: host.port,
        instance: "page-one".into(),
        release: one.id.clone(),
        driver: Driver::Process,
        user: None,
        argv: ["sh", "-c", "echo ready; exit 3"].map(str::to_owned).into(),
        timeout: Duration::from_secs(5),
    };
    let mark = Some(DoneMark {
        id: "add-email".to_owned(),
        note: "revision 7".to_owned(),
    });
    let migration = TaskCommand {
        release: one.id.clone(),
        shared_dirs: Vec::new(),
        driver: Driver::Process,
        user: None,
        argv: ["sh", "-c", "echo altered; echo; echo done"]
            .map(str::to_owned)
            .into(),
        env: BTreeMap::new(),
        ship_env: BTreeMap::new(),
        timeout: Duration::from_secs(5),
        mark,
    };
    run(&host, task(&host.site, &migration));
    run(&host, task(&host.site, &migration));
    run(
        &host,
        task(
            &host.site,
            &TaskCommand {
                argv: vec!["false".to_owned()],
                mark: None,
                ..migration
            },
        ),
    );
    let answer = host.run(&probe_command(&host.site, &question)).stdout;
    let query = LogQuery {
        history_slots: [host.port].into(),
        lines_max: 10,
        range: LogRange::Instance,
    };
    let printed = host.run(&logs(&host.site, &query)).stdout;
    host.site.epoch = Epoch(host.site.epoch.0 - 1);
    run(&host, claim(&host.site));
    host.site.epoch = Epoch(host.site.epoch.0 + 1);
    let instance = "page-one".into();
    let (stop_timeout, hooks) = (Duration::from_secs(10), Duration::from_secs(20));
    run(
        &host,
        stop(
            &host.site,
            &StopSpec {
                number: host.port,
                instance,
                stop_timeout,
                hooks,
                restore_after: None,
                may_linger: false,
            },
        ),
    );
    Transcripts {
        replies,
        answer,
        tail: printed,
    }
});

fn replies() -> Vec<String> {
    TRANSCRIPTS.replies.clone()
}

/// What others rely on, when they make paths, orders and tables of it.
fn keeps_the_rules(observation: &Observation) -> Result<(), TestCaseError> {
    let is_digest =
        |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    prop_assert!(
        observation.epoch.0 < 1 << 62,
        "there is no epoch after {:?}",
        observation.epoch
    );
    prop_assert!(
        observation
            .releases
            .iter()
            .all(|release| is_digest(release.as_str())),
        "{observation:?}"
    );
    for occupant in observation.slots.values() {
        let Occupant::Instance(instance) = occupant else {
            continue;
        };
        let is_word = |text: &str| {
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        prop_assert!(is_word(instance.name.as_str()), "{instance:?}");
        prop_assert!(is_digest(instance.release.as_str()), "{instance:?}");
        prop_assert!(instance.started <= NOW, "{instance:?}");
        if let Listener::Own { address } = instance.listener(8081) {
            prop_assert!(address.parse::<IpAddr>().is_ok(), "{instance:?}");
        }
        if let Process::Ended { how } = &instance.process {
            prop_assert!(!how.contains('\n'), "{instance:?}");
        }
    }
    for run in observation.hooks.iter().map(|hook| &hook.run) {
        is_a_run(run)?;
    }
    let mut fleet = Fleet::default();
    fleet.observe(&"web1".into(), observation.clone(), NOW);
    fleet.observe(&"web1".into(), observation.clone(), NOW);
    Ok(())
}

/// The output of the user's commands goes into the journal and onto a terminal.
fn is_a_run(run: &CommandRun) -> Result<(), TestCaseError> {
    prop_assert!(run.output.len() <= 50, "{run:?}");
    let is_plain = |line: &String| {
        line.len() < 10_000 && !line.contains(|c: char| c.is_control() && c != '\t')
    };
    prop_assert!(run.output.iter().all(is_plain), "{run:?}");
    Ok(())
}

#[test]
fn transcripts_match_real_scripts() {
    for reply in replies() {
        read_reply(&reply, NOW).unwrap_or_else(|error| panic!("{error}:\n{reply}"));
    }
    let ends: Vec<_> = replies()
        .iter()
        .map(|reply| read_reply(reply, NOW).unwrap().end)
        .collect();
    assert!(
        ends.iter()
            .any(|end| matches!(end, ScriptEnd::Fenced { .. })),
        "{ends:?}"
    );
    assert!(
        ends.iter().any(|end| matches!(end, ScriptEnd::Failed(_))),
        "{ends:?}"
    );
    assert!(
        replies()
            .iter()
            .any(|reply| reply.contains("\nlisten=") && reply.contains("\nslot="))
    );
    let hooks = replies()
        .iter()
        .map(|reply| read_reply(reply, NOW).unwrap().observation.hooks.len())
        .sum::<usize>();
    assert_eq!(hooks, 2, "one before the start, one before the stop");
    let tasks: Vec<_> = replies()
        .iter()
        .filter_map(|reply| read_task(reply, NOW).ok())
        .map(|(end, _)| end)
        .collect();
    assert!(
        tasks
            .iter()
            .any(|end| matches!(end, TaskCommandEnd::Done(_))),
        "{tasks:?}"
    );
    assert!(
        tasks
            .iter()
            .any(|end| matches!(end, TaskCommandEnd::AlreadyDone { .. })),
        "{tasks:?}"
    );
    assert!(
        tasks
            .iter()
            .any(|end| matches!(end, TaskCommandEnd::Failed { run: Some(_), .. })),
        "{tasks:?}"
    );
    assert_eq!(read_probe_result(&TRANSCRIPTS.answer).unwrap().status, 3);
    assert!(!read_log_tail(&TRANSCRIPTS.tail, 10).is_empty());
}

#[test]
fn reply_rejects_names_with_control_characters() {
    let named = replies()
        .into_iter()
        .find(|reply| reply.contains(".name=page-one\n"))
        .unwrap();
    for name in ["", "page one", "\0page", "page\u{1b}[2J", "page\u{85}"] {
        let reply = named.replace(".name=page-one\n", &format!(".name={name}\n"));
        assert!(
            read_reply(&reply, NOW)
                .unwrap_err()
                .to_string()
                .contains("is not the name of an instance"),
            "{name:?}"
        );
    }
}

#[test]
fn reply_rejects_the_largest_epochs() {
    let reply = replies().pop().unwrap();
    let at = reply.find("epoch=").unwrap();
    let end = at + reply[at..].find('\n').unwrap();
    for epoch in [1_u64 << 62, u64::MAX] {
        let reply = format!("{}epoch={epoch}{}", &reply[..at], &reply[end..]);
        assert!(
            read_reply(&reply, NOW)
                .unwrap_err()
                .to_string()
                .contains("too large"),
            "{epoch}"
        );
    }
}

/// Not a sample: each place at which a connection may break.
#[test]
fn reply_parser_rejects_incomplete_replies() {
    for reply in replies() {
        for length in 0..reply.len() {
            let Some(part) = reply.get(..length) else {
                continue;
            };
            assert!(read_reply(part, NOW).is_err(), "{part}");
            assert!(read_check(part, NOW).is_err(), "{part}");
            assert!(read_task(part, NOW).is_err(), "{part}");
        }
    }
    for length in 0..TRANSCRIPTS.answer.len() {
        assert!(
            TRANSCRIPTS
                .answer
                .get(..length)
                .is_none_or(|part| read_probe_result(part).is_err())
        );
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn changed_reply_is_rejected_or_keeps_the_invariants(text in mutated_text(replies())) {
        let began = Instant::now();
        match read_reply(&text, NOW) {
            Ok(reply) => {
                keeps_the_rules(&reply.observation)?;
                if let ScriptEnd::Failed(why) | ScriptEnd::LockBusy { holder: why } = &reply.end {
                    prop_assert!(!why.contains('\n'), "{why:?}");
                }
                if let ScriptEnd::Late { taken: ActionId(taken) } = reply.end {
                    prop_assert!(text.contains(&format!("end=late {taken}\n")), "{text}");
                }
            }
            Err(error) => {
                let printed = error.to_string();
                prop_assert!(printed.len() < 10_000 || printed.contains("cannot determine what is running"), "{} bytes", printed.len());
            }
        }
        if let Ok((_, observation)) = read_check(&text, NOW) {
            keeps_the_rules(&observation)?;
        }
        if let Ok((end, observation)) = read_task(&text, NOW) {
            keeps_the_rules(&observation)?;
            match &end {
                TaskCommandEnd::Done(run) | TaskCommandEnd::Failed { run: Some(run), .. } => is_a_run(run)?,
                TaskCommandEnd::AlreadyDone { note } => prop_assert!(!note.contains('\n'), "{note:?}"),
                TaskCommandEnd::Failed { run: None, .. } | TaskCommandEnd::Rejected(_) => {}
            }
        }
        prop_assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }

    #[test]
    fn changed_probe_result_or_log_has_plain_lines(
        answer in mutated_text(vec![TRANSCRIPTS.answer.clone()]),
        log in mutated_text(vec![TRANSCRIPTS.tail.clone()]),
    ) {
        if let Ok(answer) = read_probe_result(&answer) {
            prop_assert!(!answer.line.contains(char::is_control), "{answer:?}");
        }
        let lines = read_log_tail(&log, 10);
        prop_assert!(lines.iter().all(|line| !line.contains(|c: char| c.is_control() && c != '\t')), "{lines:?}");
    }

    #[test]
    fn noise_is_not_a_reply(noise in "\\PC{0,200}|[ -~\n]{0,200}|(ship=1\n)?([a-z]{1,8}=[ \
                                   -~]{0,20}\n){0,20}(end=done\n)?") {
        let _ = (read_reply(&noise, NOW), read_check(&noise, NOW), read_probe_result(&noise), read_log_tail(&noise, 9));
    }
}
