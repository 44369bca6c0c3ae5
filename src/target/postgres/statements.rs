//! The SQL of the PostgreSQL target. `{schema}` stands for the quoted name of the schema.

/// Creates the schema where there is none; it needs the right to create one even where there is.
pub(super) const CREATE_SCHEMA: &str = include_str!("schema/0001_schema.sql");

/// What makes version 1 inside the schema, in order. Each can be repeated.
pub(super) const MIGRATION_1: [&str; 5] = [
    include_str!("schema/0001_fga_changelog.sql"),
    include_str!("schema/0001_fga_tuples.sql"),
    include_str!("schema/0001_fga_sync_state.sql"),
    include_str!("schema/0001_fga_sync_runs.sql"),
    include_str!("schema/0001_fga_sync_schema.sql"),
];

pub(super) const HAS_SCHEMA: &str =
    "select exists (select from pg_catalog.pg_namespace where nspname = $1)";

pub(super) const HAS_VERSION: &str = "
    select exists (
        select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = 'fga_sync_schema' and c.relkind in ('r', 'p'))";

pub(super) const VERSION: &str = "select max(version) from {schema}.fga_sync_schema";

/// A partitioned table differs in the type of every column: rows are deleted by their place in the one table.
pub(super) const COLUMNS: &str = "
    select c.relname::text, a.attname::text,
           case when c.relkind = 'p' then 'partitioned ' else '' end
               || pg_catalog.format_type(a.atttypid, a.atttypmod),
           not a.attnotnull, coalesce(a.attnum = any (k.indkey), false)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_index k on k.indrelid = c.oid and k.indisprimary
    where n.nspname = $1 and c.relkind in ('r', 'p')
      and c.relname in ('fga_changelog', 'fga_tuples', 'fga_sync_state', 'fga_sync_runs')";

/// $1 the key. Held until the transaction ends.
pub(super) const TRY_LOCK: &str = "select pg_catalog.pg_try_advisory_xact_lock($1)";

/// The same, waiting for it.
pub(super) const LOCK: &str = "select pg_catalog.pg_advisory_xact_lock($1)";

/// For the transaction that holds the lock: no server-side timeout may end it, and a server whose client
/// vanished without a word finds out within a minute. Settings that the server's version lacks are left out.
pub(super) const KEEP_LOCK: &str = "
    select pg_catalog.set_config(s.name, w.value, true)
    from (values ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
                 ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
                 ('tcp_keepalives_count', '3')) as w (name, value)
    join pg_catalog.pg_settings s on s.name = w.name";

pub(super) const CHECKPOINTS: &str = "
    select name, source, store_id, store_name, store_created_at, type_filter, mode, token, position_time, fence
    from {schema}.fga_sync_state";

/// $1 name, $2 source, $3 to $5 the store, $6 type filter, $7 mode, $8 started at, $9 run id, $10 version.
/// Gives the row as [`CHECKPOINTS`] does.
pub(super) const BEGIN_RUN: &str = "
    with begun as (
        insert into {schema}.fga_sync_runs (run_id, name, version, started_at, pages, changes, writes, deletes)
        values ($9, $1, $10, $8, 0, 0, 0, 0)
        on conflict (run_id) do nothing)
    insert into {schema}.fga_sync_state as s
        (name, source, store_id, store_name, store_created_at, type_filter, mode, fence, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, 1, $8)
    on conflict (name) do update
        set fence = s.fence + 1, store_name = excluded.store_name, updated_at = excluded.updated_at
    returning name, source, store_id, store_name, store_created_at, type_filter, mode, token, position_time, fence";

/// Begins every page: $1 name, $2 fence, $3 from, $4 to, $5 position time, $6 run id, $7 store id,
/// $8 writes, $9 deletes. All that follows hangs on the row in `moved`.
pub(super) const MOVE_CHECKPOINT: &str = "
    with moved as (
        update {schema}.fga_sync_state set token = $4, position_time = $5, updated_at = now()
        where name = $1 and fence = $2 and token is not distinct from $3
        returning true),
    counted as (
        update {schema}.fga_sync_runs
        set pages = pages + 1, changes = changes + $8 + $9, writes = writes + $8, deletes = deletes + $9
        where run_id = $6 and exists (select from moved))";

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
        order by c.place)"#;

/// $21 to $26 the tuples, an array for each column. Each is looked up by itself (`offset 0` keeps the lookup
/// from being merged into a join, which becomes a scan of the table as its statistics grow old) and deleted by
/// its place, which names a row in this one table (`only`). Nobody else changes these rows meanwhile: whoever
/// writes them holds the checkpoint's row.
pub(super) const DELETE_TUPLES: &str = ",
    deleted as (
        delete from only {schema}.fga_tuples
        where ctid = any (array(
            select t.ctid
            from moved, unnest($21, $22, $23, $24, $25, $26)
                 as d (object_type, object_id, relation, user_type, user_id, user_relation)
            cross join lateral (
                select t.ctid from only {schema}.fga_tuples t
                where t.store_id = $7 and t.object_type = d.object_type and t.object_id = d.object_id
                  and t.relation = d.relation and t.user_type = d.user_type and t.user_id = d.user_id
                  and t.user_relation = d.user_relation
                offset 0) t)))";

/// $27 to $35 the tuples, an array for each column.
pub(super) const WRITE_TUPLES: &str = r#",
    written as (
        insert into {schema}.fga_tuples
            (store_id, object_type, object_id, relation, user_type, user_id, user_relation,
             condition_name, condition_context, "timestamp")
        select $7, w.object_type, w.object_id, w.relation, w.user_type, w.user_id, w.user_relation,
               w.condition_name, w.condition_context::json, w."timestamp"
        from moved, unnest($27, $28, $29, $30, $31, $32, $33, $34, $35)
             as w (object_type, object_id, relation, user_type, user_id, user_relation,
                   condition_name, condition_context, "timestamp")
        on conflict (store_id, object_type, object_id, relation, user_type, user_id, user_relation) do update
            set condition_name = excluded.condition_name, condition_context = excluded.condition_context,
                "timestamp" = excluded."timestamp")"#;

/// Ends every page: a row where it was applied.
pub(super) const WHETHER_MOVED: &str = "
    select true from moved";

pub(super) const END_RUN: &str = "
    update {schema}.fga_sync_runs set finished_at = $2, outcome = $3, exit_code = $4 where run_id = $1";
