//! The report page of a rollout: collects its contents and writes it.

use std::path::{Path, PathBuf};

use super::error::{Error, Internal};
use super::exit::Exit;
use super::last_known_good::KeptHosts;
use super::logging;
use super::session::Session;
use super::state_location::state_dir_access;
use crate::config::{self, Overrides, Selection, Source};
use crate::core::journal::placements::Placements;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::redact::Redactor;
use crate::core::release::Definition;
use crate::core::rollout::event::{Entry, Event, RolloutStart};
use crate::core::rollout::failure::Outcome;
use crate::core::spec::budget::Budget;
use crate::core::text_difference::difference;
use crate::report::html::{Changes, PageInput, RolloutInput, page};
use crate::report::{Glyphs, LocalClock, ReporterSetup, Versions};
use crate::store::{RevisionRecord, RolloutId};
use crate::{notify, report, trust};

/// The history of one rollout.
pub struct ReportInput {
    pub id: RolloutId,
    pub journal: Vec<Entry>,
    pub summary: RolloutSummary,
    pub start: RolloutStart,
    /// The instances that ran when the rollout began.
    before: Placements,
    setup: ReporterSetup,
    budget: Option<Budget>,
    records: Vec<RevisionRecord>,
}

/// The hosts, the versions and the time zone for pages about a service.
pub(super) fn setup(session: &Session, records: &[RevisionRecord]) -> ReporterSetup {
    let versions = records
        .iter()
        .map(|record| (record.release.clone(), record.definition.version.clone()));
    ReporterSetup {
        hosts: session.hosts(),
        slots: session.slots(&session.definitions()).into_keys().collect(),
        versions: Versions::new(versions.collect()),
        clock: LocalClock::local(),
        glyphs: Glyphs::UNICODE,
        service: None,
    }
}

impl ReportInput {
    /// Reads a rollout from the history. Without a `budget`, uses the one of the playbook at that
    /// time.
    pub(crate) fn read(
        session: &Session,
        id: RolloutId,
        budget: Option<Budget>,
    ) -> Result<Self, Error> {
        let journal = session.store.lock().journal(id)?;
        let unreadable = || {
            let why = format!("the journal of rollout {} has no start event", id.0);
            Error::from(Internal::Other(why))
        };
        let summary = RolloutSummary::of(&journal).ok_or_else(unreadable)?;
        let Some(Entry {
            event: Event::RolloutStarted(start),
            ..
        }) = journal.first()
        else {
            return Err(unreadable());
        };
        let start = start.clone();
        let records = session.records()?.revisions();
        let setup = setup(session, &records);
        let before = session.placements(Some(id))?;
        let budget = budget.or_else(|| budget_at_start(session, &records, &start));
        Ok(Self {
            id,
            journal,
            summary,
            start,
            before,
            setup,
            budget,
            records,
        })
    }

    /// The exit code of the run, if it has ended. A run whose second event is `Aborted` was
    /// `ship abort`.
    pub fn exit(&self) -> Option<Exit> {
        let is_abort = matches!(
            self.journal.get(1),
            Some(Entry {
                event: Event::Aborted { .. },
                ..
            })
        );
        self.summary.outcome.as_ref().map(|outcome| match outcome {
            Outcome::RolledBack if is_abort => Exit::Done,
            outcome => Exit::of(self.start.verb, outcome),
        })
    }

    /// The outcome in one line, and the lines below it.
    pub fn outcome_lines(&self) -> Option<(String, Vec<String>)> {
        report::summary_lines(&self.journal, &self.before, &self.setup, self.budget)
    }

    /// The version before this rollout, if there was one.
    pub fn previous_version(&self) -> Option<String> {
        self.previous_record()
            .map(|record| record.definition.version.clone())
    }

    /// The log of the rollout, rebuilt from its journal: its events, one per line, from the event
    /// `first` on, counted from 0.
    pub(crate) fn log_lines(&self, first: usize) -> Vec<String> {
        let texts = report::event_texts(&self.journal, &self.before, &self.setup, self.budget);
        let lines = self.journal.iter().zip(texts).skip(first);
        lines
            .map(|(entry, text)| logging::entry_line(entry.at, text))
            .collect()
    }

