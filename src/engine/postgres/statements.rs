//! The SQL of the PostgreSQL target. `{schema}` stands for the quoted name of the schema.

use super::super::ladder::{Step, ladder};

/// What makes and upgrades the tables.
pub(super) const LADDER: &[Step] = ladder(&[Step {
    version: 1,
    statements: &MIGRATION_1,
}]);

/// Records a version.
pub(super) const RECORD_VERSION: &str = "insert into {schema}.fga_sync_schema (version, applied_at)
    values ({version}, now())
    on conflict do nothing";

/// Creates the schema where there is none; it needs the right to create one even where there is.
pub(super) const CREATE_SCHEMA: &str = include_str!("schema/0001_schema.sql");

/// What makes version 1 inside the schema, in order. Each can be repeated.
const MIGRATION_1: [&str; 6] = [
    include_str!("schema/0001_fga_changelog.sql"),
    include_str!("schema/0001_fga_tuples.sql"),
    include_str!("schema/0001_fga_sync_state.sql"),
    include_str!("schema/0001_fga_sync_runs.sql"),
    include_str!("schema/0001_fga_sync_overlap.sql"),
    include_str!("schema/0001_fga_sync_schema.sql"),
];

/// The server's version, and how the session is encrypted; null where it is not.
pub(super) const SERVER: &str = "
    select current_setting('server_version'),
           (select s.version from pg_catalog.pg_stat_ssl s where s.pid = pg_catalog.pg_backend_pid())";

/// What decides whether a commit outlives a crash.
pub(super) const DURABILITY: &str = "
    select current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')";

/// The server's session, and a limit that every session of ours asks for.
pub(super) const SESSION_SEEN: &str =
    "select pg_catalog.pg_backend_pid(), current_setting('lock_timeout')";

pub(super) const HAS_SCHEMA: &str =
    "select exists (select from pg_catalog.pg_namespace where nspname = $1)";

/// And the database's encoding, and a table of which a policy hides rows from this user: it would seem that they never were there.
pub(super) const HAS_VERSION: &str = "
    select current_setting('server_encoding'), (
        select min(c.relname::text)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and pg_catalog.row_security_active(c.oid)
          and c.relname in ('fga_changelog', 'fga_tuples', 'fga_sync_schema', 'fga_sync_state', 'fga_sync_runs',
                            'fga_sync_overlap')
          and (exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid and not p.polpermissive)
               or not exists (
                   select from pg_catalog.pg_policy p
                   where p.polrelid = c.oid and p.polcmd = '*'
                     and pg_catalog.pg_get_expr(p.polqual, c.oid) = 'true'
                     and coalesce(pg_catalog.pg_get_expr(p.polwithcheck, c.oid), 'true') = 'true'
                     and exists (
                         select from unnest(p.polroles) r
                         where r = 0 or pg_catalog.pg_has_role(current_user, r, 'usage'))))), exists (
        select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = 'fga_sync_schema' and c.relkind in ('r', 'p'))";

pub(super) const VERSION: &str = "select max(version) from {schema}.fga_sync_schema";

/// Types are without the quotes that `quote_all_identifiers` adds. A partitioned table differs in the type of every column: rows are deleted by their place in the one table.
pub(super) const COLUMNS: &str = "
    select c.relname::text, a.attname::text,
           case when c.relkind = 'p' then 'partitioned ' else '' end
               || trim('\"' from pg_catalog.format_type(a.atttypid, a.atttypmod)),
           not a.attnotnull, coalesce(a.attnum = any (k.indkey), false)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_index k on k.indrelid = c.oid and k.indisprimary
    where n.nspname = $1 and c.relkind in ('r', 'p')
      and c.relname in ('fga_changelog', 'fga_tuples', 'fga_sync_state', 'fga_sync_runs',
                        'fga_sync_overlap')";

/// $1 the key. Held until the transaction ends.
pub(super) const TRY_LOCK: &str = "select pg_catalog.pg_try_advisory_xact_lock($1)";

/// The same, waiting for it.
pub(super) const LOCK: &str = "select pg_catalog.pg_advisory_xact_lock($1)";

/// For the transaction that makes the tables: an index can take hours, and another migration that is under way is waited for.
pub(super) const TAKE_TIME: &str =
    "set local statement_timeout = 0; set local lock_timeout = '60s'";

