//! The SQL of the SQLite target. `{prefix}` stands for the table prefix.

use super::super::ladder::{Step, ladder};

/// What makes and upgrades the tables.
pub(super) const LADDER: &[Step] = ladder(&[Step {
    version: 1,
    statements: &MIGRATION_1,
}]);

/// Records a version.
pub(super) const RECORD_VERSION: &str = r#"insert into "{prefix}fga_sync_schema" (version, applied_at)
    values ({version}, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    on conflict do nothing"#;

/// What makes version 1, in order. Each statement can be repeated.
const MIGRATION_1: [&str; 6] = [
    include_str!("schema/0001_fga_changelog.sql"),
    include_str!("schema/0001_fga_tuples.sql"),
    include_str!("schema/0001_fga_sync_state.sql"),
    include_str!("schema/0001_fga_sync_runs.sql"),
    include_str!("schema/0001_fga_sync_overlap.sql"),
    include_str!("schema/0001_fga_sync_schema.sql"),
];

/// ?1 the prefix, as in [`COLUMNS`].
pub(super) const HAS_VERSION: &str = "
    select exists (select 1 from sqlite_schema where type = 'table' and name = ?1 || 'fga_sync_schema')";

pub(super) const VERSION: &str = r#"select max(version) from "{prefix}fga_sync_schema""#;

pub(super) const COLUMNS: &str = "
    select substr(t.name, length(?1) + 1), c.name,
           upper(c.type), c.\"notnull\" = 0 and c.pk = 0, c.pk > 0
    from sqlite_schema t, pragma_table_info(t.name) c
    where t.type = 'table' and t.name in (?1 || 'fga_changelog', ?1 || 'fga_tuples',
        ?1 || 'fga_sync_state', ?1 || 'fga_sync_runs', ?1 || 'fga_sync_overlap')";

pub(super) const CHECKPOINTS: &str = r#"
    select name, source, store_id, store_name, store_created_at, type_filter, mode, token,
           watermark, position_time, fence, commits, start_time, page_size, complete_as_of,
           target_store_id, target_store_created_at, announced, seed_token, seeded_at
    from "{prefix}fga_sync_state""#;

/// Whether rows are there of a store, or of a type in it.
pub(super) const HAS_ROWS: &str = include_str!("has_rows.sql");

pub(super) const TAKE_CHECKPOINT: &str = r#"
    insert into "{prefix}fga_sync_state"
        (name, source, store_id, store_name, store_created_at, type_filter, mode, fence, commits, updated_at, start_time,
         run_id, target_store_id, target_store_created_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, 0, ?8, ?9, ?10, ?11, ?12)
    on conflict (name) do update
        set fence = fence + 1, run_id = excluded.run_id, source = excluded.source, store_id = excluded.store_id, store_name = excluded.store_name,
            store_created_at = excluded.store_created_at, type_filter = excluded.type_filter, mode = excluded.mode,
            target_store_id = excluded.target_store_id, target_store_created_at = excluded.target_store_created_at,
            start_time = iif(token is null and seed_token is null and seeded_at is null, excluded.start_time, start_time),
            updated_at = excluded.updated_at"#;

pub(super) const BEGIN_RUN: &str = r#"
    insert into "{prefix}fga_sync_runs"
        (run_id, name, version, started_at, host, pid, command, pages, changes, writes, deletes, late_arrivals, order_anomalies,
         rejects)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0, 0, 0, 0)
    on conflict (run_id) do nothing"#;

/// ?1 the position and ?2 its time, null where it stays; ?3 the watermark, likewise; ?4 name, ?5 fence, ?6 the commit's number, ?7 the run. ?8 where the log
/// begins to be read after a seed, and ?10 when its scan ended, null where they stay; ?9 where the scan goes on, or null; ?11 what stays
/// announced.
pub(super) const MOVE_CHECKPOINT: &str = r#"
    update "{prefix}fga_sync_state"
    set token = coalesce(?1, token), position_time = coalesce(?2, position_time), watermark = coalesce(?3, watermark),
        commits = ?6, announced = ?11, start_time = coalesce(?8, start_time), seed_token = ?9,
        seeded_at = coalesce(?10, seeded_at), updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    where name = ?4 and fence = ?5 and run_id = ?7 and commits = ?6 - 1"#;

