//! The store on the control machine: one `SQLite` file, readable by another process meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lease::Holder;
use super::{KnownInventory, NewRevision, Place, RevisionRecord, RolloutId, Store, StoreError, Subject};
use crate::core::event::{Entry, Verb};
use crate::core::failure::Outcome;
use crate::core::names::{Epoch, ReleaseId, Revision};
use crate::core::release::Definition;
use crate::core::time::Time;

/// The schema's version, in `user_version`: a database of a newer ship is refused rather than misread.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    create table revisions (
        fleet text not null, service text not null, revision integer not null,
        release text not null, definition text not null, playbook text not null,
        who text not null, cause text not null, verb text not null,
        proven integer not null default 0,
        primary key (fleet, service, revision)
    ) without rowid;
    create table rollouts (
        id integer primary key,
        fleet text not null, service text not null, revision integer not null, epoch integer not null,
        began_ms integer not null, ended_ms integer, outcome text
    );
    create index rollouts_by_revision on rollouts (fleet, service, revision);
    create table events (
        rollout integer not null references rollouts (id) on delete cascade,
        seq integer not null, entry text not null,
        primary key (rollout, seq)
    ) without rowid;
    create table counters (
        fleet text not null, service text not null, epoch integer not null default 0, revision integer not null default 0,
        primary key (fleet, service)
    ) without rowid;
    create table leases (
        fleet text not null, service text not null,
        owner text not null, host text not null, pid integer not null, pid_started integer not null,
        run text not null, since_ms integer not null, heartbeat_ms integer not null,
        primary key (fleet, service)
    ) without rowid;
    create table inventories (
        fleet text not null, service text not null, inventory text not null,
        primary key (fleet, service)
    ) without rowid;
";

/// A store in one `SQLite` file.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// The lease that this process holds, if it does.
    held: Option<(Subject, Holder)>,
}