    pub(crate) fn page(&self, session: &Session, exit: Option<Exit>) -> Result<String, Error> {
        let input = PageInput {
            rollout: self.of_rollout(exit),
            setup: self.setup.clone(),
            arguments: arguments(session),
            now: session.now(),
        };
        page(input, &redactor(session)).map_err(|why| {
            let text = format!("cannot render the report of rollout {}: {why}", self.id.0);
            Internal::Other(text).into()
        })
    }

    /// The part of a page about this rollout.
    pub(super) fn of_rollout(&self, exit: Option<Exit>) -> RolloutInput<'_> {
        let record = self
            .records
            .iter()
            .find(|record| record.revision == self.start.target.revision);
        RolloutInput {
            rollout: self.id.0,
            journal: &self.journal,
            before: &self.before,
            budget: self.budget,
            who: record.map_or("unknown", |record| &record.who),
            reason: record.map_or("", |record| &record.reason),
            exit_code: exit.map(Exit::code),
            directives: record
                .map(|record| record.definition.systemd.to_string())
                .unwrap_or_default(),
            changes: record
                .zip(self.previous_record())
                .map(|(now, then)| changes(then, now))
                .unwrap_or_default(),
        }
    }

    /// The revision before this rollout: its rollback target, or else the one before it in the
    /// history.
    fn previous_record(&self) -> Option<&RevisionRecord> {
        let target = self.start.target.revision;
        let rollback_target = self
            .start
            .rollback_target
            .as_ref()
            .map(|rollback_target| rollback_target.revision);
        let record_of = |revision| {
            self.records
                .iter()
                .find(|record| record.revision == revision)
        };
        rollback_target.and_then(record_of).or_else(|| {
            self.records
                .iter()
                .rev()
                .find(|record| record.revision < target)
        })
    }
}

/// The budget of a rollout, from the playbook stored with its revision.
fn budget_at_start(
    session: &Session,
    records: &[RevisionRecord],
    start: &RolloutStart,
) -> Option<Budget> {
    let record = records
        .iter()
        .find(|record| record.revision == start.target.revision)?;
    let overrides = Overrides {
        version: Some(start.target.version.clone()),
        set: start.set.clone(),
    };
    let hosts = KeptHosts::of(start).map(|kept| kept.output);
    let selection = Selection {
        hosts: hosts.as_ref(),
        service: Some(&session.service_key.service),
        playbook: Some(&record.playbook),
    };
    let read = |path: &Path| std::fs::read(path);
    let project = config::load_service(&session.inventory, &overrides, read, selection).ok()?;
    let (hosts, slots) = (
        project.inventory.schedulable_hosts().count(),
        project.playbook.service.slots.numbers().len(),
    );
    let mut amounts = project.playbook.rollout.amounts(hosts);
    amounts.replicas = start.replicas;
    amounts.resolve(hosts, slots).ok()
}

/// The differences between two revisions.
fn changes(then: &RevisionRecord, now: &RevisionRecord) -> Changes {
    Changes {
        since: format!("revision {} ({})", then.revision, then.definition.version),
        parts: parts(&then.definition, &now.definition),
        playbook: difference(&then.playbook, &now.playbook),
    }
}