/// For the transaction that holds the lock: no server-side timeout may end it, and a server whose client
/// vanished without a word finds out within a minute. Settings that the server's version lacks are left out.
pub(super) const KEEP_LOCK: &str = "
    select pg_catalog.set_config(s.name, w.value, true)
    from (values ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
                 ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
                 ('tcp_keepalives_count', '3')) as w (name, value)
    join pg_catalog.pg_settings s on s.name = w.name";

/// Begins the transaction that takes a checkpoint. Each of its statements sees what was committed before it, whatever the
/// database's default.
pub(super) const BEGIN: &str = "begin isolation level read committed";

/// Begins one that sees all of one moment.
pub(super) const BEGIN_TO_LOOK: &str = "begin isolation level repeatable read read only";

/// Times and bytes in hexadecimal digits, as the server sends them: what it makes of them as text depends on the session.
pub(super) const CHECKPOINTS: &str = "
    select name, source, store_id, store_name, store_created_at, type_filter, mode, token, watermark,
           encode(timestamptz_send(position_time), 'hex'), fence, commits, encode(timestamptz_send(start_time), 'hex'),
           page_size, encode(timestamptz_send(complete_as_of), 'hex'), target_store_id, target_store_created_at,
           encode(announced, 'hex'), seed_token, encode(timestamptz_send(seeded_at), 'hex')
    from {schema}.fga_sync_state";

/// $1 name, $2 now. Locks the row, and makes the fence grow.
pub(super) const TAKE_CHECKPOINT: &str =
    "update {schema}.fga_sync_state set fence = fence + 1, updated_at = $2 where name = $1";

/// $1 name, $2 source, $3 to $5 the store, $6 type filter, $7 mode, $8 and $9 the target store, $10 now. Somebody may have deleted the row of a checkpoint: what is
/// left of its overlap means nothing to the new one.
pub(super) const NEW_CHECKPOINT: &str = "
    with forgotten as (delete from {schema}.fga_sync_overlap where name = $1)
    insert into {schema}.fga_sync_state
        (name, source, store_id, store_name, store_created_at, type_filter, mode, target_store_id, target_store_created_at,
         fence, commits, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 0, $10)";

/// Whether rows are there of a store, or of a type in it.
pub(super) const HAS_ROWS: &str = include_str!("has_rows.sql");

/// $1 name. In digits as [`CHECKPOINTS`].
pub(super) const OVERLAP: &str = "
    select commit_number, token, encode(timestamptz_send(seen_at), 'hex'), settled, encode(changes, 'hex')
    from {schema}.fga_sync_overlap
    where name = $1 order by commit_number";

/// $1 to $9 as in [`NEW_CHECKPOINT`], $10 start time, $11 run id, $12 version, $13 now, $14 host, $15 process and $16 command.
/// Gives the row as [`CHECKPOINTS`] does.
pub(super) const BEGIN_RUN: &str = "
    with begun as (
        insert into {schema}.fga_sync_runs
            (run_id, name, version, started_at, host, pid, command, pages, changes, writes, deletes, late_arrivals,
             order_anomalies, rejects)
        values ($11, $1, $12, $13, $14, $15, $16, 0, 0, 0, 0, 0, 0, 0)
        on conflict (run_id) do nothing)
    update {schema}.fga_sync_state
    set run_id = $11, source = $2, store_id = $3, store_name = $4, store_created_at = $5, type_filter = $6, mode = $7,
        target_store_id = $8, target_store_created_at = $9,
        start_time = case when token is null and seed_token is null and seeded_at is null then $10 else start_time end
    where name = $1
    returning name, source, store_id, store_name, store_created_at, type_filter, mode, token, watermark,
              encode(timestamptz_send(position_time), 'hex'), fence, commits, encode(timestamptz_send(start_time), 'hex'),
              page_size, encode(timestamptz_send(complete_as_of), 'hex'), target_store_id, target_store_created_at,
              encode(announced, 'hex'), seed_token, encode(timestamptz_send(seeded_at), 'hex')";

/// $1 name, $2 fence, $3 the run. A statement that writes: a pooler sends it to the primary, and it waits for whoever has the row.
pub(super) const LAST_COMMIT: &str = "
    update {schema}.fga_sync_state set updated_at = updated_at
    where name = $1 and fence = $2 and run_id = $3
    returning commits";

/// $1 the tuples, $2 name, $3 fence, $4 the number of the last commit, $5 the run.
pub(super) const ANNOUNCE: &str = "
    update {schema}.fga_sync_state set announced = $1
    where name = $2 and fence = $3 and run_id = $5 and commits = $4
    returning true";

