//! Parses `--since` and `--until`: a duration from now, a time of day, or a date.

use jiff::civil::{DateTime, Time as TimeOfDay};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::exit::CliError;
use crate::core::time::Time;

/// Whether a duration or a time of day refers to the past or to the future.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimeDirection {
    Past,
    Future,
}

/// Parses a time in the past: `10m` (ago), `02:00` (the latest one), `2026-11-25`,
/// `2026-11-25T02:00` or a full timestamp.
pub(super) fn parse_past(
    option: &str,
    text: &str,
    now: Time,
    zone: &TimeZone,
) -> Result<Time, CliError> {
    parse(text, now, zone, TimeDirection::Past).ok_or_else(|| {
        invalid(
            option,
            text,
            "a duration before now (10m, 2h, 1d), a time of day (02:00), or a date and time \
             (2026-11-25T02:00)",
        )
    })
}

/// Parses a time in the future: `3d` (from now), `08:00` (the next one), `2026-12-01`,
/// `2026-12-01T08:00` or a full timestamp.
pub(super) fn parse_future(
    option: &str,
    text: &str,
    now: Time,
    zone: &TimeZone,
) -> Result<Time, CliError> {
    parse(text, now, zone, TimeDirection::Future).ok_or_else(|| {
        invalid(
            option,
            text,
            "a duration from now (2h, 3d), a time of day (08:00), or a date with or without a \
             time (2026-12-01T08:00)",
        )
    })
}

fn invalid(option: &str, text: &str, expected: &str) -> CliError {
    CliError::refused(format!(
        "error: invalid {option} `{}`: expected {expected}",
        text.escape_debug()
    ))
}

fn parse(text: &str, now: Time, zone: &TimeZone, direction: TimeDirection) -> Option<Time> {
    let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    let now = Timestamp::from_millisecond(now_ms)
        .unwrap_or(Timestamp::MAX)
        .to_zoned(zone.clone());
    let parsed = parse_duration(text, &now, direction)
        .or_else(|| parse_timestamp(text, zone))
        .or_else(|| parse_time_of_day(text, &now, direction))?;
    u64::try_from(parsed.as_millisecond()).ok().map(Time)
}

fn parse_duration(text: &str, now: &Zoned, direction: TimeDirection) -> Option<Timestamp> {
    let span = text.parse::<Span>().ok()?;
    if span.is_negative() && direction == TimeDirection::Future {
        return None;
    }
    let span = span.abs();
    let time = if direction == TimeDirection::Past {
        now.checked_sub(span)
    } else {
        now.checked_add(span)
    };
    Some(time.ok()?.timestamp())
}

fn parse_timestamp(text: &str, zone: &TimeZone) -> Option<Timestamp> {
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

/// The nearest point in the given direction that has this time of day.
fn parse_time_of_day(text: &str, now: &Zoned, direction: TimeDirection) -> Option<Timestamp> {
    let time: TimeOfDay = text.parse().ok()?;
    let at_time = |day: Zoned| day.with().time(time).build().ok();
    let today = at_time(now.clone())?;
    let nearest = match direction {
        TimeDirection::Past if today > *now => at_time(now.yesterday().ok()?)?,
        TimeDirection::Future if today <= *now => at_time(now.tomorrow().ok()?)?,
        TimeDirection::Past | TimeDirection::Future => today,
    };
    Some(nearest.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2017-03-09T02:43:06.120Z, an hour later in Zürich.
    const NOW: Time = Time(1_489_027_386_120);

    fn zurich() -> TimeZone {
        TimeZone::get("Europe/Zurich").expect("a zone of the bundled database")
    }

    fn ago_s(text: &str) -> u64 {
        (NOW.0 - parse_past("--since", text, NOW, &zurich()).expect(text).0) / 1000
    }

    fn ahead_s(text: &str) -> u64 {
        (parse_future("--until", text, NOW, &zurich()).expect(text).0 - NOW.0) / 1000
    }

    #[test]
    fn since_takes_a_duration_a_time_of_day_or_a_timestamp() {
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
    fn until_takes_a_duration_a_time_of_day_or_a_timestamp() {
        assert_eq!([ahead_s("90s"), ahead_s("3d")], [90, 3 * 86_400]);
        assert_eq!([ahead_s("03:44"), ahead_s("03:43")], [53, 86_400 - 7]);
        assert_eq!(ahead_s("2017-03-10"), 20 * 3600 + 16 * 60 + 53);
        assert_eq!(ahead_s("2017-03-09T03:44"), 53);
    }

    #[test]
    fn invalid_times_are_rejected_with_the_expected_forms() {
        for text in ["", "soon", "25:00", "10 bananas", "2017-13-01"] {
            let fail = parse_past("--since", text, NOW, &zurich()).unwrap_err();
            let expected = format!("error: invalid --since `{text}`: expected a duration before");
            assert!(fail.message.starts_with(&expected), "{}", fail.message);
        }
        let past = parse_future("--until", "-1d", NOW, &zurich()).unwrap_err();
        assert!(
            past.message.contains("a duration from now"),
            "{}",
            past.message
        );
    }
}
