//! Times for people in their time zone, and for programs in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::core::time::Time;

/// The time zone in which times are shown.
#[derive(Clone, Debug)]
pub struct LocalClock(TimeZone);

impl LocalClock {
    /// The time zone of this machine: `TZ`, or the system's.
    pub fn local() -> Self {
        Self(TimeZone::system())
    }

    /// A time zone that is `hours` ahead of UTC.
    #[cfg(test)]
    pub(crate) fn ahead(hours: i8) -> Self {
        Self(jiff::tz::offset(hours).to_time_zone())
    }

    /// The time of day: `10:43:06`.
    pub fn time_of_day(&self, time: Time) -> String {
        self.format(time, "%H:%M:%S")
    }

    /// The time of day without seconds: `10:43`.
    pub fn hours_and_minutes(&self, time: Time) -> String {
        self.format(time, "%H:%M")
    }

    /// The time of day with milliseconds: `10:43:06.120`.
    pub fn milliseconds_of_day(&self, time: Time) -> String {
        self.format(time, "%H:%M:%S%.3f")
    }

    /// The date and time: `2017-03-09 10:43:06`.
    pub fn day_and_time(&self, time: Time) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S")
    }

    /// The date and time with milliseconds: `2017-03-09 10:43:06.120`.
    pub fn precisely(&self, time: Time) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S%.3f")
    }

    fn format(&self, time: Time, format: &str) -> String {
        timestamp(time)
            .to_zoned(self.0.clone())
            .strftime(format)
            .to_string()
    }
}

/// RFC 3339 in UTC, with milliseconds: `2017-03-09T02:43:06.120Z`.
pub fn rfc3339(time: Time) -> String {
    timestamp(time)
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string()
}

/// A time beyond the last representable one becomes the last one.
fn timestamp(time: Time) -> Timestamp {
    i64::try_from(time.0)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: Time = Time(1_489_027_386_120);

    #[test]
    fn times_are_local_for_people_and_utc_for_programs() {
        assert_eq!(LocalClock::ahead(8).time_of_day(EXAMPLE), "10:43:06");
        assert_eq!(
            LocalClock::ahead(8).day_and_time(EXAMPLE),
            "2017-03-09 10:43:06"
        );
        assert_eq!(
            LocalClock::ahead(8).precisely(EXAMPLE),
            "2017-03-09 10:43:06.120"
        );
        assert_eq!(rfc3339(EXAMPLE), "2017-03-09T02:43:06.120Z");
    }

    #[test]
    fn time_beyond_the_calendar_is_shown_as_its_last_day() {
        assert!(rfc3339(Time(u64::MAX)).starts_with("9999-12-30"));
        LocalClock::local().time_of_day(Time(u64::MAX));
    }
}
