//! The live screen of a deployment of several services, at given and random sizes.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::super::super::clock::LocalClock;
use super::super::super::columns;
use super::super::super::message::notable;
use super::super::super::testing::{self, Play};
use super::super::super::text::Glyphs;
use super::super::content::ScreenContent;
use super::super::frame::FrameLayout;
use super::super::service_view::ServiceView;
use super::super::stack_frame::{self, ShownDeployment};
use super::after;
use crate::core::ids::{Revision, Slot};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::InstanceStatus;
use crate::core::rollout::event::{Event, FailureResponse};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::stack::{
    ContractState, DeployedService, Deployment, DeploymentNumber, Member, OnStackFailure,
    ServiceEnd, ServicePhase, StackDirection, StackOutcome, StackRun, StackStep,
};

/// A deployment of services, each after those that it names.
pub(super) struct Stack {
    pub(super) shown: ShownDeployment,
    rollouts: BTreeMap<String, (RolloutView, ScreenContent)>,
}

impl Stack {
    pub(super) fn of(services: &[(&str, &[&str])]) -> Self {
        let deployed = services.iter().map(|(name, after)| DeployedService {
            service: (*name).to_owned(),
            after: after.iter().map(|it| (*it).to_owned()).collect(),
            version: "0.9".to_owned(),
            revision: Revision(2),
            before: Some(Revision(1)),
            set: Vec::new(),
            undo: None,
            contract: None,
        });
        let deployed: Vec<_> = deployed.collect();
        let member = |it: &DeployedService| Member {
            after: it.after.clone(),
            can_undo: true,
            phase: ServicePhase::Waiting,
            contract: ContractState::None,
        };
        let members = deployed.iter().map(|it| (it.service.clone(), member(it)));
        let run = StackRun {
            members: members.collect(),
            on_failure: OnStackFailure::RollBack,
            direction: StackDirection::Forward,
        };
        let deployment = Deployment {
            number: DeploymentNumber(3),
            verb: Verb::Deploy,
            who: "anna@laptop".to_owned(),
            reason: "deploy".to_owned(),
            began: testing::START,
            on_failure: OnStackFailure::RollBack,
            direction: StackDirection::Forward,
            services: deployed,
            outcome: None,
            ended: None,
        };
        Self {
            shown: ShownDeployment {
                fleet: "shop".to_owned(),
                deployment,
                run,
            },
            rollouts: BTreeMap::new(),
        }
    }

    /// A service begins to roll out.
    fn begin(&mut self, service: &str) {
        self.shown
            .run
            .started(&StackStep::RollOut(service.to_owned()));
    }

    /// A service rolls out, with these events.
    fn play(&mut self, service: &str, play: &Play) {
        self.begin(service);
        let (mut rollout, mut content) = after(play);
        rollout.start.service = service.to_owned();
        for row in &mut content.status.instances {
            row.name = row.name.as_str().replace("testpage", service).into();
        }
        self.rollouts.insert(service.to_owned(), (rollout, content));
    }

    fn end(&mut self, service: &str, end: ServiceEnd) {
        self.shown.run.ended(service, end);
    }

    fn content(&mut self, service: &str) -> &mut ScreenContent {
        &mut self.rollouts.get_mut(service).unwrap().1
    }

    fn screen(&self, glyphs: &Glyphs, width: usize, height: usize) -> String {
        let views = self
            .rollouts
            .iter()
            .map(|(name, (rollout, content))| (name.as_str(), ServiceView { rollout, content }));
        let layout = FrameLayout {
            clock: &LocalClock::ahead(8),
            glyphs,
            width,
            height,
        };
        let now = testing::START + Duration::from_secs(72);
        let frame = stack_frame::frame(&self.shown, &views.collect(), now, &layout);
        let lines = layout.lines(&frame);
        assert!(lines.len() <= height, "{} lines on {height}", lines.len());
        for line in &lines {
            let text = line.text();
            assert!(text.width() <= width, "more than {width}: {text:?}");
        }
        let lines: Vec<_> = lines
            .iter()
            .map(|line| line.text().trim_end().to_owned())
            .collect();
        columns::joined(&lines)
    }
}