/// $1 the size of pages, $2 as of when the mirror is complete, null where the end was not proven; $3 name, $4 fence, $5 the run.
pub(super) const LEAVE_CHECKPOINT: &str = "
    update {schema}.fga_sync_state set page_size = $1, complete_as_of = coalesce($2, complete_as_of)
    where name = $3 and fence = $4 and run_id = $5";

/// Begins every page: $1 name, $2 fence, $3 the commit's number, $4 token and $5 its time, null where they stay, $6 run id, $7 store id, $8 writes,
/// $9 deletes, $38 late arrivals, $39 order anomalies, $40 the watermark, null where it stays, $48 rejects, $49 where the log
/// begins to be read after a seed, and $51 when its scan ended, null where they stay, $50 where the scan goes on, or null, $52 what stays announced. All that follows hangs on the row in `moved`.
pub(super) const MOVE_CHECKPOINT: &str = "
    with moved as (
        update {schema}.fga_sync_state
        set token = coalesce($4, token), position_time = coalesce($5, position_time), watermark = coalesce($40, watermark),
            commits = $3, announced = $52, start_time = coalesce($49, start_time), seed_token = $50,
            seeded_at = coalesce($51, seeded_at), updated_at = now()
        where name = $1 and fence = $2 and run_id = $6 and commits + 1 = $3
        returning true),
    counted as (
        update {schema}.fga_sync_runs
        set pages = pages + least($8 + $9, 1), changes = changes + $8 + $9, writes = writes + $8,
            deletes = deletes + $9, late_arrivals = late_arrivals + $38, order_anomalies = order_anomalies + $39,
            rejects = rejects + $48
        where run_id = $6 and exists (select from moved)
        returning true)";

/// $10 to $20 the changes, an array for each column. The identity is counted up after the sort.
pub(super) const APPEND_CHANGES: &str = r#",
    appended as (
        insert into {schema}.fga_changelog
            (store_id, change_type, object_type, object_id, relation, user_type, user_id, user_relation,
             condition_name, condition_context, "timestamp", raw_event, recorded_at, run_id)
        select $7, c.change_type, c.object_type, c.object_id, c.relation, c.user_type, c.user_id, c.user_relation,
               c.condition_name, c.condition_context::json, c."timestamp", c.raw_event::json, now(), $6
        from moved, unnest($10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) with ordinality
             as c (change_type, object_type, object_id, relation, user_type, user_id, user_relation,
                   condition_name, condition_context, "timestamp", raw_event, place)
        order by c.place
        returning true)"#;

/// $21 to $26 the tuples, an array for each column, $27 whether each existed before, null where that is not known, and $47 when it was
/// written at the latest. Each is looked up by itself (`offset 0` keeps the lookup from being merged into a join, which becomes a
/// scan of the table as its statistics grow old) and deleted by its place, which names a row in this one table (`only`). Of
/// fga-sync nobody else changes these rows meanwhile: whoever writes them holds the checkpoint's row. Of others see [`ALL_DELETED`].
pub(super) const DELETE_TUPLES: &str = r#",
    doomed as materialized (
        select t.ctid as place,
               case when t.ctid is null then d.existed is not true
                    else d.existed is null or (d.existed and t."timestamp" <= d.no_later_than) end as is_as_before
        from moved cross join unnest($21, $22, $23, $24, $25, $26, $27, $47)
             as d (object_type, object_id, relation, user_type, user_id, user_relation, existed, no_later_than)
        left join lateral (
            select t.ctid, t."timestamp" from only {schema}.fga_tuples t
            where t.store_id = $7 and t.object_type = d.object_type and t.object_id = d.object_id
              and t.relation = d.relation and t.user_type = d.user_type and t.user_id = d.user_id
              and t.user_relation = d.user_relation
            offset 0) t on true),
    deleted as (
        delete from only {schema}.fga_tuples
        where ctid = any (array(select place from doomed))
        returning true)"#;

/// $1 the store, $2 the object type, or '' for all, $3 to $9 the key after which to read on, $10 the limit. In the order of the
/// primary key. Rows of other stores are read too, and told by the last column: where statistics are old or missing, a planner takes a store for
/// a small one, and sorts all of it for each page.
pub(super) const READ_TUPLES: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, case when store_id = $1 then condition_context::text end, "timestamp",
           store_id = $1 and $2 in ('', object_type), store_id
    from {schema}.fga_tuples
    where (object_type, object_id, relation, user_type, user_id, user_relation, store_id) > ($3, $4, $5, $6, $7, $8, $9)
      and ($2 = '' or object_type <= $2)
    order by object_type, object_id, relation, user_type, user_id, user_relation, store_id limit $10"#;

