//! The tables and the function of ship in `PostgreSQL`.
//!
//! Everything is in one schema, `ship` unless the URL names another. The first process that
//! opens it for writing creates it; several may do so at once. Roles need these privileges:
//!
//! - to create the schema: `grant create on database STATE to DEPLOYER;`, or an administrator runs
//!   `create schema ship authorization DEPLOYER;` once.
//! - to deploy, for roles other than the owner: `grant usage on schema ship to ROLE; grant select,
//!   insert, update, delete on all tables in schema ship to ROLE; grant usage on all sequences in
//!   schema ship to ROLE;`
//! - to read (`ship status`, `ship history`): `grant usage on schema ship to ROLE; grant select on
//!   all tables in schema ship to ROLE;`
//!
//! A migration to a newer version is made by the owner.

use super::error::{FOREIGN_TABLES, WRONG_ENCODING, quote};

/// The version of the schema that this version of ship creates and uses.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// The statements for one schema.
#[derive(Debug)]
pub(super) struct PostgresSchema {
    /// The name, not quoted.
    name: String,
    /// The name as it stands in statements.
    quoted: String,
}

/// What is in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaState {
    /// Nothing: no process has written yet.
    Absent,
    /// An older version of ship has created it.
    Outdated,
    Ready,
    /// The version of a newer ship.
    Newer(i32),
}

impl SchemaState {
    pub(super) fn of_version(version: i32) -> Self {
        match version {
            SCHEMA_VERSION => SchemaState::Ready,
            older if older < SCHEMA_VERSION => SchemaState::Outdated,
            newer => SchemaState::Newer(newer),
        }
    }
}

impl PostgresSchema {
    /// `name` was validated.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            quoted: quote(name),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The channel for notifications. `PostgreSQL` limits its length to 63 bytes. Two schemas with
    /// one channel only cause reads that are not necessary.
    pub(super) fn channel(&self) -> String {
        let mut channel = format!("ship_{}", self.name);
        channel.truncate(63);
        channel
    }

    /// Reads the version. Fails with `undefined_table` if there is none.
    pub(super) fn select_version(&self) -> String {
        format!("select schema_version from {}.version", self.quoted)
    }