/// A rollout that has reached its goal.
pub(super) fn succeeded() -> Play {
    let mut play = Play::example();
    let outcome = Outcome::Succeeded;
    play.then(500, Event::RolloutFinished { outcome });
    play
}

/// A rollout of 50 instances, of which `updated` are new, two are changing and `failed` do not
/// become ready.
fn large(updated: usize, failed: usize) -> Play {
    let mut play = Play::begin(51);
    for (n, row) in play.status.instances.iter_mut().enumerate() {
        if n < updated + failed + 1 {
            row.version = "0.9".into();
            row.name = format!("testpage-515849216a-{n:05}").into();
        }
        row.status = match n {
            n if n < updated => InstanceStatus::Running,
            n if n < updated + failed => InstanceStatus::NotReady,
            n if n == updated + failed => InstanceStatus::Starting,
            n if n == updated + failed + 1 => InstanceStatus::Stopping,
            _ => InstanceStatus::Running,
        };
        row.ready = matches!(
            row.status,
            InstanceStatus::Running | InstanceStatus::Stopping
        );
        row.age_s = 9;
    }
    play.progress();
    play
}

pub(super) fn failure(play: &mut Play, kind: FailureKind) {
    let slot = Slot::new("node3", 8081);
    let failure = Failure {
        kind,
        host: Some(slot.host.clone()),
        slot: Some(slot),
        detail: "HTTP 503".into(),
        waited: Duration::from_secs(30),
    };
    let then = FailureResponse::RollBack;
    let log = Vec::new();
    play.then(30_000, Event::RolloutFailed { failure, log, then });
}

/// `api` is done, `worker` and `mail` roll out, and `web` waits.
fn small() -> Stack {
    let mut stack = Stack::of(&[
        ("api", &[]),
        ("worker", &["api"]),
        ("mail", &[]),
        ("web", &["api", "worker", "mail"]),
    ]);
    stack.play("api", &succeeded());
    stack.end("api", ServiceEnd::Reached);
    stack.play("worker", &large(12, 1));
    let mut play = Play::begin(4);
    play.start("node4", "0.9", "testpage-515849216a-059b0");
    stack.play("mail", &play);
    let at = testing::START + Duration::from_secs(65);
    let content = stack.content("worker");
    content.add_message(&notable(
        at,
        "node13:8081".into(),
        "not ready",
        "0.9: \"HTTP 503\"",
    ));
    let slot = Slot::new("node4", 8081);
    let answer = "I am: 127.0.0.14, the version is: 0.9";
    stack.content("mail").add_answer(at, &slot, answer);
    stack
}

/// Twelve services with 50 instances each: two are done, five roll out, one of them back, and five
/// wait.
fn twelve() -> Stack {
    let names: Vec<String> = (1..=12).map(|n| format!("service-{n}")).collect();
    let after = [names[6].as_str()];
    let services: Vec<(&str, &[&str])> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.as_str(), if n < 7 { &[][..] } else { &after[..] }))
        .collect();
    let mut stack = Stack::of(&services);
    for (n, name) in names.iter().enumerate().take(7) {
        match n {
            0 | 1 => {
                let mut play = large(50, 0);
                let outcome = Outcome::Succeeded;
                play.then(500, Event::RolloutFinished { outcome });
                stack.play(name, &play);
                stack.end(name, ServiceEnd::Reached);
            }
            4 => {
                let mut play = large(20, 2);
                failure(&mut play, FailureKind::NotReady);
                stack.play(name, &play);
            }
            n => stack.play(name, &large(n * 5, 0)),
        }
    }
    let at = testing::START + Duration::from_mins(1);
    let content = stack.content("service-5");
    content.add_message(&notable(
        at,
        "node7".into(),
        "lost",
        "connection timed out after 5s",
    ));
    stack
}

