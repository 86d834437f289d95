//! Moments, as a person says them: by the clock on the wall.

use jiff::civil::{DateTime, Time as TimeOfDay};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::exit::CliError;
use crate::core::time::Time;

/// Which way from now a moment lies that is told by a distance or by a time of day.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimeDirection {
    Back,
    Ahead,
}

/// The moment that is meant by `10m` (ago), `02:00` (the last one), `2026-11-25`,
/// `2026-11-25T02:00` or a whole timestamp.
pub(super) fn past(option: &str, text: &str, now: Time, zone: &TimeZone) -> Result<Time, CliError> {
    moment(text, now, zone, TimeDirection::Back).ok_or_else(|| {
        none(
            option,
            text,
            "how long ago (10m, 2h, 1d), a time of day (02:00), or a day and a \
                            time (2026-11-25T02:00)",
        )
    })
}

/// The moment that is meant by `3d` (from now), `08:00` (the next one), `2026-12-01`,
/// `2026-12-01T08:00` or a whole timestamp.
pub(super) fn future(
    option: &str,
    text: &str,
    now: Time,
    zone: &TimeZone,
) -> Result<Time, CliError> {
    moment(text, now, zone, TimeDirection::Ahead).ok_or_else(|| {
        none(
            option,
            text,
            "for how long (2h, 3d), a time of day (08:00), or a day, with or without a time \
             (2026-12-01T08:00)",
        )
    })
}

fn none(option: &str, text: &str, right: &str) -> CliError {
    CliError::refused(format!(
        "error: {option} {}: no such moment; say {right}",
        text.escape_debug()
    ))
}

fn moment(text: &str, now: Time, zone: &TimeZone, way: TimeDirection) -> Option<Time> {
    let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    let now = Timestamp::from_millisecond(now_ms)
        .unwrap_or(Timestamp::MAX)
        .to_zoned(zone.clone());
    let meant = distant(text, &now, way)
        .or_else(|| exactly(text, zone))
        .or_else(|| nearest(text, &now, way))?;
    u64::try_from(meant.as_millisecond()).ok().map(Time)
}

fn distant(text: &str, now: &Zoned, way: TimeDirection) -> Option<Timestamp> {
    let span = text.parse::<Span>().ok()?.abs();
    let meant = if way == TimeDirection::Back {
        now.checked_sub(span)
    } else {
        now.checked_add(span)
    };
    Some(meant.ok()?.timestamp())
}

fn exactly(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let instant = text.parse::<Timestamp>().ok();
    instant.or_else(|| {
        Some(
            text.parse::<DateTime>()
                .ok()?
                .to_zoned(zone.clone())
                .ok()?
                .timestamp(),
        )
    })
}

fn nearest(text: &str, now: &Zoned, way: TimeDirection) -> Option<Timestamp> {
    let time: TimeOfDay = text.parse().ok()?;
    let of = |day: Zoned| day.with().time(time).build().ok();
    let today = of(now.clone())?;
    let meant = match way {
        TimeDirection::Back if today > *now => of(now.yesterday().ok()?)?,
        TimeDirection::Ahead if today <= *now => of(now.tomorrow().ok()?)?,
        TimeDirection::Back | TimeDirection::Ahead => today,
    };
    Some(meant.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2017-03-09T02:43:06.120Z, an hour later in Zürich.
    const NOW: Time = Time(1_489_027_386_120);

    fn zurich() -> TimeZone {
        TimeZone::get("Europe/Zurich").expect("the bundled database has it")
    }

    fn ago_s(text: &str) -> u64 {
        (NOW.0 - past("--since", text, NOW, &zurich()).expect(text).0) / 1000
    }

    fn ahead_s(text: &str) -> u64 {
        (future("--until", text, NOW, &zurich()).expect(text).0 - NOW.0) / 1000
    }

    #[test]
    fn what_was_is_so_long_ago_or_a_moment_of_its_own() {
        assert_eq!(
            [ago_s("90s"), ago_s("10m"), ago_s("2h 30m"), ago_s("1d")],
            [90, 600, 9000, 86_400]
        );
        assert_eq!(ago_s("2017-03-09T02:43:00Z"), 6);
        assert_eq!(ago_s("2017-03-09T03:43:00+01:00"), 6);
        assert_eq!(
            [ago_s("2017-03-09 03:43"), ago_s("03:43"), ago_s("03:44")],
            [6, 6, 86_400 - 54]
        );
    }

    #[test]
    fn what_is_to_come_is_so_far_ahead_or_a_moment_of_its_own() {
        assert_eq!([ahead_s("90s"), ahead_s("3d")], [90, 3 * 86_400]);
        assert_eq!([ahead_s("03:44"), ahead_s("03:43")], [53, 86_400 - 7]);
        assert_eq!(ahead_s("2017-03-10"), 20 * 3600 + 16 * 60 + 53);
        assert_eq!(ahead_s("2017-03-09T03:44"), 53);
    }

    #[test]
    fn nonsense_is_told_what_would_be_right() {
        for text in ["", "soon", "25:00", "10 bananas", "2017-13-01"] {
            let fail = past("--since", text, NOW, &zurich()).unwrap_err();
            let expected = format!("error: --since {text}: no such moment; say how long ago");
            assert!(fail.message.starts_with(&expected), "{}", fail.message);
        }
    }
}