/// $1 the store, $2 the object type, or '' for all, $3 the id after which to read on, $4 the limit. As [`READ_TUPLES`].
pub(super) const READ_CHANGELOG: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           change_type, condition_name, case when store_id = $1 then condition_context::text end, "timestamp",
           store_id = $1 and $2 in ('', object_type), id
    from {schema}.fga_changelog
    where id > $3
    order by id limit $4"#;

/// $1 the store, $2 to $7 the key.
pub(super) const FIND_TUPLE: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, condition_context::text, "timestamp"
    from {schema}.fga_tuples
    where store_id = $1 and object_type = $2 and object_id = $3 and relation = $4
      and user_type = $5 and user_id = $6 and user_relation = $7"#;

/// As [`FIND_TUPLE`].
pub(super) const FIND_CHANGES: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           change_type, condition_name, condition_context::text, "timestamp"
    from {schema}.fga_changelog
    where store_id = $1 and object_type = $2 and object_id = $3 and relation = $4
      and user_type = $5 and user_id = $6 and user_relation = $7
    order by id"#;

/// $28 to $36 the tuples, an array for each column, and $37 whether each existed before, null where that is not known.
macro_rules! write_tuples {
    ($name:literal, $which:literal, $conflict:literal) => {
        concat!(
            ",
    ",
            $name,
            r#" as (
        insert into {schema}.fga_tuples
            (store_id, object_type, object_id, relation, user_type, user_id, user_relation,
             condition_name, condition_context, "timestamp")
        select $7, w.object_type, w.object_id, w.relation, w.user_type, w.user_id, w.user_relation,
               w.condition_name, w.condition_context::json, w."timestamp"
        from moved, unnest($28, $29, $30, $31, $32, $33, $34, $35, $36, $37)
             as w (object_type, object_id, relation, user_type, user_id, user_relation,
                   condition_name, condition_context, "timestamp", existed)
        where w.existed "#,
            $which,
            $conflict,
            "
        returning true)"
        )
    };
}

/// Those that did not exist before: one that is there all the same violates the primary key.
pub(super) const INSERT_TUPLES: &str = write_tuples!("inserted", "is false", "");

/// The others.
pub(super) const UPSERT_TUPLES: &str = write_tuples!(
    "upserted",
    "is not false",
    r#"
        on conflict (store_id, object_type, object_id, relation, user_type, user_id, user_relation) do update
            set condition_name = excluded.condition_name, condition_context = excluded.condition_context,
                "timestamp" = excluded."timestamp""#
);

/// $46 the commits whose pages are forgotten. None of them is kept again: both parts see the table as it was before the statement.
pub(super) const FORGET_PAGES: &str = ",
    forgotten as (
        delete from {schema}.fga_sync_overlap
        where name = $1 and commit_number = any ($46) and exists (select from moved))";

/// $41 to $45 the pages, an array for each column. One that is there is kept with fewer changes from now on.
pub(super) const KEEP_PAGES: &str = ",
    kept as (
        insert into {schema}.fga_sync_overlap (name, commit_number, token, seen_at, settled, changes)
        select $1, p.commit_number, p.token, p.seen_at, p.settled, p.changes
        from moved, unnest($41, $42, $43, $44, $45) as p (commit_number, token, seen_at, settled, changes)
        on conflict (name, commit_number) do update
            set token = excluded.token, seen_at = excluded.seen_at, settled = excluded.settled,
                changes = excluded.changes)";

/// Ends every page: whether it was applied. A page whose commit landed unnoticed finds its own rows when it is tried again; it is not
/// at the checkpoint any more, and so nothing is done or expected.
pub(super) const WHETHER_MOVED: &str = "
    select exists (select from moved)";

/// Follows where [`DELETE_TUPLES`] is part of the page: each tuple was what it must have been before, and was deleted. A user may have
/// a column of his own in the table, and be about to fill it: the delete waits for him, and then finds the row at another place, which
/// it leaves alone without a word. So a row that was not deleted is an error, which undoes the page; the next attempt sees
/// where the row is now. SQL has no way to raise one but a function that fails, and this one fails with a code that is nobody else's.
pub(super) const ALL_DELETED: &str = ",
    ln(case when (select coalesce(bool_and(is_as_before), true) and count(place) = (select count(*) from deleted) from doomed)
            then 1 else 0 end)";

