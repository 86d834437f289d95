//! Deploy windows: weekly periods in a time zone in which a deploy may run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{self, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::core::time::{Human, Time};

/// The days ahead for which windows are computed: a week, and one more for windows that started the
/// day before.
const DAYS_AHEAD: i32 = 8;

/// A time of day on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From Monday to Sunday.
    days: [bool; 7],
    from: civil::Time,
    /// On the next day if it is not after `from`.
    until: civil::Time,
    /// The text in the playbook.
    text: String,
}

/// A window on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindow {
    pub from: Time,
    pub until: Time,
    pub window: String,
}

/// When a rollout may start, and how long it takes at the least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeployWindows {
    /// The open and the next windows, ordered by their start; empty without any windows.
    pub upcoming: Vec<OpenWindow>,
    /// Whether deploys are limited to windows.
    pub is_limited: bool,
    /// The shortest time to replace an instance, by the settings of the playbook.
    pub replacement_time_min: Duration,
    /// The shortest time of a whole deploy in the history; zero if there is none.
    pub fastest_deploy: Duration,
}

impl FromStr for Window {
    type Err = String;

    /// `02:00-05:00`, `22:00-04:00` (to the next day), `Mon-Fri 02:00-05:00`, `Sat,Sun
    /// 00:00-24:00`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let (days, hours) = match (words.next(), words.next(), words.next()) {
            (Some(hours), None, _) => ([true; 7], hours),
            (Some(list), Some(hours), None) => (days(list)?, hours),
            _ => return Err("expected `[DAYS ]HH:MM-HH:MM`".to_owned()),
        };
        let (from, until) = hours
            .split_once('-')
            .ok_or("expected `-` between two times of day")?;
        Ok(Self {
            days,
            from: clock(from)?,
            until: clock(until)?,
            text: text.to_owned(),
        })
    }
}

/// `Mon-Fri`, `Sat,Sun`.
fn days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (weekday(first)?, weekday(last)?);
        let mut day = first;
        loop {
            days[usize::from(day.to_monday_zero_offset().unsigned_abs())] = true;
            if day == last {
                break;
            }
            day = day.next();
        }
    }
    Ok(days)
}

fn weekday(text: &str) -> Result<Weekday, String> {
    const NAMES: [(&str, Weekday); 7] = [
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
    let lower = text.to_ascii_lowercase();
    let found = NAMES.iter().find(|(name, _)| *name == lower);
    found.map(|(_, day)| *day).ok_or_else(|| {
        format!(
            "expected one of Mon, Tue, … Sun, found `{}`",
            text.escape_debug()
        )
    })
}

/// `02:00`; `24:00` is midnight.
fn clock(text: &str) -> Result<civil::Time, String> {
    let wrong = || format!("`{}` is not a time of day", text.escape_debug());
    let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
    let is_number = |part: &str| {
        (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(hour) || minute.len() != 2 || !is_number(minute) {
        return Err(wrong());
    }
    match (hour.parse::<i8>(), minute.parse::<i8>()) {
        (Ok(24), Ok(0)) => Ok(civil::Time::midnight()),
        (Ok(hour), Ok(minute)) => civil::Time::new(hour, minute, 0, 0).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Window {
    /// The window that starts on this day, if there is one.
    ///
    /// If clocks are set forward and skip a time, the time moves by the same amount. If clocks are
    /// set back and repeat a time, the first one counts.
    fn on(&self, day: civil::Date, zone: &TimeZone) -> Option<OpenWindow> {
        if !self.days[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs())] {
            return None;
        }
        let last = if self.until > self.from {
            day
        } else {
            day.tomorrow().ok()?
        };
        let moment = |day: civil::Date, time| {
            let zoned = zone
                .to_ambiguous_zoned(day.to_datetime(time))
                .compatible()
                .ok()?;
            Some(Time(
                u64::try_from(zoned.timestamp().as_millisecond()).unwrap_or(0),
            ))
        };
        let (from, until) = (moment(day, self.from)?, moment(last, self.until)?);
        let window = match zone.iana_name() {
            Some(name) => format!("{self} {name}"),
            None => self.to_string(),
        };
        (from < until).then_some(OpenWindow {
            from,
            until,
            window,
        })
    }
}

/// The open windows and those of the next days, ordered by their start.
pub fn upcoming_windows(windows: &[Window], zone: &TimeZone, now: Time) -> Vec<OpenWindow> {
    let now = Timestamp::from_millisecond(i64::try_from(now.0).unwrap_or(i64::MAX))
        .unwrap_or(Timestamp::MAX);
    let today = now.to_zoned(zone.clone()).date();
    let day = |ahead: i32| today.checked_add(ahead.days()).ok();
    let days: Vec<_> = (-1..=DAYS_AHEAD).filter_map(day).collect();
    let mut upcoming: Vec<_> = windows
        .iter()
        .flat_map(|window| days.iter().filter_map(|day| window.on(*day, zone)))
        .collect();
    upcoming.sort_by_key(|window| (window.from, window.until));
    upcoming
}

impl DeployWindows {
    /// Why an action of this duration may not start now; `None` if it may.
    pub fn refusal(&self, now: Time, takes: Duration) -> Option<String> {
        if !self.is_limited {
            return None;
        }
        let open = self
            .upcoming
            .iter()
            .filter(|window| window.from <= now && now < window.until);
        let Some(longest) = open.max_by_key(|window| self.closes(window)) else {
            let next = self.upcoming.iter().find(|window| window.from > now);
            return Some(match next {
                Some(next) => {
                    format!(
                        "no deploy window is open; {} opens in {}",
                        next.window,
                        Human(next.from.since(now))
                    )
                }
                None => "no deploy window is open, and none opens within a week".to_owned(),
            });
        };
        let left = self.closes(longest).since(now);
        (takes > left).then(|| {
            let window = &longest.window;
            format!(
                "window {window} closes in {}, but work started now takes at least {}",
                Human(left),
                Human(takes)
            )
        })
    }

    /// The end of a window, including windows that follow without a gap.
    fn closes(&self, window: &OpenWindow) -> Time {
        let follows = |until: Time, next: &OpenWindow| {
            if next.from <= until {
                until.max(next.until)
            } else {
                until
            }
        };
        self.upcoming.iter().fold(window.until, follows)
    }

    /// The next time at which [`Self::refusal`] may change for an action of this duration.
    pub fn changes_at(&self, now: Time, takes: Duration) -> Option<Time> {
        let ends = self
            .upcoming
            .iter()
            .flat_map(|window| [window.from, window.until, window.until - takes]);
        ends.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
