//! From when on, as a person says it.

use jiff::civil::{DateTime, Time as TimeOfDay};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::super::exit::Fail;
use crate::core::time::Time;

/// The moment that is meant by `10m` (ago), `02:00` (the last one), `2026-11-25T02:00` or `2026-11-25T01:00:00Z`.
pub(super) fn moment(text: &str, now: Time) -> Result<Time, Fail> {
    let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    let now = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::system());
    let meant = before(text, &now).or_else(|| exactly(text, now.time_zone())).or_else(|| last(text, &now));
    let meant = meant.and_then(|timestamp| u64::try_from(timestamp.as_millisecond()).ok()).map(Time);
    meant.ok_or_else(|| {
        Fail::refused(format!(
            "error: --since {text}: no such moment; say how long ago (10m, 2h, 1d), a time of day (02:00), or a day and a \
             time (2026-11-25T02:00)"
        ))
    })
}

fn before(text: &str, now: &Zoned) -> Option<Timestamp> {
    let span: Span = text.parse().ok()?;
    Some(now.checked_sub(span.abs()).ok()?.timestamp())
}

fn exactly(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let instant = text.parse::<Timestamp>().ok();
    instant.or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp()))
}

fn last(text: &str, now: &Zoned) -> Option<Timestamp> {
    let time: TimeOfDay = text.parse().ok()?;
    let today = now.with().time(time).build().ok()?;
    let meant = if today > *now { now.yesterday().ok()?.with().time(time).build().ok()? } else { today };
    Some(meant.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2017-03-09T02:43:06.120Z.
    const NOW: Time = Time(1_489_027_386_120);

    fn ago_s(text: &str) -> u64 {
        (NOW.0 - moment(text, NOW).unwrap().0) / 1000
    }

    #[test]
    fn it_is_so_long_ago_or_a_moment_of_its_own() {
        assert_eq!([ago_s("90s"), ago_s("10m"), ago_s("2h 30m"), ago_s("1d")], [90, 600, 9000, 86_400]);
        assert_eq!(ago_s("2017-03-09T02:43:00Z"), 6);
        assert_eq!(ago_s("2017-03-09T03:43:00+01:00"), 6);
        assert!(ago_s("02:00") < 86_400);
    }

    #[test]
    fn nonsense_is_told_what_would_be_right() {
        for text in ["", "soon", "25:00", "10 bananas", "2017-13-01"] {
            let fail = moment(text, NOW).unwrap_err();
            assert!(
                fail.message.starts_with(&format!("error: --since {text}: no such moment; say")),
                "{}",
                fail.message
            );
        }
    }
}
