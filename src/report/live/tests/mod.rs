//! The live screen at given and random sizes.

mod shared_screen;
mod stack;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::super::clock::LocalClock;
use super::super::columns;
use super::super::message::notable;
use super::super::narrator::Narrator;
use super::super::testing::{self, Play};
use super::super::text::Glyphs;
use super::content::ScreenContent;
use super::frame::FrameLayout;
use super::painter::TerminalSize;
use super::service_frame;
use super::service_part::ServicePart;
use super::service_view::ServiceView;
use super::{Live, LiveScreen};
use crate::core::ids::Slot;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::{InstanceStatus, StatusRow};
use crate::core::journal::testing::release;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::Event;
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::Reporter;

/// The screen in the middle of a rollout: one new instance is ready, and a second one starts in the
/// place of an old one.
fn midway() -> (RolloutView, ScreenContent) {
    let mut play = Play::begin(4);
    play.start("node4", "0.9", "testpage-515849216a-059b0");
    let (rollout, mut content) = after(&play);
    for second in 1..=9 {
        let host = format!("node{}", second % 4 + 1);
        let version = if host == "node4" { "0.9" } else { "0.8" };
        let answer = format!(
            "I am: 127.0.0.{}, the version is: {version}",
            11 + second % 4
        );
        content.add_answer(
            Time(testing::START.0 + second * 1000),
            &Slot::new(host.as_str(), 8081),
            &answer,
        );
    }
    content.status.instances[0] = testing::row(
        "testpage-515849216a-1sf6b",
        "node1",
        "0.9",
        InstanceStatus::Creating,
        1,
    );
    content.status.instances[3].age_s = 41;
    testing::count(&mut content.status);
    content.now = content.now + Duration::from_secs(42);
    (rollout, content)
}

/// The screen after these events.
fn after(play: &Play) -> (RolloutView, ScreenContent) {
    let mut narrator = Narrator::new(testing::setup(4));
    let mut content = ScreenContent::new(play.status.clone(), testing::START);
    for (entry, status) in &play.entries {
        (content.status, content.now) = (status.clone(), entry.at);
        for message in &narrator.narrate(entry, status) {
            content.add_message(message);
        }
    }
    (narrator.rollout().unwrap().clone(), content)
}

fn screen(
    (rollout, content): &(RolloutView, ScreenContent),
    glyphs: &Glyphs,
    width: usize,
    height: usize,
) -> String {
    let layout = FrameLayout {
        clock: &LocalClock::ahead(8),
        glyphs,
        width,
        height,
    };
    let lines = layout.lines(&service_frame::frame(
        ServiceView { rollout, content },
        &layout,
    ));
    assert!(lines.len() <= height);
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.text().trim_end().to_owned())
        .collect();
    columns::joined(&lines)
}

#[test]
fn state_counts_the_hosts_that_have_the_release() {
    let mut play = Play::begin(4);
    let stage_on = |host: &str| Action::Stage {
        host: host.into(),
        release: release("0.9"),
    };
    let orders = ["node1", "node2"].map(|host| play.order(stage_on(host), None));
    let mut service = ServicePart::new(testing::setup(4));
    let state = |service: &mut ServicePart, play: &Play, from: usize| {
        for (entry, status) in &play.entries[from..] {
            service.apply(entry, status);
        }
        service.view().unwrap().state().0
    };
    assert_eq!(state(&mut service, &play, 0), "staging (0/2 hosts)");
    for (id, expected) in orders
        .into_iter()
        .zip(["staging (1/2 hosts)", "rolling out"])
    {
        let from = play.entries.len();
        play.then(200, Event::ActionDone { id });
        assert_eq!(state(&mut service, &play, from), expected);
    }
}