/// Follows where [`UPSERT_TUPLES`] has tuples that existed before: each was there, and no later. It sees the table as it was before the
/// statement, and fails like [`ALL_DELETED`].
pub(super) const ALL_EXISTED: &str = r#",
    ln(case when (
        select bool_and((
            select t."timestamp" <= w."timestamp" from only {schema}.fga_tuples t
            where t.store_id = $7 and t.object_type = w.object_type and t.object_id = w.object_id
              and t.relation = w.relation and t.user_type = w.user_type and t.user_id = w.user_id
              and t.user_relation = w.user_relation
            limit 1) is true)
        from moved, unnest($28, $29, $30, $31, $32, $33, $36, $37)
             as w (object_type, object_id, relation, user_type, user_id, user_relation, "timestamp", existed)
        where w.existed) is false then 0 else 1 end)"#;

/// Finds the tuples that kept a page from being applied: $1 name, $2 fence, $3 the store, $4 to $9 the tuples, an array for each column,
/// $10 whether each existed before, and $11 when it was written at the latest. It writes, so that a pooler sends it to the
/// primary.
pub(super) const FIND_UNEXPECTED: &str = r#"
    update {schema}.fga_sync_state set updated_at = updated_at
    where name = $1 and fence = $2
    returning array(
        select k.place
        from unnest($4, $5, $6, $7, $8, $9, $10, $11) with ordinality
             as k (object_type, object_id, relation, user_type, user_id, user_relation, existed, no_later_than, place)
        where coalesce((
            select not k.existed or t."timestamp" > k.no_later_than from only {schema}.fga_tuples t
            where t.store_id = $3 and t.object_type = k.object_type and t.object_id = k.object_id
              and t.relation = k.relation and t.user_type = k.user_type and t.user_id = k.user_id
              and t.user_relation = k.user_relation
            limit 1), k.existed))"#;

/// What those below fail with, before the name of the table.
pub(super) const SWALLOWED: &str = "rows are missing in ";

/// Those below follow where their part is in the page: a trigger of somebody else's can swallow rows without a word, and a page that lacks
/// some must not be committed. The text that is no number tells the table.
pub(super) const RUN_COUNTED: &str = ",
    (case when (select count(*) from counted) = (select count(*) from moved)
          then '1' else 'rows are missing in fga_sync_runs' end)::bigint";

/// $10 as in [`APPEND_CHANGES`].
pub(super) const ALL_APPENDED: &str = ",
    (case when (select count(*) from appended) = (select count(*) from moved) * cardinality($10)
          then '1' else 'rows are missing in fga_changelog' end)::bigint";

/// $28 as in [`INSERT_TUPLES`]. The parts that count follow.
pub(super) const ALL_WRITTEN: &str = ",
    (case when (select count(*) from moved) * cardinality($28) = 0";
pub(super) const AND_INSERTED: &str = " + (select count(*) from inserted)";
pub(super) const AND_UPSERTED: &str = " + (select count(*) from upserted)";
pub(super) const OR_ELSE: &str = "
          then '1' else 'rows are missing in fga_tuples' end)::bigint";

/// $1 name, $2 fence, $3 the run. Whether no other run has taken the checkpoint over.
pub(super) const FORGET_CHECKPOINT: &str = "
    with of_another as (
        select from {schema}.fga_sync_state where name = $1 and (fence, run_id) is distinct from ($2, $3) for update),
    forgotten as (
        delete from {schema}.fga_sync_state where name = $1 and fence = $2 and run_id = $3),
    unknown as (
        delete from {schema}.fga_sync_overlap where name = $1 and not exists (select from of_another))
    select not exists (select from of_another)";

/// $1 the store, $2 the object type, or '' for all.
pub(super) const COUNT_ROWS: &str = "
    select (select count(*) from {schema}.fga_changelog where store_id = $1 and $2 in ('', object_type)),
           (select count(*) from {schema}.fga_tuples where store_id = $1 and $2 in ('', object_type))";