/// ?1 the tuples, ?2 name, ?3 fence, ?4 the number of the last commit, ?5 the run.
pub(super) const ANNOUNCE: &str = r#"
    update "{prefix}fga_sync_state" set announced = ?1 where name = ?2 and fence = ?3 and run_id = ?5 and commits = ?4"#;

pub(super) const LAST_COMMIT: &str = r#"
    select commits from "{prefix}fga_sync_state" where name = ?1 and fence = ?2 and run_id = ?3"#;

/// ?1 the size of pages, ?2 as of when the mirror is complete, null where the end was not proven; ?3 name, ?4 fence, ?5 the run.
pub(super) const LEAVE_CHECKPOINT: &str = r#"
    update "{prefix}fga_sync_state" set page_size = ?1, complete_as_of = coalesce(?2, complete_as_of)
    where name = ?3 and fence = ?4 and run_id = ?5"#;

/// Without its checkpoint, what is kept of an overlap means nothing.
pub(super) const OVERLAP: &str = r#"
    select commit_number, token, seen_at, settled, changes from "{prefix}fga_sync_overlap"
    where name = ?1 and exists (select 1 from "{prefix}fga_sync_state" where name = ?1)
    order by commit_number"#;

pub(super) const FORGET_OVERLAP: &str = r#"
    delete from "{prefix}fga_sync_overlap" where name = ?1"#;

pub(super) const KEEP_PAGE: &str = r#"
    insert into "{prefix}fga_sync_overlap" (name, commit_number, token, seen_at, settled, changes)
    values (?1, ?2, ?3, ?4, ?5, ?6)"#;

pub(super) const FORGET_PAGE: &str = r#"
    delete from "{prefix}fga_sync_overlap" where name = ?1 and commit_number = ?2"#;

pub(super) const COUNT_PAGE: &str = r#"
    update "{prefix}fga_sync_runs"
    set pages = pages + min(?2 + ?3, 1), changes = changes + ?2 + ?3, writes = writes + ?2, deletes = deletes + ?3,
        late_arrivals = late_arrivals + ?4, order_anomalies = order_anomalies + ?5, rejects = rejects + ?6
    where run_id = ?1"#;

pub(super) const APPEND_CHANGE: &str = r#"
    insert into "{prefix}fga_changelog"
        (store_id, object_type, object_id, relation, user_type, user_id, user_relation, change_type,
         condition_name, condition_context, timestamp, raw_event, recorded_at, run_id)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"#;

pub(super) const TUPLE_TIME: &str = r#"
    select timestamp from "{prefix}fga_tuples"
    where store_id = ?1 and object_type = ?2 and object_id = ?3 and relation = ?4
      and user_type = ?5 and user_id = ?6 and user_relation = ?7"#;

/// ?8 the latest time that the tuple may have been written at, null for any.
pub(super) const DELETE_TUPLE: &str = r#"
    delete from "{prefix}fga_tuples"
    where store_id = ?1 and object_type = ?2 and object_id = ?3 and relation = ?4
      and user_type = ?5 and user_id = ?6 and user_relation = ?7
      and timestamp <= coalesce(?8, timestamp)"#;

/// Whatever was there before. The key is named: without it, the row that stands in the way of an index of the user's would be
/// overwritten. The same holds for [`INSERT_TUPLE`].
pub(super) const WRITE_TUPLE: &str = r#"
    insert into "{prefix}fga_tuples"
        (store_id, object_type, object_id, relation, user_type, user_id, user_relation,
         condition_name, condition_context, timestamp)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    on conflict (store_id, object_type, object_id, relation, user_type, user_id, user_relation) do update
        set condition_name = excluded.condition_name, condition_context = excluded.condition_context,
            timestamp = excluded.timestamp"#;

