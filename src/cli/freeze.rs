//! `ship freeze` and `ship thaw`: for a while nothing new is deployed.

use jiff::tz::TimeZone;

use super::args::{Freeze as Args, Thaw};
use super::exit::{Exit, Fail};
use super::session::{Session, StoreAccess, who};
use super::{moment, print};
use crate::config::Overrides;
use crate::core::policy::service_state::Standing;
use crate::store::{Freeze, Request, Store, Wish};

pub(super) fn run(args: Args) -> Result<Exit, Fail> {
    let mut session = Session::recall(args.inventory, &Overrides::default(), StoreAccess::Write)?;
    let now = session.now();
    let until = args
        .until
        .map(|text| moment::future("--until", &text, now, &TimeZone::system()))
        .transpose()?;
    if until.is_some_and(|until| until <= now) {
        return Err(Fail::refused(
            "error: --until names a moment that has passed already",
        ));
    }
    let (user, host) = who();
    let freeze = Freeze {
        who: format!("{user}@{host}"),
        since: now,
        until,
        why: args.why.unwrap_or_default(),
    };
    session.store.set_freeze(&session.subject, &freeze)?;
    let mut said = format!(
        "deployment \"{}\" frozen by {freeze}; `ship thaw` ends it\n",
        session.subject.service
    );
    if session.standing()? == Standing::Running
        && let Some((rollout, _)) = session.newest()?
    {
        session.store.ask(
            rollout,
            &Request {
                wish: Wish::Freeze,
                by: freeze.to_string(),
            },
        )?;
        said.push_str(
            "a deploy that is under way ends what it has begun, and stops; `ship \
                       status` shows it\n",
        );
    }
    print(&said)
}

pub(super) fn thaw(args: Thaw) -> Result<Exit, Fail> {
    let mut session = Session::recall(args.inventory, &Overrides::default(), StoreAccess::Write)?;
    let service = session.subject.service.clone();
    let was_frozen = session.store.end_freeze(&session.subject)?;
    print(&if was_frozen {
        format!("deployment \"{service}\" thawed\n")
    } else {
        format!("deployment \"{service}\" was not frozen\n")
    })
}