/// $1 name, $2 fence, $3 the run, $4 the store, $5 the object type, or '' for all, and $6 how many rows of each table at most. The row of
/// the checkpoint stays for the fence.
pub(super) const TRUNCATE: &str = "
    with held as (
        update {schema}.fga_sync_state
        set token = null, watermark = null, position_time = null, complete_as_of = null, start_time = null, announced = null,
            seed_token = null, seeded_at = null,
            updated_at = now()
        where name = $1 and fence = $2 and run_id = $3
        returning true),
    forgotten as (
        delete from {schema}.fga_sync_overlap where name = $1 and exists (select from held)),
    changes as (
        delete from {schema}.fga_changelog
        where exists (select from held) and id = any (array(
            select id from {schema}.fga_changelog where store_id = $4 and $5 in ('', object_type) limit $6))
        returning true),
    tuples as (
        delete from only {schema}.fga_tuples
        where exists (select from held) and ctid = any (array(
            select ctid from only {schema}.fga_tuples where store_id = $4 and $5 in ('', object_type) limit $6))
        returning true)
    select (select count(*) from changes), (select count(*) from tuples), exists (select from held)";

/// $1 run id, $2 now, $3 outcome, $4 exit code, $5 and $6 the error.
pub(super) const END_RUN: &str = "
    update {schema}.fga_sync_runs
    set finished_at = $2, outcome = $3, exit_code = $4, error_kind = $5, error_message = $6
    where run_id = $1";

/// $1 to $6 as it began: run id, name, version, host, process, time; $7 to $11 as [`END_RUN`] has it from the time on; $12 the command.
pub(super) const RECORD_RUN: &str = "
    insert into {schema}.fga_sync_runs
        (run_id, name, version, host, pid, started_at, finished_at, outcome, exit_code, error_kind, error_message,
         command, pages, changes, writes, deletes, late_arrivals, order_anomalies, rejects)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, 0, 0, 0, 0, 0)
    on conflict (run_id) do nothing";

/// $1 name, $2 how many of its runs stay. The newest of the others is found by stepping over those in the index. The run that has the
/// checkpoint stays: it may be under way, and old, where many that followed were kept out by it.
pub(super) const FORGET_OLD_RUNS: &str = "
    delete from {schema}.fga_sync_runs
    where name = $1
      and run_id <= (
        select run_id from {schema}.fga_sync_runs where name = $1 order by run_id desc limit 1 offset $2)
      and run_id not in (select run_id from {schema}.fga_sync_state where name = $1 and run_id is not null)";

/// $1 name. The time in digits as [`CHECKPOINTS`] has it.
pub(super) const UNDER_WAY: &str = "
    select r.run_id, encode(timestamptz_send(r.started_at), 'hex'), r.host, r.pid
    from {schema}.fga_sync_state s join {schema}.fga_sync_runs r on r.run_id = s.run_id
    where s.name = $1 and r.finished_at is null";

/// Of each name the last run that came to its end, and all since: what is counted from there on is told by
/// [`RecordedRun`](crate::status::RecordedRun). Times in digits as [`CHECKPOINTS`] has them.
pub(super) const RECORDED_RUNS: &str = "
    select r.name, r.run_id, r.command, encode(timestamptz_send(r.started_at), 'hex'),
           encode(timestamptz_send(r.finished_at), 'hex'), r.outcome, r.exit_code, r.error_kind, r.error_message, r.host, r.pid,
           s.run_id is not null
    from {schema}.fga_sync_runs r
    left join {schema}.fga_sync_state s on s.name = r.name and s.run_id = r.run_id
    left join (
        select name, max(run_id) as run_id from {schema}.fga_sync_runs
        where command in ('run', 'seed') and outcome in ('drained', 'set_aside', 'seeded') group by name) l on l.name = r.name
    where r.run_id >= coalesce(l.run_id, '')";

/// A standby has no locks of runs: they are where runs write to.
pub(super) const IS_STANDBY: &str = "select pg_catalog.pg_is_in_recovery()";

/// The keys of the locks that are held in this database, as [`TRY_LOCK`] takes them.
pub(super) const HELD_LOCKS: &str = "
    select (classid::bigint << 32) | objid::bigint
    from pg_catalog.pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted
      and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())";

/// $1 the schema. Of a table that nobody has looked at yet, the number is negative.
pub(super) const ESTIMATE_ROWS: &str = "
    select max(estimate) filter (where relname = 'fga_changelog'), max(estimate) filter (where relname = 'fga_tuples')
    from (
        select c.relname, nullif(c.reltuples, -1)::bigint as estimate
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relkind = 'r') t";