/// The same where nothing was there before.
pub(super) const INSERT_TUPLE: &str = r#"
    insert into "{prefix}fga_tuples"
        (store_id, object_type, object_id, relation, user_type, user_id, user_relation,
         condition_name, condition_context, timestamp)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    on conflict (store_id, object_type, object_id, relation, user_type, user_id, user_relation) do nothing"#;

/// The same where the tuple was there before, and was written no later.
pub(super) const UPDATE_TUPLE: &str = r#"
    update "{prefix}fga_tuples" set condition_name = ?8, condition_context = ?9, timestamp = ?10
    where store_id = ?1 and object_type = ?2 and object_id = ?3 and relation = ?4
      and user_type = ?5 and user_id = ?6 and user_relation = ?7 and timestamp <= ?10"#;

/// ?1 to ?7 the key after which to read on, ?8 the store, ?9 the object type, or '' for all, ?10 the limit.
pub(super) const READ_TUPLES: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, condition_context, timestamp
    from "{prefix}fga_tuples"
    where (object_type, object_id, relation, user_type, user_id, user_relation, store_id) > (?1, ?2, ?3, ?4, ?5, ?6, ?7)
      and store_id = ?8 and ?9 in ('', object_type)
    order by object_type, object_id, relation, user_type, user_id, user_relation, store_id limit ?10"#;

/// ?1 the id after which to read on, ?2 the store, ?3 the object type, or '' for all, ?4 the limit.
pub(super) const READ_CHANGELOG: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           change_type, condition_name, condition_context, timestamp, id
    from "{prefix}fga_changelog"
    where id > ?1 and store_id = ?2 and ?3 in ('', object_type)
    order by id limit ?4"#;

pub(super) const FIND_TUPLE: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, condition_context, timestamp
    from "{prefix}fga_tuples"
    where store_id = ?1 and object_type = ?2 and object_id = ?3 and relation = ?4
      and user_type = ?5 and user_id = ?6 and user_relation = ?7"#;

pub(super) const FIND_CHANGES: &str = r#"
    select object_type, object_id, relation, user_type, user_id, user_relation,
           change_type, condition_name, condition_context, timestamp
    from "{prefix}fga_changelog"
    where store_id = ?1 and object_type = ?2 and object_id = ?3 and relation = ?4
      and user_type = ?5 and user_id = ?6 and user_relation = ?7
    order by id"#;

pub(super) const END_RUN: &str = r#"
    update "{prefix}fga_sync_runs"
    set finished_at = ?2, outcome = ?3, exit_code = ?4, error_kind = ?5, error_message = ?6
    where run_id = ?1"#;

pub(super) const RECORD_RUN: &str = r#"
    insert into "{prefix}fga_sync_runs"
        (run_id, name, version, host, pid, started_at, finished_at, outcome, exit_code, error_kind, error_message,
         command, pages, changes, writes, deletes, late_arrivals, order_anomalies, rejects)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, 0, 0, 0, 0, 0, 0)
    on conflict (run_id) do nothing"#;

/// ?1 the name, ?2 how many of its runs stay. The newest of the others is found by stepping over those in the index. The run that
/// has the checkpoint stays: it may be under way, and old, where many that followed were kept out by it.
pub(super) const FORGET_OLD_RUNS: &str = r#"
    delete from "{prefix}fga_sync_runs"
    where name = ?1
      and run_id <= (
        select run_id from "{prefix}fga_sync_runs" where name = ?1 order by run_id desc limit 1 offset ?2)
      and run_id not in (select run_id from "{prefix}fga_sync_state" where name = ?1 and run_id is not null)"#;