#[test]
fn wide_screen_shows_table_log_and_answers() {
    insta::assert_snapshot!(screen(&midway(), &Glyphs::UNICODE, 120, 40), @r#"
    testpage  0.8 → 0.9  rolling out  43s  local, revision 2
    ██████▒▒▒▒▒▒▒▒▒▒▒▒│······  2/3 updated · 3 available (≥ 3) · 4 running (≤ 4)

    INSTANCE                    READY   STATUS     RESTARTS   AGE   ADDRESS           HOST    VERSION   REVISION
    testpage-515849216a-1sf6b   0/1     Creating   0          1s    127.0.0.11:8081   node1   0.9       2
    testpage-230767614a-00002   1/1     Running    0          4m    127.0.0.12:8081   node2   0.8       1
    testpage-230767614a-00003   1/1     Running    0          4m    127.0.0.13:8081   node3   0.8       1
    testpage-515849216a-059b0   1/1     Running    0          41s   127.0.0.14:8081   node4   0.9       2

    ROLLOUT STATUS
    10:42:24  Waiting for deployment spec update to be observed...
    10:42:24  Waiting for deployment "testpage" rollout to finish: 1 out of 3 new replicas have been updated...

    ANSWERS TO PROBES
    10:42:29  node2:8081  I am: 127.0.0.12, the version is: 0.8
    10:42:30  node3:8081  I am: 127.0.0.13, the version is: 0.8
    10:42:31  node4:8081  I am: 127.0.0.14, the version is: 0.9
    10:42:32  node1:8081  I am: 127.0.0.11, the version is: 0.8
    10:42:33  node2:8081  I am: 127.0.0.12, the version is: 0.8
    "#);
}

#[test]
fn narrow_screen_omits_columns_and_the_front_of_sentences() {
    insta::assert_snapshot!(screen(&midway(), &Glyphs::UNICODE, 80, 24), @r"
    testpage  0.8 → 0.9  rolling out  43s  local, revision 2
    ██████▒▒▒▒▒▒▒▒▒▒▒▒│······  2/3 updated · 3 available (≥ 3) · 4 running (≤ 4)

    INSTANCE                   READY  STATUS    AGE  ADDRESS          HOST   VERSION
    testpage-515849216a-1sf6b  0/1    Creating  1s   127.0.0.11:8081  node1  0.9
    testpage-230767614a-00002  1/1    Running   4m   127.0.0.12:8081  node2  0.8
    testpage-230767614a-00003  1/1    Running   4m   127.0.0.13:8081  node3  0.8
    testpage-515849216a-059b0  1/1    Running   41s  127.0.0.14:8081  node4  0.9

    ROLLOUT STATUS
    10:42:24  Waiting for deployment spec update to be observed...
    10:42:24  … for rollout to finish: 1 out of 3 new replicas have been updated...

    ANSWERS TO PROBES
    10:42:29  node2:8081  I am: 127.0.0.12, the version is: 0.8
    10:42:30  node3:8081  I am: 127.0.0.13, the version is: 0.8
    10:42:31  node4:8081  I am: 127.0.0.14, the version is: 0.9
    10:42:32  node1:8081  I am: 127.0.0.11, the version is: 0.8
    10:42:33  node2:8081  I am: 127.0.0.12, the version is: 0.8
    ");
}

#[test]
fn screen_is_ascii_without_utf_8() {
    let (rollout, mut content) = midway();
    content.add_answer(content.now, &Slot::new("node1", 8081), "我是 127.0.0.11");
    let screen = screen(&(rollout, content), &Glyphs::ASCII, 100, 30);
    assert!(screen.is_ascii(), "{screen}");
    assert!(screen.starts_with("testpage  0.8 -> 0.9  rolling out"));
    assert!(screen.contains("???? 127.0.0.11"));
}

#[test]
fn low_screen_keeps_the_table() {
    insta::assert_snapshot!(screen(&midway(), &Glyphs::UNICODE, 100, 11), @r"
    testpage  0.8 → 0.9  rolling out  43s  local, revision 2
    ██████▒▒▒▒▒▒▒▒▒▒▒▒│······  2/3 updated · 3 available (≥ 3) · 4 running (≤ 4)

    INSTANCE                   READY  STATUS    RESTARTS  AGE  ADDRESS          HOST   VERSION  REVISION
    testpage-515849216a-1sf6b  0/1    Creating  0         1s   127.0.0.11:8081  node1  0.9      2
    testpage-230767614a-00002  1/1    Running   0         4m   127.0.0.12:8081  node2  0.8      1
    testpage-230767614a-00003  1/1    Running   0         4m   127.0.0.13:8081  node3  0.8      1
    testpage-515849216a-059b0  1/1    Running   0         41s  127.0.0.14:8081  node4  0.9      2

    ROLLOUT STATUS
    10:42:24  Waiting for rollout to finish: 1 out of 3 new replicas have been updated...
    ");
    insta::assert_snapshot!(screen(&midway(), &Glyphs::UNICODE, 40, 3), @r"
    testpage  0.8 → 0.9  rolling out  43s  …
    2/3 updated · 3 available (≥ 3) · 4 run…
    ");
}

#[test]
fn large_fleet_shows_changing_instances_and_counts_the_others() {
    let (rollout, mut content) = after(&Play::begin(501));
    for (i, status) in [
        (480, InstanceStatus::NotReady),
        (481, InstanceStatus::Stopping),
        (490, InstanceStatus::Exited),
    ] {
        content.status.instances[i].status = status;
        content.status.instances[i].ready = status == InstanceStatus::Stopping;
    }
    for i in 0..20 {
        content.status.instances[i].status = InstanceStatus::Starting;
        content.status.instances[i].ready = false;
    }
    testing::count(&mut content.status);
    insta::assert_snapshot!(screen(&(rollout, content), &Glyphs::UNICODE, 120, 16), @r"
    testpage  0.8 → 0.9  rolling out  0s  local, revision 2
    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒·│·  0/500 updated · 477 available (≥ 500) · 499 running (≤ 501)

    INSTANCE                    READY   STATUS     RESTARTS   AGE   ADDRESS            HOST      VERSION   REVISION
    testpage-230767614a-00001   0/1     Starting   0          4m    127.0.0.11:8081    node1     0.8       1
    testpage-230767614a-00002   0/1     Starting   0          4m    127.0.0.12:8081    node2     0.8       1
    testpage-230767614a-00003   0/1     Starting   0          4m    127.0.0.13:8081    node3     0.8       1
    testpage-230767614a-00004   0/1     Starting   0          4m    127.0.0.14:8081    node4     0.8       1
    testpage-230767614a-00005   0/1     Starting   0          4m    127.0.0.15:8081    node5     0.8       1
    testpage-230767614a-00006   0/1     Starting   0          4m    127.0.0.16:8081    node6     0.8       1
    testpage-230767614a-00481   0/1     NotReady   0          4m    127.0.0.491:8081   node481   0.8       1
    testpage-230767614a-00491   0/1     Exited     0          4m    127.0.0.501:8081   node491   0.8       1
    … and 492 more: 477 Running, 14 Starting, 1 Stopping

    ROLLOUT STATUS
    10:42:24  Waiting for deployment spec update to be observed...
    ");
}

/// Records what is written to a terminal.
#[derive(Clone, Default)]
struct Terminal(Arc<Mutex<Vec<u8>>>);

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

fn live(terminal: &Terminal, colour: bool) -> Live<Terminal> {
    let size = || TerminalSize {
        width: 121,
        height: 40,
    };
    LiveScreen::new(terminal.clone(), colour, Box::new(size)).reporter(testing::setup(4))
}

const HIDE: &str = "\u{1b}[?25l";
const SHOW: &str = "\u{1b}[?25h";

#[test]
fn frame_overwrites_the_previous_one_if_it_differs() {
    let terminal = Terminal::default();
    let mut live = live(&terminal, false);
    let play = Play::begin(4);
    let (entry, status) = &play.entries[0];
    live.event(entry, status);
    let first = terminal.take();
    assert!(first.contains(HIDE));
    assert!(first.contains("testpage  0.8 → 0.9  rolling out  0s  local, revision 2"));
    live.tick(status, entry.at);
    assert_eq!(terminal.take(), "", "nothing has changed");
    live.tick(status, entry.at + Duration::from_secs(1));
    let second = terminal.take();
    let lines = first.matches("\r\n").count();
    assert!(
        second.starts_with(&format!("\u{1b}[?2026h\r\u{1b}[{lines}A")),
        "{second:?}"
    );
    assert!(!second.contains(HIDE), "the cursor is hidden already");
    assert!(!second.contains("\u{1b}[1m"), "no styles without colour");
}

#[test]
fn last_frame_and_summary_stay_and_the_cursor_is_shown() {
    let terminal = Terminal::default();
    let mut live = live(&terminal, true);
    let mut play = Play::example();
    play.then(
        500,
        Event::RolloutFinished {
            outcome: Outcome::Succeeded,
        },
    );
    for (entry, status) in &play.entries {
        live.event(entry, status);
    }
    let written = terminal.take();
    let last = &written[written.rfind("\u{1b}[?2026h").unwrap()..];
    let text = anstream::adapter::strip_str(last).to_string();
    assert!(text.contains("rolled out"), "{text}");
    assert!(
        text.contains("testpage 0.9 (revision 2): 3 of 3 available in 5.2s"),
        "{text}"
    );
    assert!(last.ends_with(SHOW));
    let (entry, status) = play.entries.last().unwrap();
    live.tick(status, entry.at);
    drop(live);
    assert_eq!(terminal.take(), "", "nothing is drawn after the end");
}

#[test]
fn dropped_screen_shows_the_cursor() {
    let terminal = Terminal::default();
    let mut live = live(&terminal, true);
    let (entry, status) = Play::begin(4).entries.remove(0);
    live.event(&entry, &status);
    terminal.take();
    drop(live);
    assert!(terminal.take().ends_with(SHOW));
}

#[test]
fn resized_terminal_is_cleared_and_keeps_the_failure() {
    let terminal = Terminal::default();
    let width = Arc::new(Mutex::new(121));
    let shared = Arc::clone(&width);
    let size = move || TerminalSize {
        width: *shared.lock().unwrap(),
        height: 40,
    };
    let screen = LiveScreen::new(terminal.clone(), false, Box::new(size));
    let mut live = screen.reporter(testing::setup(4));
    let (entry, status) = Play::begin(4).entries.remove(0);
    live.event(&entry, &status);
    let at = entry.at + Duration::from_secs(30);
    screen.note("a failure");
    terminal.take();
    *width.lock().unwrap() = 60;
    live.tick(&status, at);
    let text = terminal.take();
    assert!(
        text.starts_with("\u{1b}[?2026h\r\u{1b}[2J\u{1b}[1;1H"),
        "{text:?}"
    );
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(text.contains("a failure\r\n"), "{text:?}");
    assert!(
        text.contains("testpage  0.8 → 0.9  rolling out"),
        "{text:?}"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{0,12}",
        any::<String>(),
        "[灰度发布👩‍👩‍👧❤️é\u{202e}\u{1b}\n]{0,30}",
    ]
}

fn any_status() -> impl Strategy<Value = InstanceStatus> {
    prop::sample::select(vec![
        InstanceStatus::Running,
        InstanceStatus::Creating,
        InstanceStatus::Starting,
        InstanceStatus::NotReady,
        InstanceStatus::Stopping,
        InstanceStatus::Exited,
        InstanceStatus::Unknown,
    ])
}

fn any_row() -> impl Strategy<Value = StatusRow> {
    (
        any_text(),
        any_text(),
        any_text(),
        any_text(),
        any_status(),
        any::<u64>(),
    )
        .prop_map(|(name, host, address, version, status, age_s)| StatusRow {
            address,
            version,
            ..testing::row(&name, &host, "0.8", status, age_s)
        })
}

fn any_screen() -> impl Strategy<Value = (RolloutView, ScreenContent)> {
    let lines = || prop::collection::vec((any::<u64>(), any_text()), 0..KEPT);
    (
        any_text(),
        any_text(),
        prop::collection::vec(any_row(), 0..40),
        any::<[u32; 4]>(),
        lines(),
        lines(),
    )
        .prop_map(|(service, version, instances, counts, log, answers)| {
            let (entry, mut status) = Play::begin(4).entries.remove(0);
            let mut rollout = RolloutView::begin(&entry, BTreeSet::from([version])).unwrap();
            rollout.start.service = service;
            status.instances = instances;
            [
                status.replicas.available,
                status.replicas.total,
                status.replicas.min_available,
                status.replicas.max_running,
            ] = counts;
            let mut content = ScreenContent::new(status, entry.at);
            for (at, text) in log {
                content.add_message(&notable(Time(at), String::new(), "", &text));
            }
            for (at, text) in answers {
                content.add_answer(Time(at), &Slot::new(text.as_str(), 1), &text);
            }
            (rollout, content)
        })
}

const KEPT: usize = 9;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn frames_fit_the_screen(screen in any_screen(), width in 0_usize..200, height in 0_usize..60) {
        for glyphs in [Glyphs::UNICODE, Glyphs::ASCII] {
            let (rollout, content) = &screen;
            let layout = FrameLayout { clock: &LocalClock::ahead(0), glyphs: &glyphs, width, height };
            let service = ServiceView { rollout, content };
            let lines = layout.lines(&service_frame::frame(service, &layout));
            prop_assert!(lines.len() <= height, "{} lines on {height}", lines.len());
            for line in lines {
                let text = line.text();
                prop_assert!(text.width() <= width, "{} columns on {width}: {text:?}", text.width());
                prop_assert!(!text.contains(char::is_control), "{text:?}");
                prop_assert!(glyphs.unicode || text.is_ascii(), "{text:?}");
            }
        }
    }
}