fn parts(then: &Definition, now: &Definition) -> Vec<[String; 3]> {
    const NOTHING: &str = "nothing";
    let digest = |digest: &str| digest.get(..10).unwrap_or(digest).to_owned();
    let slots = |definition: &Definition| {
        let slots = definition.slots();
        slots.map(|slots| slots.to_string()).unwrap_or_default()
    };
    let signal = |definition: &Definition| definition.stop_signal.name().to_owned();
    let directives = |definition: &Definition| definition.systemd.to_string();
    let secrets = |definition: &Definition| {
        definition
            .secrets_sha256
            .as_ref()
            .map_or(NOTHING.to_owned(), |_| "different".to_owned())
    };
    let mut changed = vec![
        [
            "version".to_owned(),
            then.version.clone(),
            now.version.clone(),
        ],
        [
            "artifact".to_owned(),
            digest(&then.artifact.sha256),
            digest(&now.artifact.sha256),
        ],
        [
            "command".to_owned(),
            then.command.join(" "),
            now.command.join(" "),
        ],
        ["slots".to_owned(), slots(then), slots(now)],
        ["stop_signal".to_owned(), signal(then), signal(now)],
        ["systemd".to_owned(), directives(then), directives(now)],
        [
            "shared_dirs".to_owned(),
            then.shared_dirs.join(" "),
            now.shared_dirs.join(" "),
        ],
    ];
    let mut names: Vec<_> = then.env.keys().chain(now.env.keys()).collect();
    names.sort();
    names.dedup();
    let value = |definition: &Definition, name: &str| {
        definition
            .env
            .get(name)
            .cloned()
            .unwrap_or_else(|| NOTHING.to_owned())
    };
    changed.extend(
        names
            .into_iter()
            .map(|name| [name.clone(), value(then, name), value(now, name)]),
    );
    changed.retain(|[_, then, now]| then != now);
    if then.secrets_sha256 != now.secrets_sha256 {
        changed.push(["secrets".to_owned(), secrets(then), secrets(now)]);
    }
    changed
}

/// The inventory and the service as arguments of commands, quoted for a shell.
fn arguments(session: &Session) -> String {
    let inventory = quoted_inventory(session);
    match session.project.inventory.stack {
        Some(_) => format!("{inventory} --service {}", session.service_key.service),
        None => inventory,
    }
}

/// The inventory as an argument of commands, quoted for a shell.
pub(super) fn quoted_inventory(session: &Session) -> String {
    let inventory = session.inventory.display().to_string();
    let quoted = shlex::try_quote(&inventory).map(std::borrow::Cow::into_owned);
    quoted.unwrap_or(inventory)
}

/// Redacts the secrets that are known on this machine, and those in the configuration itself.
pub fn redactor(session: &Session) -> Redactor {
    Redactor::new(secrets(session))
}

/// The texts that must not be on a page about a service.
pub(super) fn secrets(session: &Session) -> Vec<String> {
    let playbook = &session.project.playbook;
    // A secret that is not set on this machine cannot be redacted, but the others can.
    let variable = |name: &str| Some(std::env::var_os(name).unwrap_or_default());
    let secrets = config::read_secrets(&playbook.service, variable).unwrap_or_default();
    let query = match &playbook.artifact.source {
        Source::Url(url) => url.split_once('?').map(|(_, query)| query.to_owned()),
        Source::Path(_) => None,
    };
    let configured = playbook.notify.iter().flat_map(notify::secrets_of);
    let sudo_password = session.env.known_sudo_password();
    let sudo_password = sudo_password.map(|password| password.expose().to_owned());
    let of_service = secrets.expose().values().cloned();
    of_service
        .chain(query)
        .chain(configured)
        .chain(sudo_password)
        .collect()
}

/// Writes a report to a file and creates its directory.
pub(crate) fn write(path: &Path, html: &str) -> Result<(), Error> {
    let failed = |why: String| Internal::Other(format!("cannot write the report: {why}"));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|why| failed(format!("{}: {why}", dir.display())))?;
    }
    Ok(notify::write_textfile(path, html).map_err(failed)?)
}

/// Writes a report to the state directory, readable only by the owner. `name` is the number of the
/// rollout, or that of a deployment with its fleet.
pub(crate) fn write_to_state_dir(
    session: &Session,
    name: &str,
    html: &str,
) -> Result<PathBuf, Error> {
    session.state_dir.make(state_dir_access(&session.project))?;
    let path = session.state_dir.runs().join(format!("{name}.html"));
    write(&path, html)?;
    trust::make_private(&session.state_dir.runs());
    trust::make_private(&path);
    Ok(path)
}