pub(super) const UNDER_WAY: &str = r#"
    select r.name, r.run_id, r.started_at, r.host, r.pid
    from "{prefix}fga_sync_state" s join "{prefix}fga_sync_runs" r on r.run_id = s.run_id
    where r.finished_at is null order by r.run_id desc limit 1"#;

/// Of each name the last run that came to its end, and all since: what is counted from there on is told by
/// [`RecordedRun`](crate::status::RecordedRun).
pub(super) const RECORDED_RUNS: &str = r#"
    select r.name, r.run_id, r.command, r.started_at, r.finished_at, r.outcome, r.exit_code, r.error_kind, r.error_message,
           r.host, r.pid, s.run_id is not null
    from "{prefix}fga_sync_runs" r
    left join "{prefix}fga_sync_state" s on s.name = r.name and s.run_id = r.run_id
    left join (
        select name, max(run_id) as run_id from "{prefix}fga_sync_runs"
        where command in ('run', 'seed') and outcome in ('drained', 'set_aside', 'seeded') group by name) l on l.name = r.name
    where r.run_id >= coalesce(l.run_id, '')"#;

pub(super) const HAS_STATISTICS: &str = "
    select exists (select 1 from sqlite_schema where name = 'sqlite_stat1')";

/// ?1 the prefix, as in [`COLUMNS`]. Of each index, the statistics begin with the number of rows.
pub(super) const ESTIMATE_ROWS: &str = "
    select (select max(cast(stat as integer)) from sqlite_stat1 where tbl = ?1 || 'fga_changelog'),
           (select max(cast(stat as integer)) from sqlite_stat1 where tbl = ?1 || 'fga_tuples')";

/// ?1 name, ?2 fence, ?3 the run.
pub(super) const FORGET_CHECKPOINT: &str = r#"
    delete from "{prefix}fga_sync_state" where name = ?1 and fence = ?2 and run_id = ?3"#;

pub(super) const HAS_CHECKPOINT: &str = r#"
    select exists (select 1 from "{prefix}fga_sync_state" where name = ?1)"#;

/// As [`FORGET_CHECKPOINT`]. The row stays for the fence.
pub(super) const CLEAR_CHECKPOINT: &str = r#"
    update "{prefix}fga_sync_state"
    set token = null, watermark = null, position_time = null, complete_as_of = null, start_time = null, announced = null,
        seed_token = null, seeded_at = null,
        updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    where name = ?1 and fence = ?2 and run_id = ?3"#;

/// ?1 the store, ?2 the object type, or '' for all. Of the changelog by the expression that is in an index.
pub(super) const COUNT_ROWS: &str = r#"
    select (select count(*) from "{prefix}fga_changelog" where store_id || '' = ?1 and ?2 in ('', object_type)),
           (select count(*) from "{prefix}fga_tuples" where store_id = ?1 and ?2 in ('', object_type))"#;

/// As [`COUNT_ROWS`], and ?3 how many rows at most.
pub(super) const DELETE_CHANGES: &str = r#"
    delete from "{prefix}fga_changelog" where id in (
        select id from "{prefix}fga_changelog" where store_id || '' = ?1 and ?2 in ('', object_type) limit ?3)"#;

/// The same of tuples.
pub(super) const DELETE_TUPLES: &str = r#"
    delete from "{prefix}fga_tuples"
    where (object_type, object_id, relation, user_type, user_id, user_relation, store_id) in (
        select object_type, object_id, relation, user_type, user_id, user_relation, store_id
        from "{prefix}fga_tuples" where store_id = ?1 and ?2 in ('', object_type) limit ?3)"#;

/// Without statistics, SQLite reads a whole store's tuples for those of one user: it takes two more columns of an index for
/// no gain. No one else gathers them.
pub(super) const GATHER_STATISTICS: &str = r#"
    analyze "{prefix}fga_changelog";
    analyze "{prefix}fga_tuples";"#;