    /// Counts the tables, views and sequences in the schema `$1`.
    pub(super) fn count_tables() -> &'static str {
        "select count(*) from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')"
    }

    /// Brings the schema to the current version, in one transaction.
    pub(super) fn prepare(&self) -> String {
        let Self { name, quoted } = self;
        let first = self.first_version();
        format!(
            r"do $prepare$
declare
  found integer := 0;
begin
  -- One process after the other. The others then find that nothing is left to do.
  perform pg_advisory_xact_lock(hashtextextended('ship schema {name}', 0));
  if to_regclass('{quoted}.version') is not null then
    execute 'select schema_version from {quoted}.version' into found;
  elsif exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = '{name}' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')) then
    raise exception 'the schema {name} contains tables of another program'
      using errcode = '{FOREIGN_TABLES}';
  end if;
  if found < 1 then
    if current_setting('server_encoding') <> 'UTF8' then
      raise exception 'the encoding of the database is %, not UTF8',
        current_setting('server_encoding') using errcode = '{WRONG_ENCODING}';
    end if;
    -- An administrator may have created the schema for a role that may not.
    if to_regnamespace('{quoted}') is null then
      create schema {quoted};
    end if;
{first}
  end if;
end
$prepare$"
        )
    }

    /// Version 1.
    fn first_version(&self) -> String {
        let Self { name, quoted } = self;
        let channel = self.channel();
        format!(
            r#"
    create table {quoted}.records (
      key text collate "C" primary key,
      value text not null,
      created bigint not null,
      modified bigint not null,
      written timestamptz not null
    );
    create sequence {quoted}.revisions;
    create function {quoted}.commit(
      condition_kinds text[], condition_keys text[], condition_revisions bigint[],
      write_kinds text[], write_keys text[], write_values text[]
    ) returns bigint language plpgsql volatile security invoker
    set search_path = pg_catalog, pg_temp
    -- Shorter than the deadline of the client, so that it learns that nothing was written.
    set lock_timeout = '4s'
    as $commit$
    declare
      lock_number bigint;
      range record;
      revision bigint;
    begin
      -- A role may have turned this off. What is committed must be durable.
      if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
      end if;
      -- Transactions with a common key, whether there is a record or not, run one after the other.
      -- So the later one has the greater revision and sees what the earlier one wrote. The order
      -- prevents deadlocks.
      for lock_number in
        select distinct hashtextextended('{name}/' || k, 0)
        from unnest(condition_keys || write_keys) k order by 1
      loop
        perform pg_advisory_xact_lock(lock_number);
      end loop;
      -- Prefixes are deleted without knowing the keys, so the rows are locked, too.
      perform from {quoted}.records where key = any(condition_keys) order by key for share;
      if exists (
        select from unnest(condition_kinds, condition_keys, condition_revisions) c(kind, k, r)
        left join {quoted}.records on records.key = c.k
        where case c.kind
          when 'absent' then records.key is not null
          when 'created' then records.created is distinct from c.r
          when 'modified' then records.modified is distinct from c.r
          else true
        end
      ) then
        return null;
      end if;
      revision := nextval('{quoted}.revisions');
      if 'delete' = any(write_kinds) then
        delete from {quoted}.records using unnest(write_kinds, write_keys) w(kind, k)
        where w.kind = 'delete' and records.key = w.k;
      end if;
      -- The value of such a write is the first key after the range.
      for range in
        select w.k, w.v from unnest(write_kinds, write_keys, write_values) w(kind, k, v)
        where w.kind = 'delete_prefix' order by w.k
      loop
        delete from {quoted}.records where key >= range.k and key < range.v;
      end loop;
      insert into {quoted}.records (key, value, created, modified, written)
      select w.k, w.v, revision, revision, clock_timestamp()
      from unnest(write_kinds, write_keys, write_values) w(kind, k, v)
      where w.kind = 'put' order by w.k
      on conflict (key) do update
      set value = excluded.value, modified = excluded.modified, written = excluded.written;
      -- Only for records that a process waits for: notifications make commits wait for each other.
      perform pg_notify('{channel}', w.k) from unnest(write_kinds, write_keys) w(kind, k)
      where w.kind <> 'delete_prefix' and strpos(w.k, 'request') > 0 and octet_length(w.k) < 8000;
      return revision;
    end
    $commit$;
    create table {quoted}.version (
      only_row boolean primary key default true check (only_row),
      schema_version integer not null
    );
    insert into {quoted}.version (schema_version) values (1);"#
        )
    }

    /// Calls the function; its parameters are those of [`arrays`](super::statement).
    pub(super) fn commit(&self) -> String {
        format!("select {}.commit($1, $2, $3, $4, $5, $6)", self.quoted)
    }

    /// Reads the ranges from `$1` to before `$2`, and the time. There is at least one row for each
    /// range. Times are in microseconds.
    pub(super) fn read(&self) -> String {
        format!(
            "with clock as (select clock_timestamp() as now) \
             select q.number, (extract(epoch from clock.now) * 1000000)::bigint, \
             r.key, r.value, r.created, r.modified, \
             (extract(epoch from clock.now - r.written) * 1000000)::bigint \
             from clock cross join unnest($1, $2) with ordinality as q(low, high, number) \
             left join lateral (select * from {}.records where key >= q.low and key < q.high) r \
             on true order by q.number, r.key",
            self.quoted
        )
    }

    /// The time in microseconds, for when there are no tables.
    pub(super) fn read_time() -> &'static str {
        "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"
    }

    pub(super) fn renew(&self) -> String {
        format!(
            "update {}.records set written = clock_timestamp() where key = $1 and created = $2",
            self.quoted
        )
    }

    /// The size of the tables in the schema `$1`, with their indexes.
    pub(super) fn size() -> &'static str {
        "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relkind = 'r'"
    }

    pub(super) fn listen(&self) -> String {
        format!("listen {}", quote(&self.channel()))
    }
}