impl Sqlite {
    /// Opens the store of a place, and makes it if there is none.
    ///
    /// # Errors
    /// If it cannot be made or opened, or a newer ship has written it.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        place.make()?;
        Self::open_file(&place.database())
    }

    /// Opens the store of a place if there is one.
    ///
    /// # Errors
    /// As for [`Sqlite::open`].
    pub fn open_existing(place: &Place) -> Result<Option<Self>, StoreError> {
        if place.database().is_file() { Self::open_file(&place.database()).map(Some) } else { Ok(None) }
    }

    fn open_file(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Database { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        let pragmas = "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;";
        connection.execute_batch(pragmas).map_err(failed)?;
        let version = migrate(&mut connection).map_err(failed)?;
        if version > SCHEMA_VERSION {
            let what = format!("its format is {version}, this ship knows {SCHEMA_VERSION}; use the newer ship");
            return Err(StoreError::Unreadable { path: path.to_owned(), what });
        }
        Ok(Self { connection, path: path.to_owned(), held: None })
    }

    /// Takes the lease, if nobody alive has it. It must be renewed well within half a minute.
    ///
    /// # Errors
    /// [`StoreError::Held`] says who has it.
    pub fn acquire_lease(&mut self, subject: &Subject, holder: Holder) -> Result<(), StoreError> {
        let path = self.path.clone();
        let now = holder.now;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| StoreError::Database { path: path.clone(), source })?;
        let database = |source| StoreError::Database { path: path.clone(), source };
        let present = read_lease(&transaction, subject, now).map_err(database)?;
        if let Some(present) = present.filter(|present| !present.is_dead(&holder.host, now)) {
            return Err(StoreError::Held(present));
        }
        transaction
            .execute(
                "insert or replace into leases values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    subject.fleet,
                    subject.service,
                    holder.owner,
                    holder.host,
                    holder.pid,
                    signed(holder.pid_started),
                    holder.run,
                    signed(holder.since.0),
                    signed(now.0)
                ],
            )
            .map_err(database)?;
        transaction.commit().map_err(database)?;
        self.held = Some((subject.clone(), holder));
        Ok(())
    }

    /// Gives the lease back; nothing happens if there is none, or another has it by now.
    ///
    /// # Errors
    /// If the store cannot be written: the lease then expires by itself.
    pub fn release_lease(&mut self) -> Result<(), StoreError> {
        let Some((subject, holder)) = self.held.take() else { return Ok(()) };
        self.execute(
            "delete from leases where fleet = ?1 and service = ?2 and host = ?3 and pid = ?4 and pid_started = ?5",
            params![subject.fleet, subject.service, holder.host, holder.pid, signed(holder.pid_started)],
        )
        .map(drop)
    }

    /// Who holds the lease, if anybody alive does.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn holder(&self, subject: &Subject, here: &str, now: Time) -> Result<Option<Holder>, StoreError> {
        let holder = read_lease(&self.connection, subject, now).map_err(|source| self.failed(source))?;
        Ok(holder.filter(|holder| !holder.is_dead(here, now)))
    }

    /// Remembers from which inventory a fleet was deployed.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn remember(&mut self, subject: &Subject, inventory: &Path) -> Result<(), StoreError> {
        let inventory = inventory.to_string_lossy();
        self.execute(
            "insert or replace into inventories values (?1, ?2, ?3)",
            params![subject.fleet, subject.service, inventory],
        )
        .map(drop)
    }

    /// The inventories that were deployed from here.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn inventories(&self) -> Result<Vec<KnownInventory>, StoreError> {
        self.query("select fleet, service, inventory from inventories order by inventory", params![], |row| {
            let subject = Subject { fleet: row.get(0)?, service: row.get(1)? };
            Ok(KnownInventory { subject, inventory: PathBuf::from(row.get::<_, String>(2)?) })
        })
    }

    /// Every release that any revision of any fleet and service refers to.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn definitions(&self) -> Result<Vec<(ReleaseId, Definition)>, StoreError> {
        let texts: Vec<(String, String)> =
            self.query("select distinct release, definition from revisions", params![], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        texts
            .into_iter()
            .map(|(release, text)| Ok((ReleaseId::from(release), self.decode("a revision's definition", &text)?)))
            .collect()
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(|source| self.failed(source))
    }

    fn query<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect())
            .map_err(|source| self.failed(source))
    }

    fn decode<T: DeserializeOwned>(&self, what: &str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text)
            .map_err(|error| StoreError::Unreadable { path: self.path.clone(), what: format!("{what}: {error}") })
    }

    fn encode<T: Serialize>(&self, what: &str, value: &T) -> Result<String, StoreError> {
        serde_json::to_string(value)
            .map_err(|error| StoreError::Unreadable { path: self.path.clone(), what: format!("{what}: {error}") })
    }
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(version)
}

fn read_lease(connection: &Connection, subject: &Subject, now: Time) -> rusqlite::Result<Option<Holder>> {
    connection
        .query_row(
            "select owner, host, pid, pid_started, run, since_ms, heartbeat_ms from leases
             where fleet = ?1 and service = ?2",
            params![subject.fleet, subject.service],
            |row| {
                Ok(Holder {
                    owner: row.get(0)?,
                    host: row.get(1)?,
                    pid: row.get(2)?,
                    pid_started: unsigned(row.get(3)?),
                    run: row.get(4)?,
                    since: Time(unsigned(row.get(5)?)),
                    heartbeat: Time(unsigned(row.get(6)?)),
                    now,
                })
            },
        )
        .optional()
}

