use super::*;

fn zurich() -> TimeZone {
    TimeZone::get("Europe/Zurich").expect("the bundled database has it")
}

fn at(text: &str) -> Time {
    let moment: Timestamp = text.parse().expect("a moment");
    Time(u64::try_from(moment.as_millisecond()).expect("after 1970"))
}

fn deploy_windows(windows: &[&str], now: &str) -> DeployWindows {
    let windows: Vec<Window> = windows
        .iter()
        .map(|text| text.parse().expect("a window"))
        .collect();
    DeployWindows {
        upcoming: upcoming_windows(&windows, &zurich(), at(now)),
        is_limited: true,
        ..DeployWindows::default()
    }
}

fn refusal(windows: &[&str], now: &str, takes_s: u64) -> Option<String> {
    deploy_windows(windows, now).refusal(at(now), Duration::from_secs(takes_s))
}

#[test]
fn action_may_start_only_if_it_ends_within_the_window() {
    let night = &["02:00-05:00"];
    // In winter, Zürich is an hour ahead of UTC.
    assert_eq!(refusal(night, "2026-11-26T01:00:00Z", 3 * 3600), None);
    assert_eq!(
        refusal(night, "2026-11-26T03:56:00Z", 300).as_deref(),
        Some(
            "window 02:00-05:00 Europe/Zurich closes in 4m, but work started now takes at least 5m"
        )
    );
    assert_eq!(
        refusal(night, "2026-11-26T00:59:00Z", 0).as_deref(),
        Some("no deploy window is open; 02:00-05:00 Europe/Zurich opens in 1m")
    );
    assert!(
        refusal(night, "2026-11-26T04:00:00Z", 0).is_some(),
        "a window does not include its end"
    );
    assert_eq!(
        DeployWindows::default().refusal(at("2026-11-26T12:00:00Z"), Duration::MAX),
        None
    );
}

#[test]
fn window_may_span_midnight_and_be_limited_to_days() {
    // 2026-11-27 is a Friday.
    let weekend = &["Fri,Sat 22:00-06:00"];
    assert_eq!(refusal(weekend, "2026-11-27T22:00:00Z", 0), None);
    assert_eq!(
        refusal(weekend, "2026-11-28T04:59:00Z", 0),
        None,
        "still Friday's"
    );
    assert!(
        refusal(weekend, "2026-11-27T04:00:00Z", 0).is_some(),
        "Thursday has none"
    );
    assert!(refusal(&["Mon-Fri 02:00-05:00"], "2026-11-28T02:00:00Z", 0).is_some());
    assert_eq!(
        refusal(&["Sat-Mon 00:00-24:00"], "2026-11-29T22:59:00Z", 7200),
        None,
        "one follows the other"
    );
}

#[test]
fn window_omits_missing_hour_when_clocks_go_forward() {
    // On 2026-03-29 at 01:00Z, clocks go from 02:00 to 03:00.
    assert_eq!(
        deploy_windows(&["02:00-05:00"], "2026-03-29T00:00:00Z").upcoming[1].from,
        at("2026-03-29T01:00:00Z")
    );
    assert_eq!(
        refusal(&["02:00-05:00"], "2026-03-29T01:00:00Z", 2 * 3600),
        None
    );
    assert!(
        refusal(&["02:00-05:00"], "2026-03-29T01:00:00Z", 2 * 3600 + 1).is_some(),
        "it is an hour shorter"
    );
    let message = refusal(&["02:00-03:00"], "2026-03-29T00:59:00Z", 0)
        .expect("this night has no such window");
    assert!(message.ends_with("opens in 23h1m"), "{message}");
}

#[test]
fn window_is_longer_when_clocks_are_set_back() {
    // On 2026-10-25 at 01:00Z, clocks go from 03:00 back to 02:00.
    let night = deploy_windows(&["02:00-05:00"], "2026-10-25T00:30:00Z");
    let tonight = night
        .upcoming
        .iter()
        .find(|opening| opening.from == at("2026-10-25T00:00:00Z"))
        .expect("tonight");
    assert_eq!(tonight.until, at("2026-10-25T04:00:00Z"));
    assert_eq!(
        night.refusal(at("2026-10-25T00:30:00Z"), Duration::from_mins(210)),
        None
    );
}

#[test]
fn window_parser_explains_invalid_text() {
    let wrong = |text: &str| text.parse::<Window>().expect_err("no window");
    assert_eq!(wrong("02:00"), "expected `-` between two times of day");
    assert_eq!(wrong("2-5"), "`2` is not a time of day");
    assert_eq!(wrong("02:00-25:00"), "`25:00` is not a time of day");
    assert_eq!(
        wrong("Mo 02:00-05:00"),
        "expected one of Mon, Tue, … Sun, found `Mo`"
    );
    assert_eq!(
        wrong("Mon 02:00-05:00 UTC"),
        "expected `[DAYS ]HH:MM-HH:MM`"
    );
}