#[test]
fn narrow_screen_of_a_stack_shows_services_instances_messages_and_answers() {
    insta::assert_snapshot!(small().screen(&Glyphs::UNICODE, 79, 23), @r#"
    shop  deployment 3  rolling out  1m12s  1 of 4 services done
    api     0.8 → 0.9  rolled out     3/3  █████████████│·····  in 5.2s
    worker  0.8 → 0.9  rolling out  14/50  ████▒▒▒▒▒▒▒▒▒▒▒▒·│·  47 available (≥ 50)
    mail    0.8 → 0.9  rolling out    1/3  ████▒▒▒▒▒▒▒▒▒│▒▒▒▒▒  4 available (≥ 3)
    web     0.9        waiting for mail, worker

    INSTANCE                 READY  STATUS    AGE  ADDRESS          HOST    VERSION
    worker-515849216a-00012  0/1    NotReady  9s   127.0.0.23:8081  node13  0.9
    worker-515849216a-00013  0/1    Starting  9s   127.0.0.24:8081  node14  0.9
    worker-230767614a-00015  1/1    Stopping  9s   127.0.0.25:8081  node15  0.8
    mail-515849216a-059b0    1/1    Running   0s   127.0.0.14:8081  node4   0.9
    worker-515849216a-00000  1/1    Running   9s   127.0.0.11:8081  node1   0.9
    worker-515849216a-00001  1/1    Running   9s   127.0.0.12:8081  node2   0.9
    worker-515849216a-00002  1/1    Running   9s   127.0.0.13:8081  node3   0.9
    worker-515849216a-00003  1/1    Running   9s   127.0.0.14:8081  node4   0.9
    worker-515849216a-00004  1/1    Running   9s   127.0.0.15:8081  node5   0.9
    … and 45 more: 45 Running

    MESSAGES
    10:43:29  worker  node13:8081  not ready  0.9: "HTTP 503"

    ANSWERS TO PROBES
    10:43:29  mail  node4:8081  I am: 127.0.0.14, the version is: 0.9
    "#);
}

#[test]
fn wide_screen_of_a_stack_shows_all_columns_of_instances() {
    insta::assert_snapshot!(small().screen(&Glyphs::UNICODE, 119, 39), @r#"
    shop  deployment 3  rolling out  1m12s  1 of 4 services done
    api     0.8 → 0.9  rolled out     3/3  ██████████████│·····  in 5.2s
    worker  0.8 → 0.9  rolling out  14/50  ████▒▒▒▒▒▒▒▒▒▒▒▒▒·│·  47 available (≥ 50)
    mail    0.8 → 0.9  rolling out    1/3  ████▒▒▒▒▒▒▒▒▒▒│▒▒▒▒▒  4 available (≥ 3)
    web     0.9        waiting for mail, worker

    INSTANCE                  READY   STATUS     RESTARTS   AGE   ADDRESS           HOST     VERSION   REVISION
    worker-515849216a-00012   0/1     NotReady   0          9s    127.0.0.23:8081   node13   0.9       1
    worker-515849216a-00013   0/1     Starting   0          9s    127.0.0.24:8081   node14   0.9       1
    worker-230767614a-00015   1/1     Stopping   0          9s    127.0.0.25:8081   node15   0.8       1
    mail-515849216a-059b0     1/1     Running    0          0s    127.0.0.14:8081   node4    0.9       2
    worker-515849216a-00000   1/1     Running    0          9s    127.0.0.11:8081   node1    0.9       1
    worker-515849216a-00001   1/1     Running    0          9s    127.0.0.12:8081   node2    0.9       1
    worker-515849216a-00002   1/1     Running    0          9s    127.0.0.13:8081   node3    0.9       1
    worker-515849216a-00003   1/1     Running    0          9s    127.0.0.14:8081   node4    0.9       1
    worker-515849216a-00004   1/1     Running    0          9s    127.0.0.15:8081   node5    0.9       1
    worker-515849216a-00005   1/1     Running    0          9s    127.0.0.16:8081   node6    0.9       1
    worker-515849216a-00006   1/1     Running    0          9s    127.0.0.17:8081   node7    0.9       1
    worker-515849216a-00007   1/1     Running    0          9s    127.0.0.18:8081   node8    0.9       1
    worker-515849216a-00008   1/1     Running    0          9s    127.0.0.19:8081   node9    0.9       1
    worker-515849216a-00009   1/1     Running    0          9s    127.0.0.20:8081   node10   0.9       1
    worker-515849216a-00010   1/1     Running    0          9s    127.0.0.21:8081   node11   0.9       1
    worker-515849216a-00011   1/1     Running    0          9s    127.0.0.22:8081   node12   0.9       1
    worker-230767614a-00016   1/1     Running    0          9s    127.0.0.26:8081   node16   0.8       1
    worker-230767614a-00017   1/1     Running    0          9s    127.0.0.27:8081   node17   0.8       1
    worker-230767614a-00018   1/1     Running    0          9s    127.0.0.28:8081   node18   0.8       1
    worker-230767614a-00019   1/1     Running    0          9s    127.0.0.29:8081   node19   0.8       1
    worker-230767614a-00020   1/1     Running    0          9s    127.0.0.30:8081   node20   0.8       1
    worker-230767614a-00021   1/1     Running    0          9s    127.0.0.31:8081   node21   0.8       1
    worker-230767614a-00022   1/1     Running    0          9s    127.0.0.32:8081   node22   0.8       1
    worker-230767614a-00023   1/1     Running    0          9s    127.0.0.33:8081   node23   0.8       1
    worker-230767614a-00024   1/1     Running    0          9s    127.0.0.34:8081   node24   0.8       1
    … and 29 more: 29 Running

    MESSAGES
    10:43:29  worker  node13:8081  not ready  0.9: "HTTP 503"

    ANSWERS TO PROBES
    10:43:29  mail  node4:8081  I am: 127.0.0.14, the version is: 0.9
    "#);
}

#[test]
fn twelve_services_fit_the_smallest_usual_terminal() {
    insta::assert_snapshot!(twelve().screen(&Glyphs::UNICODE, 79, 23), @r"
    shop  deployment 3  rolling out  1m12s  2 of 12 services done, 1 failed
    service-1   0.8 → 0.9  rolled out    50/50  ████████████│·  in 500ms
    service-2   0.8 → 0.9  rolled out    50/50  ████████████│·  in 500ms
    service-3   0.8 → 0.9  rolling out   11/50  ██▒▒▒▒▒▒▒▒▒▒│·  48 available (≥ 50)
    service-4   0.8 → 0.9  rolling out   16/50  ███▒▒▒▒▒▒▒▒▒│·  48 available (≥ 50)
    service-5   0.8 → 0.9  rolling back  23/50  ██████▒▒▒▒▒·│·  46 available (≥ 50)
    service-6   0.8 → 0.9  rolling out   26/50  ██████▒▒▒▒▒▒│·  48 available (≥ 50)
    service-7   0.8 → 0.9  rolling out   31/50  ███████▒▒▒▒▒│·  48 available (≥ 50)
    service-8   0.9        waiting for service-7
    service-9   0.9        waiting for service-7
    service-10  0.9        waiting for service-7
    service-11  0.9        waiting for service-7
    service-12  0.9        waiting for service-7

    INSTANCE                    READY  STATUS    AGE  HOST    VERSION
    service-5-515849216a-00020  0/1    NotReady  9s   node21  0.9
    service-5-515849216a-00021  0/1    NotReady  9s   node22  0.9
    service-3-515849216a-00010  0/1    Starting  9s   node11  0.9
    … and 247 more: 238 Running, 4 Starting, 5 Stopping

    MESSAGES
    10:43:24  service-5  node7  lost  connection timed out after 5s
    10:42:54  service-5  node3:8081  FAILED  0.9 is not ready after 30s: HTTP 503
    ");
}

#[test]
fn low_screen_keeps_failed_and_changing_services_and_counts_the_others() {
    insta::assert_snapshot!(twelve().screen(&Glyphs::UNICODE, 79, 14), @r"
    shop  deployment 3  rolling out  1m12s  2 of 12 services done, 1 failed
    service-3   0.8 → 0.9  rolling out   11/50  ██▒▒▒▒▒▒▒▒▒▒│·  48 available (≥ 50)
    service-4   0.8 → 0.9  rolling out   16/50  ███▒▒▒▒▒▒▒▒▒│·  48 available (≥ 50)
    service-5   0.8 → 0.9  rolling back  23/50  ██████▒▒▒▒▒·│·  46 available (≥ 50)
    service-6   0.8 → 0.9  rolling out   26/50  ██████▒▒▒▒▒▒│·  48 available (≥ 50)
    service-7   0.8 → 0.9  rolling out   31/50  ███████▒▒▒▒▒│·  48 available (≥ 50)
    service-8   0.9        waiting for service-7
    … and 6 more: 4 waiting, 2 done

    INSTANCE                    READY  STATUS    AGE  HOST    VERSION
    service-5-515849216a-00020  0/1    NotReady  9s   node21  0.9
    service-5-515849216a-00021  0/1    NotReady  9s   node22  0.9
    service-3-515849216a-00010  0/1    Starting  9s   node11  0.9
    … and 247 more: 238 Running, 4 Starting, 5 Stopping
    ");
    insta::assert_snapshot!(twelve().screen(&Glyphs::UNICODE, 39, 9), @r"
    shop  deployment 3  rolling out  1m12s…
    service-3   rolling out   11/50  ▒▒▒▒│·
    service-4   rolling out   16/50  █▒▒▒│·
    service-5   rolling back  23/50  ██▒▒│·
    … and 9 more: 2 in flight, 5 waiting, …

    INSTANCE                    READY  STA…
    service-5-515849216a-00020  0/1    Not…
    … and 249 more: 238 Running, 5 Startin…
    ");
}

#[test]
fn screen_of_a_stack_is_ascii_without_utf_8() {
    let screen = twelve().screen(&Glyphs::ASCII, 100, 30);
    assert!(screen.is_ascii(), "{screen}");
    assert!(screen.contains("0.8 -> 0.9  rolling out"), "{screen}");
}

#[test]
fn stack_that_rolls_back_shows_what_each_service_waits_for() {
    let mut stack = small();
    let mut play = large(12, 1);
    failure(&mut play, FailureKind::NotReady);
    let outcome = Outcome::RolledBack;
    play.then(700, Event::RolloutFinished { outcome });
    stack.play("worker", &play);
    stack.end("worker", ServiceEnd::RolledBack);
    stack.shown.deployment.direction = stack.shown.run.direction;
    stack
        .shown
        .run
        .started(&StackStep::Abort("mail".to_owned()));
    insta::assert_snapshot!(stack.screen(&Glyphs::UNICODE, 100, 9), @r"
    shop  deployment 3  rolling back  1m12s  2 of 4 services as before, 1 failed
    api     0.8 → 0.9  waiting to roll back    3/3  ██████████████│·····  in 5.2s
    worker  0.8 → 0.9  rolled back           14/50  █████████████▒▒▒▒·│·  in 30s
    mail    0.8 → 0.9  rolling out             1/3  ████▒▒▒▒▒▒▒▒▒▒│▒▒▒▒▒  4 available (≥ 3)
    web     0.9        not started

    INSTANCE                 READY  STATUS    RESTARTS  AGE  ADDRESS          HOST    VERSION  REVISION
    worker-515849216a-00012  0/1    NotReady  0         9s   127.0.0.23:8081  node13  0.9      1
    … and 4 more: 4 Running
    ");
    let mut play = Play::begin(4);
    failure(&mut play, FailureKind::Aborted);
    let outcome = Outcome::RolledBack;
    play.then(0, Event::RolloutFinished { outcome });
    stack.play("mail", &play);
    stack.end("mail", ServiceEnd::RolledBack);
    stack.shown.run.started(&StackStep::Undo("api".to_owned()));
    stack.end("api", ServiceEnd::Reached);
    stack.shown.deployment.outcome = Some(StackOutcome::RolledBack);
    stack.shown.deployment.ended = Some(testing::START + Duration::from_mins(1));
    insta::assert_snapshot!(stack.screen(&Glyphs::UNICODE, 100, 9), @r"
    shop  deployment 3  rolled back  1m  4 of 4 services as before, 1 failed
    api     0.8 → 0.9  rolled back    3/3  ██████████████│·····  in 5.2s
    worker  0.8 → 0.9  rolled back  14/50  █████████████▒▒▒▒·│·  in 30s
    mail    0.8 → 0.9  rolled back    0/3  ██████████████│·····  in 30s
    web     0.9        not started

    INSTANCE                 READY  STATUS    RESTARTS  AGE  ADDRESS          HOST    VERSION  REVISION
    worker-515849216a-00012  0/1    NotReady  0         9s   127.0.0.23:8081  node13  0.9      1
    ");
}

#[test]
fn stack_that_holds_starts_no_service_that_waits() {
    let mut stack = small();
    stack.shown.run.on_failure = OnStackFailure::Hold;
    stack.end("worker", ServiceEnd::Held);
    insta::assert_snapshot!(stack.screen(&Glyphs::UNICODE, 100, 12), @r"
    shop  deployment 3  stopping, nothing new starts  1m12s  1 of 4 services done, 1 failed
    api     0.8 → 0.9  rolled out                3/3  ██████████████│·····  in 5.2s
    worker  0.8 → 0.9  held, needs a decision  14/50  ████▒▒▒▒▒▒▒▒▒▒▒▒▒·│·  in 0s
    mail    0.8 → 0.9  rolling out               1/3  ████▒▒▒▒▒▒▒▒▒▒│▒▒▒▒▒  4 available (≥ 3)
    web     0.9        not started

    INSTANCE                 READY  STATUS    RESTARTS  AGE  ADDRESS          HOST    VERSION  REVISION
    worker-515849216a-00012  0/1    NotReady  0         9s   127.0.0.23:8081  node13  0.9      1
    mail-515849216a-059b0    1/1    Running   0         0s   127.0.0.14:8081  node4   0.9      2
    mail-230767614a-00001    1/1    Running   0         4m   127.0.0.11:8081  node1   0.8      1
    mail-230767614a-00002    1/1    Running   0         4m   127.0.0.12:8081  node2   0.8      1
    mail-230767614a-00003    1/1    Running   0         4m   127.0.0.13:8081  node3   0.8      1
    ");
}

#[test]
fn stopped_services_are_not_counted_as_failed() {
    let mut stack = small();
    stack.end("worker", ServiceEnd::Stopped);
    let screen = stack.screen(&Glyphs::UNICODE, 79, 23);
    let line = |name: &str| screen.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("shop").ends_with("1 of 4 services done"), "{screen}");
    assert!(line("worker").contains("stopped"), "{screen}");
    assert!(line("web").ends_with("not started"), "{screen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn frames_of_a_stack_fit_the_screen(
        names in prop::collection::vec(super::any_text(), 1..30),
        begun in 0_usize..30,
        width in 0_usize..200,
        height in 0_usize..60,
    ) {
        let services: Vec<(&str, &[&str])> =
            names.iter().map(|name| (name.as_str(), &[][..])).collect();
        let mut stack = Stack::of(&services);
        for (n, name) in names.iter().take(begun).enumerate() {
            match n % 3 {
                0 => stack.play(name, &large(n, n % 2)),
                1 => stack.begin(name),
                _ => {
                    stack.play(name, &succeeded());
                    stack.end(name, ServiceEnd::Reached);
                }
            }
        }
        for glyphs in [Glyphs::UNICODE, Glyphs::ASCII] {
            let screen = stack.screen(&glyphs, width, height);
            prop_assert!(glyphs.unicode || screen.is_ascii(), "{screen}");
            prop_assert!(!screen.contains(|c: char| c.is_control() && c != '\n'), "{screen:?}");
        }
    }
}