/// `SQLite` knows signed numbers only. Milliseconds, ticks and epochs are far from the edge.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Store for Sqlite {
    fn revisions(&self, subject: &Subject) -> Result<Vec<RevisionRecord>, StoreError> {
        struct Raw {
            texts: [String; 5],
            revision: u32,
            verb: String,
            proven: bool,
            began: Option<i64>,
            ended: Option<i64>,
            outcome: Option<String>,
        }
        let raw = self.query(
            "select v.revision, v.release, v.definition, v.playbook, v.who, v.cause, v.verb, v.proven,
                    r.began_ms, r.ended_ms, r.outcome
             from revisions v left join rollouts r on r.id = (
                 select max(id) from rollouts
                 where fleet = v.fleet and service = v.service and revision = v.revision)
             where v.fleet = ?1 and v.service = ?2 order by v.revision",
            params![subject.fleet, subject.service],
            |row| {
                Ok(Raw {
                    texts: [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
                    revision: row.get(0)?,
                    verb: row.get(6)?,
                    proven: row.get(7)?,
                    began: row.get(8)?,
                    ended: row.get(9)?,
                    outcome: row.get(10)?,
                })
            },
        )?;
        raw.into_iter()
            .map(|raw| {
                let [release, definition, playbook, who, cause] = raw.texts;
                Ok(RevisionRecord {
                    revision: Revision(raw.revision),
                    release: ReleaseId::from(release),
                    definition: self.decode("a revision's definition", &definition)?,
                    playbook,
                    who,
                    cause,
                    verb: self.decode::<Verb>("a revision's verb", &raw.verb)?,
                    began: Time(unsigned(raw.began.unwrap_or(0))),
                    ended: raw.ended.map(|ms| Time(unsigned(ms))),
                    outcome: raw.outcome.map(|text| self.decode("a rollout's outcome", &text)).transpose()?,
                    proven: raw.proven,
                })
            })
            .collect()
    }

    fn add_revision(&mut self, subject: &Subject, new: &NewRevision) -> Result<Revision, StoreError> {
        let definition = self.encode("a revision's definition", &new.definition)?;
        let verb = self.encode("a revision's verb", &new.verb)?;
        let number: u32 = self
            .query(
                "insert into counters (fleet, service, revision) values (?1, ?2, 1)
                 on conflict do update set revision = revision + 1 returning revision",
                params![subject.fleet, subject.service],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        self.execute(
            "insert into revisions (fleet, service, revision, release, definition, playbook, who, cause, verb)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                subject.fleet,
                subject.service,
                number,
                new.release.as_str(),
                definition,
                new.playbook,
                new.who,
                new.cause,
                verb
            ],
        )?;
        Ok(Revision(number))
    }

    fn retain_revisions(&mut self, subject: &Subject, kept: &BTreeSet<Revision>) -> Result<(), StoreError> {
        let kept: Vec<String> = kept.iter().map(|revision| revision.0.to_string()).collect();
        // Numbers only, so the text is safe to splice; SQLite binds no lists.
        let list = kept.join(", ");
        for table in ["rollouts", "revisions"] {
            self.execute(
                &format!("delete from {table} where fleet = ?1 and service = ?2 and revision not in ({list})"),
                params![subject.fleet, subject.service],
            )?;
        }
        Ok(())
    }

    fn begin_rollout(
        &mut self,
        subject: &Subject,
        revision: Revision,
        seen: Epoch,
        now: Time,
    ) -> Result<(RolloutId, Epoch), StoreError> {
        let epoch: i64 = self
            .query(
                "insert into counters (fleet, service, epoch) values (?1, ?2, ?3 + 1)
                 on conflict do update set epoch = max(epoch, ?3) + 1 returning epoch",
                params![subject.fleet, subject.service, signed(seen.0)],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        let id = self
            .query(
                "insert into rollouts (fleet, service, revision, epoch, began_ms)
                 values (?1, ?2, ?3, ?4, ?5) returning id",
                params![subject.fleet, subject.service, revision.0, epoch, signed(now.0)],
                |row| row.get(0),
            )?
            .pop()
            .unwrap_or_default();
        Ok((RolloutId(id), Epoch(unsigned(epoch))))
    }

    fn append(&mut self, rollout: RolloutId, entries: &[Entry]) -> Result<(), StoreError> {
        // One commit, however many: each waits for the disk.
        let transaction = self.connection.unchecked_transaction().map_err(|source| self.failed(source))?;
        for entry in entries {
            let text = self.encode("an event", entry)?;
            self.execute(
                "insert into events values (?1, 1 + coalesce((select max(seq) from events where rollout = ?1), 0), ?2)",
                params![rollout.0, text],
            )?;
        }
        transaction.commit().map_err(|source| self.failed(source))
    }

    fn end_rollout(&mut self, rollout: RolloutId, outcome: &Outcome, now: Time) -> Result<(), StoreError> {
        let text = self.encode("an outcome", outcome)?;
        self.execute(
            "update rollouts set ended_ms = ?1, outcome = ?2 where id = ?3",
            params![signed(now.0), text, rollout.0],
        )?;
        if *outcome == Outcome::Succeeded {
            self.execute(
                "update revisions set proven = 1 from rollouts r
                 where r.id = ?1 and revisions.fleet = r.fleet and revisions.service = r.service
                   and revisions.revision = r.revision",
                params![rollout.0],
            )?;
        }
        Ok(())
    }

    fn renew_lease(&mut self, now: Time) -> Result<(), StoreError> {
        let Some((subject, holder)) = &self.held else { return Ok(()) };
        let changed = self.execute(
            "update leases set heartbeat_ms = ?1
             where fleet = ?2 and service = ?3 and host = ?4 and pid = ?5 and pid_started = ?6",
            params![signed(now.0), subject.fleet, subject.service, holder.host, holder.pid, signed(holder.pid_started)],
        )?;
        if changed == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    fn newest_journal(&self, subject: &Subject) -> Result<Option<Vec<Entry>>, StoreError> {
        let newest: Option<i64> = self
            .query(
                "select id from rollouts where fleet = ?1 and service = ?2 order by id desc limit 1",
                params![subject.fleet, subject.service],
                |row| row.get(0),
            )?
            .pop();
        let Some(newest) = newest else { return Ok(None) };
        let texts: Vec<String> =
            self.query("select entry from events where rollout = ?1 order by seq", params![newest], |row| row.get(0))?;
        texts.iter().map(|text| self.decode("an event", text)).collect::<Result<_, _>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::event::Event;
    use crate::core::release::{Artifact, ArtifactForm, Check, Driver, Readiness, Via};

    fn subject() -> Subject {
        Subject { fleet: "production".into(), service: "page".into() }
    }

    fn new(version: &str) -> NewRevision {
        let second = Duration::from_secs(1);
        NewRevision {
            release: ReleaseId::from(format!("digest-of-{version}")),
            definition: Definition {
                service: "page".into(),
                version: version.into(),
                command: vec!["./page".into()],
                env: BTreeMap::new(),
                driver: Driver::Process,
                user: None,
                stop_timeout: second,
                readiness: Readiness {
                    check: Check::Tcp,
                    via: Via::Direct,
                    interval: second,
                    timeout: second,
                    successes: 1,
                    failures: 3,
                    initial_delay: Duration::ZERO,
                },
                artifact: Artifact {
                    form: ArtifactForm::TarGz,
                    sha256: "0".into(),
                    size_bytes: 1,
                    strip_components: 0,
                },
                secrets_sha256: None,
            },
            playbook: "version = \"1\"".into(),
            who: "anna@here".into(),
            cause: "because".into(),
            verb: Verb::Deploy,
        }
    }

    fn store() -> (tempfile::TempDir, Place, Sqlite) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().join(".ship") };
        let store = Sqlite::open(&place).unwrap();
        (dir, place, store)
    }

    #[test]
    fn a_second_process_reads_what_the_first_has_just_written() {
        let (_dir, place, mut store) = store();
        let revision = store.add_revision(&subject(), &new("1")).unwrap();
        let (rollout, _) = store.begin_rollout(&subject(), revision, Epoch(0), Time(5)).unwrap();
        let entry = Entry { at: Time(6), event: Event::Interrupted { by: "SIGINT".into() } };
        store.append(rollout, std::slice::from_ref(&entry)).unwrap();

        let reader = Sqlite::open_existing(&place).unwrap().unwrap();
        assert_eq!(reader.newest_journal(&subject()).unwrap().unwrap(), [entry]);
        let record = reader.revisions(&subject()).unwrap().remove(0);
        assert_eq!((record.began, record.ended, record.outcome, record.proven), (Time(5), None, None, false));
        assert_eq!(record.definition, new("1").definition);
    }

    #[test]
    fn a_revision_is_proven_once_a_rollout_of_it_has_succeeded() {
        let (_dir, _, mut store) = store();
        let revision = store.add_revision(&subject(), &new("1")).unwrap();
        for outcome in [Outcome::Interrupted, Outcome::Succeeded, Outcome::RolledBack] {
            let (rollout, _) = store.begin_rollout(&subject(), revision, Epoch(0), Time(5)).unwrap();
            store.end_rollout(rollout, &outcome, Time(9)).unwrap();
        }
        let record = store.revisions(&subject()).unwrap().remove(0);
        assert!(record.proven);
        assert_eq!(record.outcome, Some(Outcome::RolledBack), "of its newest rollout");
    }

    #[test]
    fn numbers_of_revisions_and_epochs_are_never_given_twice() {
        let (_dir, _, mut store) = store();
        for expected in 1..=3 {
            assert_eq!(store.add_revision(&subject(), &new("1")).unwrap(), Revision(expected));
        }
        store.retain_revisions(&subject(), &BTreeSet::from([Revision(1)])).unwrap();
        assert_eq!(store.revisions(&subject()).unwrap().len(), 1);
        assert_eq!(store.add_revision(&subject(), &new("1")).unwrap(), Revision(4));

        let mut epoch = |seen| store.begin_rollout(&subject(), Revision(4), Epoch(seen), Time(1)).unwrap().1;
        assert_eq!((epoch(0), epoch(0), epoch(40), epoch(3)), (Epoch(1), Epoch(2), Epoch(41), Epoch(42)));
    }

    #[test]
    fn the_lease_is_for_one_and_says_whose_it_is() {
        let (_dir, place, mut store) = store();
        let me = Holder::this_process("anna", "here", "deploy 0.9", Time(1000));
        store.acquire_lease(&subject(), me.clone()).unwrap();

        let mut other = Sqlite::open(&place).unwrap();
        let rival = Holder { owner: "bert".into(), now: Time(61_000 - 30_000), ..me.clone() };
        let refusal = other.acquire_lease(&subject(), rival.clone()).unwrap_err().to_string();
        assert!(refusal.starts_with("locked by anna@here (pid "), "{refusal}");
        assert!(refusal.contains("deploy 0.9) since 19") && refusal.contains(", 30s ago;"), "{refusal}");

        store.release_lease().unwrap();
        other.acquire_lease(&subject(), rival).unwrap();
    }

    #[test]
    fn a_dead_owners_lease_is_taken_over_and_the_late_owner_learns_it() {
        let (_dir, place, mut store) = store();
        let me = Holder::this_process("anna", "laptop", "deploy", Time(1000));
        store.acquire_lease(&subject(), me.clone()).unwrap();
        let mut other = Sqlite::open(&place).unwrap();
        let rival = Holder { host: "server".into(), now: Time(32_000), ..me };
        other.acquire_lease(&subject(), rival).unwrap();
        assert!(matches!(store.renew_lease(Time(33_000)), Err(StoreError::LeaseLost)));
    }

    #[test]
    fn a_database_of_a_newer_ship_is_refused_not_misread() {
        let (_dir, place, store) = store();
        store.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        assert!(Sqlite::open(&place).unwrap_err().to_string().contains("use the newer ship"));
    }
}
