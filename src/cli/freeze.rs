//! `ship freeze` and `ship thaw`: for a while nothing new is deployed.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::args::{Freeze as Args, Thaw};
use super::exit::{Exit, Fail};
use super::print;
use super::session::{Session, who};
use crate::config::{Overrides, parse_duration};
use crate::core::standing::Standing;
use crate::core::time::Time;
use crate::store::{Freeze, Request, Store, Wish};

pub(super) fn run(args: Args) -> Result<Exit, Fail> {
    let mut session = Session::open(args.inventory, &Overrides::default())?;
    let now = session.now();
    let until = args.until.map(|text| moment(&text, now, &TimeZone::system())).transpose()?;
    if until.is_some_and(|until| until <= now) {
        return Err(Fail::refused("error: --until names a moment that has passed already"));
    }
    let (user, host) = who();
    let freeze = Freeze { who: format!("{user}@{host}"), since: now, until, why: args.why.unwrap_or_default() };
    session.store.set_freeze(&session.subject, &freeze)?;
    let mut said = format!("deployment \"{}\" frozen by {freeze}; `ship thaw` ends it\n", session.subject.service);
    if session.standing()? == Standing::Running
        && let Some((rollout, _)) = session.newest()?
    {
        session.store.ask(rollout, &Request { wish: Wish::Freeze, by: freeze.to_string() })?;
        said.push_str("a deploy that is under way ends what it has begun, and stops; `ship status` shows it\n");
    }
    print(&said)
}

pub(super) fn thaw(args: Thaw) -> Result<Exit, Fail> {
    let mut session = Session::open(args.inventory, &Overrides::default())?;
    let service = session.subject.service.clone();
    let was_frozen = session.store.end_freeze(&session.subject)?;
    print(&if was_frozen {
        format!("deployment \"{service}\" thawed\n")
    } else {
        format!("deployment \"{service}\" was not frozen\n")
    })
}

/// `3d`, `2026-12-01`, `2026-12-01 08:00` or a whole timestamp: by the clock of this machine.
fn moment(text: &str, now: Time, zone: &TimeZone) -> Result<Time, Fail> {
    if let Ok(duration) = parse_duration(text) {
        return Ok(now + duration);
    }
    let local = || text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let zoned = || text.parse::<Zoned>().ok().map(|zoned| zoned.timestamp());
    let found = text.parse::<Timestamp>().ok().or_else(zoned).or_else(local);
    found.and_then(|at| u64::try_from(at.as_millisecond()).ok()).map(Time).ok_or_else(|| {
        Fail::refused(format!(
            "error: `{}` is no moment; write \"2026-12-01\", \"2026-12-01 08:00\" or a duration such as \"3d\"",
            text.escape_debug()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_meant_by_the_clock_on_the_wall() {
        let zone = TimeZone::get("Europe/Zurich").expect("the bundled database has it");
        let now = Time(1_764_115_200_000); // 2025-11-26T00:00:00Z
        let hours = |text: &str| moment(text, now, &zone).map(|at| at.since(now).as_secs() / 3600).expect(text);
        assert_eq!(hours("3d"), 72);
        assert_eq!(hours("2025-11-27"), 23);
        assert_eq!(hours("2025-11-27 08:00"), 31);
        assert_eq!(hours("2025-11-27T08:00"), 31);
        assert_eq!(hours("2025-11-27T08:00:00Z"), 32);
        assert!(moment("soon", now, &zone).is_err());
    }
}
