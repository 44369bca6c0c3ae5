//! The SQL of the MySQL target, for MariaDB too. `{prefix}` stands for the table prefix, `{rows}` for as many
//! rows of placeholders as a statement gets.

use super::super::ladder::{Step, ladder};

/// What makes and upgrades the tables.
pub(super) const LADDER: &[Step] = ladder(&[Step {
    version: 1,
    statements: &MIGRATION_1,
}]);

/// Records a version. Of a row of another key see [`WRITE_TUPLES`].
pub(super) const RECORD_VERSION: &str =
    "insert into `{prefix}fga_sync_schema` (version, applied_at)
    values ({version}, utc_timestamp(6))
    on duplicate key update version = if(version = values(version), version, null)";

/// What makes version 1, in order. Each statement can be repeated, and commits by itself.
const MIGRATION_1: [&str; 6] = [
    include_str!("schema/0001_fga_changelog.sql"),
    include_str!("schema/0001_fga_tuples.sql"),
    include_str!("schema/0001_fga_sync_state.sql"),
    include_str!("schema/0001_fga_sync_runs.sql"),
    include_str!("schema/0001_fga_sync_overlap.sql"),
    include_str!("schema/0001_fga_sync_schema.sql"),
];

pub(super) const SERVER: &str = "select version(), @@max_allowed_packet";

/// Everything that a server's or a user's defaults could change. MariaDB knows the isolation level as a
/// variable only by its old name, so it has a statement of its own.
pub(super) const SESSION: &str = "
    set names utf8mb4, time_zone = '+00:00', autocommit = 1, completion_type = 0, sql_auto_is_null = 0,
        sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615, unique_checks = 1,
        sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION',
        innodb_lock_wait_timeout = 30, lock_wait_timeout = 60, wait_timeout = 600";

pub(super) const READ_WRITE: &str =
    "set session transaction isolation level read committed, read write";

pub(super) const READ_ONLY: &str =
    "set session transaction isolation level read committed, read only";

/// For the next transaction: what it reads is of one moment.
pub(super) const ONE_MOMENT: &str = "set transaction isolation level repeatable read";

/// As [`LOCK_CHECKPOINTS`], for its right alone.
pub(super) const LOCK_NO_ROW: &str = "
    select version from `{prefix}fga_sync_schema` where false for update";

/// How the session is encrypted; empty where it is not.
pub(super) const ENCRYPTION: &str = "show session status like 'Ssl_version'";

/// What decides whether a commit outlives a crash.
pub(super) const DURABILITY: &str = "
    show global variables
    where variable_name in ('innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin', 'sync_binlog')";

pub(super) const LOCK: &str = "select get_lock(?, ?)";

pub(super) const UNLOCK: &str = "do release_lock(?)";

pub(super) const VERSION: &str = "select max(version) from `{prefix}fga_sync_schema`";

/// A text column is as needed only where it compares in binary, so another collation belongs to its type. So does another engine
/// than `InnoDB`: it may keep a part of a page, or nothing of it.
pub(super) const COLUMNS: &str = "
    select c.table_name, c.column_name,
           concat(if(c.data_type = 'datetime', c.column_type, c.data_type),
                  if(c.collation_name is null or c.collation_name in ('utf8mb4_0900_bin', 'utf8mb4_nopad_bin'),
                     '', concat(' collate ', c.collation_name)),
                  if(t.engine = 'InnoDB', '', concat(' in the engine ', ifnull(t.engine, 'of a view')))),
           c.is_nullable = 'YES', c.column_key = 'PRI'
    from information_schema.columns c
    join information_schema.tables t on t.table_schema = c.table_schema and t.table_name = c.table_name
    where c.table_schema = database() and c.table_name in (?, ?, ?, ?, ?)";

pub(super) const CHECKPOINTS: &str = "
    select name, source, store_id, store_name, store_created_at, type_filter, mode, token, watermark,
           date_format(position_time, '%Y-%m-%dT%H:%i:%s.%fZ'), fence, commits,
           date_format(start_time, '%Y-%m-%dT%H:%i:%s.%fZ'), page_size,
           date_format(complete_as_of, '%Y-%m-%dT%H:%i:%s.%fZ'), target_store_id, target_store_created_at, announced,
           seed_token, date_format(seeded_at, '%Y-%m-%dT%H:%i:%s.%fZ')
    from `{prefix}fga_sync_state`";

pub(super) const TAKE_CHECKPOINT: &str = "
    update `{prefix}fga_sync_state` set fence = fence + 1, updated_at = ? where name = ?";

/// A row that is there since the tables are. Nobody changes it: it is locked for what it stands for.
pub(super) const LOCK_CHECKPOINTS: &str = "
    select version from `{prefix}fga_sync_schema` for update";

pub(super) const NEW_CHECKPOINT: &str = "
    insert into `{prefix}fga_sync_state`
        (name, source, store_id, store_name, store_created_at, type_filter, mode, target_store_id,
         target_store_created_at, fence, commits, updated_at)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?)";

/// Somebody may have deleted the row of a checkpoint: what is left of its overlap means nothing to the new one.
pub(super) const FORGET_OVERLAP: &str = "
    delete from `{prefix}fga_sync_overlap` where name = ?";

/// Whether rows are there of a store, or of a type in it.
pub(super) const HAS_ROWS: &str = include_str!("has_rows.sql");

pub(super) const OVERLAP: &str = "
    select commit_number, token, date_format(seen_at, '%Y-%m-%dT%H:%i:%s.%fZ'), settled, changes
    from `{prefix}fga_sync_overlap` where name = ? order by commit_number";

pub(super) const UPDATE_CHECKPOINT: &str = "
    update `{prefix}fga_sync_state`
    set run_id = ?, source = ?, store_id = ?, store_name = ?, store_created_at = ?, type_filter = ?, mode = ?,
        target_store_id = ?, target_store_created_at = ?,
        start_time = if(token is null and seed_token is null and seeded_at is null, ?, start_time)
    where name = ?";

pub(super) const BEGIN_RUN: &str = "
    insert into `{prefix}fga_sync_runs`
        (run_id, name, version, started_at, host, pid, command, pages, changes, writes, deletes, late_arrivals, order_anomalies,
         rejects)
    values (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0)
    on duplicate key update run_id = if(run_id = values(run_id), run_id, null)";

pub(super) const TOUCH_CHECKPOINT: &str = "
    update `{prefix}fga_sync_state` set updated_at = utc_timestamp(6) where name = ? and fence = ? and run_id = ?";

/// The tuples, name, fence, the run, and the number of the last commit.
pub(super) const ANNOUNCE: &str = "
    update `{prefix}fga_sync_state` set announced = ? where name = ? and fence = ? and run_id = ? and commits = ?";

pub(super) const LAST_COMMIT: &str = "
    select commits from `{prefix}fga_sync_state` where name = ? and fence = ? and run_id = ?";

/// The size of pages, and as of when the mirror is complete, null where the end was not proven.
pub(super) const LEAVE_CHECKPOINT: &str = "
    update `{prefix}fga_sync_state` set page_size = ?, complete_as_of = coalesce(?, complete_as_of)
    where name = ? and fence = ? and run_id = ?";

/// The position, its time and the watermark are null where they stay, and after the commit's number where the log begins to be read after a
/// seed, and when its scan ended; between those, where the scan goes on, or null; then what stays announced.
pub(super) const MOVE_CHECKPOINT: &str = "
    update `{prefix}fga_sync_state`
    set token = coalesce(?, token), position_time = coalesce(?, position_time), watermark = coalesce(?, watermark),
        commits = ?, start_time = coalesce(?, start_time), seed_token = ?,
        seeded_at = coalesce(?, seeded_at), announced = ?, updated_at = utc_timestamp(6)
    where name = ? and fence = ? and run_id = ? and commits + 1 = ?";

pub(super) const COUNT_PAGE: &str = "
    update `{prefix}fga_sync_runs`
    set pages = pages + least(?, 1), changes = changes + ?, writes = writes + ?, deletes = deletes + ?,
        late_arrivals = late_arrivals + ?, order_anomalies = order_anomalies + ?, rejects = rejects + ?
    where run_id = ?";

/// A statement for many rows.
pub(super) struct ManyRows {
    pub(super) table: &'static str,
    sql: &'static str,
    row: &'static str,
    between: &'static str,
    /// The most rows that it gets.
    pub(super) most: usize,
    /// From so many rows on, a text costs the server more than a round trip.
    pub(super) long_from: usize,
}

/// A derived table is a select for each row.
const MOST_SELECTS: usize = 100;
const NEVER: usize = usize::MAX;

impl ManyRows {
    /// The statement for that many rows.
    pub(super) fn of(&self, count: usize) -> String {
        let rows = vec![self.row; count].join(self.between);
        self.sql.replace("{rows}", &rows)
    }
}

pub(super) const APPEND_CHANGES: &ManyRows = &ManyRows {
    table: "fga_changelog",
    sql: "
    insert into `{prefix}fga_changelog`
        (store_id, change_type, object_type, object_id, relation, user_type, user_id, user_relation,
         condition_name, condition_context, timestamp, raw_event, recorded_at, run_id)
    values {rows}",
    row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    between: ",",
    most: 1_000,
    long_from: 50,
};

/// A tuple's key.
const KEY: &str = "select cast(? as binary(32)) as tuple_hash";

/// A tuple's key, and the time after which nothing may have written it.
const KEY_AND_TIME: &str =
    "select cast(? as binary(32)) as tuple_hash, cast(? as datetime(6)) as no_later_than";

const UNION: &str = " union all ";

/// The hashes of those tuples that exist, and whether what wrote them was no later. As with [`DELETE_TUPLES`], the order of the
/// join is fixed.
pub(super) const EXISTING_TUPLES: &ManyRows = &ManyRows {
    table: "fga_tuples",
    sql: "
    select t.tuple_hash, t.`timestamp` <= k.no_later_than from ({rows}) as k
        straight_join `{prefix}fga_tuples` as t force index (primary) on t.tuple_hash = k.tuple_hash",
    row: KEY_AND_TIME,
    between: UNION,
    most: MOST_SELECTS,
    long_from: NEVER,
};

/// With `tuple_hash in (…)` the planner reads the whole table where its statistics say that it is empty, and
/// no hint prevents that; after a crash they can be that old. A join whose order is fixed has one plan.
pub(super) const DELETE_TUPLES: &ManyRows = &ManyRows {
    table: "fga_tuples",
    sql: "
    delete t from ({rows}) as k
        straight_join `{prefix}fga_tuples` as t force index (primary) on t.tuple_hash = k.tuple_hash",
    row: KEY,
    between: UNION,
    most: MOST_SELECTS,
    long_from: NEVER,
};

/// The same where what wrote them was no later.
pub(super) const DELETE_EARLIER_TUPLES: &ManyRows = &ManyRows {
    table: "fga_tuples",
    sql: "
    delete t from ({rows}) as k
        straight_join `{prefix}fga_tuples` as t force index (primary) on t.tuple_hash = k.tuple_hash
    where t.`timestamp` <= k.no_later_than",
    row: KEY_AND_TIME,
    between: UNION,
    most: MOST_SELECTS,
    long_from: NEVER,
};

/// Writes tuples anew where what wrote them before was no later. The order of the join is fixed here too.
pub(super) const REWRITE_EARLIER_TUPLES: &ManyRows = &ManyRows {
    table: "fga_tuples",
    sql: "
    update ({rows}) as k
        straight_join `{prefix}fga_tuples` as t force index (primary) on t.tuple_hash = k.tuple_hash
    set t.condition_name = k.condition_name, t.condition_context = k.condition_context, t.`timestamp` = k.written_at
    where t.`timestamp` <= k.no_later_than",
    row: "select cast(? as binary(32)) as tuple_hash, cast(? as datetime(6)) as no_later_than, ? as condition_name,
        ? as condition_context, cast(? as datetime(6)) as written_at",
    between: UNION,
    most: MOST_SELECTS,
    long_from: NEVER,
};

pub(super) const INSERT_TUPLES: &ManyRows = &ManyRows {
    table: "fga_tuples",
    sql: "
    insert into `{prefix}fga_tuples`
        (tuple_hash, store_id, object_type, object_id, relation, user_type, user_id, user_relation,
         condition_name, condition_context, timestamp)
    values {rows}",
    row: "(?,?,?,?,?,?,?,?,?,?,?)",
    between: ",",
    most: 1_000,
    long_from: NEVER,
};

/// MySQL deprecates `values(column)`, and MariaDB has nothing else. A row of another key that is in the way, by a unique index of the
/// user's, is left alone: it would get no key, which is an error. The columns that the key was made of are written too, in case
/// somebody has altered them.
pub(super) const WRITE_TUPLES: &ManyRows = &ManyRows {
    table: "fga_tuples",
    sql: "
    insert into `{prefix}fga_tuples`
        (tuple_hash, store_id, object_type, object_id, relation, user_type, user_id, user_relation,
         condition_name, condition_context, timestamp)
    values {rows}
    on duplicate key update
        tuple_hash = if(tuple_hash = values(tuple_hash), tuple_hash, null),
        store_id = values(store_id), object_type = values(object_type), object_id = values(object_id),
        relation = values(relation), user_type = values(user_type), user_id = values(user_id),
        user_relation = values(user_relation),
        condition_name = values(condition_name), condition_context = values(condition_context),
        timestamp = values(timestamp)",
    row: "(?,?,?,?,?,?,?,?,?,?,?)",
    between: ",",
    most: 1_000,
    long_from: NEVER,
};

/// The hash after which to read on, the store, the object type twice, or '' for all, and the limit. In the order of the primary key.
pub(super) const READ_TUPLES: &str = "
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, condition_context, date_format(`timestamp`, '%Y-%m-%dT%H:%i:%s.%fZ'), hex(tuple_hash)
    from `{prefix}fga_tuples` force index (primary)
    where tuple_hash > cast(? as binary) and store_id = ? and (? = '' or object_type = ?)
    order by tuple_hash limit ?";

/// The id after which to read on, and as [`READ_TUPLES`].
pub(super) const READ_CHANGELOG: &str = "
    select object_type, object_id, relation, user_type, user_id, user_relation,
           change_type, condition_name, condition_context, date_format(`timestamp`, '%Y-%m-%dT%H:%i:%s.%fZ'), id
    from `{prefix}fga_changelog` force index (primary)
    where id > ? and store_id = ? and (? = '' or object_type = ?)
    order by id limit ?";

/// The store and the key, and the hash that is made of them.
pub(super) const FIND_TUPLE: &str = "
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, condition_context, date_format(`timestamp`, '%Y-%m-%dT%H:%i:%s.%fZ')
    from `{prefix}fga_tuples`
    where store_id = ? and object_type = ? and object_id = ? and relation = ? and user_type = ? and user_id = ?
      and user_relation = ? and tuple_hash = cast(? as binary(32))";

/// The same without the hash: somebody may have altered the columns, and left that. The object or the user may have many rows: the planner
/// chooses.
pub(super) const FIND_ALTERED_TUPLE: &str = "
    select object_type, object_id, relation, user_type, user_id, user_relation,
           'add', condition_name, condition_context, date_format(`timestamp`, '%Y-%m-%dT%H:%i:%s.%fZ')
    from `{prefix}fga_tuples`
    where store_id = ? and object_type = ? and object_id = ? and relation = ? and user_type = ? and user_id = ?
      and user_relation = ?";

/// The store and the key.
pub(super) const FIND_CHANGES: &str = "
    select object_type, object_id, relation, user_type, user_id, user_relation,
           change_type, condition_name, condition_context, date_format(`timestamp`, '%Y-%m-%dT%H:%i:%s.%fZ')
    from `{prefix}fga_changelog`
    where store_id = ? and object_type = ? and object_id = ? and relation = ? and user_type = ? and user_id = ?
      and user_relation = ?
    order by id";

/// The checkpoint's name comes before the rows.
pub(super) const FORGET_PAGES: &ManyRows = &ManyRows {
    table: "fga_sync_overlap",
    sql: "delete from `{prefix}fga_sync_overlap` where name = ? and commit_number in ({rows})",
    row: "?",
    between: ",",
    most: 1_000,
    long_from: NEVER,
};

pub(super) const KEEP_PAGES: &ManyRows = &ManyRows {
    table: "fga_sync_overlap",
    sql: "
    insert into `{prefix}fga_sync_overlap` (name, commit_number, token, seen_at, settled, changes)
    values {rows}",
    row: "(?,?,?,?,?,?)",
    between: ",",
    most: 1_000,
    long_from: NEVER,
};

pub(super) const END_RUN: &str = "
    update `{prefix}fga_sync_runs`
    set finished_at = ?, outcome = ?, exit_code = ?, error_kind = ?, error_message = ?
    where run_id = ?";

pub(super) const RECORD_RUN: &str = "
    insert into `{prefix}fga_sync_runs`
        (run_id, name, version, host, pid, started_at, finished_at, outcome, exit_code, error_kind, error_message,
         command, pages, changes, writes, deletes, late_arrivals, order_anomalies, rejects)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0)
    on duplicate key update run_id = if(run_id = values(run_id), run_id, null)";

/// The name, twice, how many of its runs stay, and the name again. The newest of the others is found by stepping over those in the
/// index, in a derived table, since MySQL lets no statement read the table that it deletes from. The run that has the checkpoint stays: it
/// may be under way, and old, where many that followed were kept out by it.
pub(super) const FORGET_OLD_RUNS: &str = "
    delete from `{prefix}fga_sync_runs`
    where name = ?
      and run_id <= (
        select run_id from (
            select run_id from `{prefix}fga_sync_runs` where name = ? order by run_id desc limit 1 offset ?) as newest)
      and run_id not in (select run_id from `{prefix}fga_sync_state` where name = ? and run_id is not null)";

/// Name, fence, and the run.
pub(super) const FORGET_CHECKPOINT: &str = "
    delete from `{prefix}fga_sync_state` where name = ? and fence = ? and run_id = ?";

/// It locks the row, so that it is of one moment with what was deleted.
pub(super) const HAS_CHECKPOINT: &str = "
    select exists (select 1 from `{prefix}fga_sync_state` where name = ? for update)";

/// As [`FORGET_CHECKPOINT`]. The row stays for the fence.
pub(super) const CLEAR_CHECKPOINT: &str = "
    update `{prefix}fga_sync_state`
    set token = null, watermark = null, position_time = null, complete_as_of = null, start_time = null, announced = null,
        seed_token = null, seeded_at = null,
        updated_at = utc_timestamp(6)
    where name = ? and fence = ? and run_id = ?";

/// The store, and the object type, or '' for all; and both again.
pub(super) const COUNT_ROWS: &str = "
    select (select count(*) from `{prefix}fga_changelog` where store_id = ? and ? in ('', object_type)),
           (select count(*) from `{prefix}fga_tuples` where store_id = ? and ? in ('', object_type))";

/// The store, the object type, or '' for all, and how many rows at most.
pub(super) const TRUNCATE_CHANGES: &str = "
    delete from `{prefix}fga_changelog` where store_id = ? and ? in ('', object_type) limit ?";

/// The same of tuples.
pub(super) const TRUNCATE_TUPLES: &str = "
    delete from `{prefix}fga_tuples` where store_id = ? and ? in ('', object_type) limit ?";

pub(super) const UNDER_WAY: &str = "
    select r.run_id, date_format(r.started_at, '%Y-%m-%dT%H:%i:%s.%fZ'), r.host, r.pid
    from `{prefix}fga_sync_state` s join `{prefix}fga_sync_runs` r on r.run_id = s.run_id
    where s.name = ? and r.finished_at is null";

/// Of each name the last run that came to its end, and all since: what is counted from there on is told by
/// [`RecordedRun`](crate::status::RecordedRun).
pub(super) const RECORDED_RUNS: &str = "
    select r.name, r.run_id, r.command, date_format(r.started_at, '%Y-%m-%dT%H:%i:%s.%fZ'),
           date_format(r.finished_at, '%Y-%m-%dT%H:%i:%s.%fZ'), r.outcome, r.exit_code, r.error_kind, r.error_message, r.host, r.pid,
           s.run_id is not null
    from `{prefix}fga_sync_runs` r
    left join `{prefix}fga_sync_state` s on s.name = r.name and s.run_id = r.run_id
    left join (
        select name, max(run_id) as run_id from `{prefix}fga_sync_runs`
        where command in ('run', 'seed') and outcome in ('drained', 'set_aside', 'seeded') group by name) l on l.name = r.name
    where r.run_id >= coalesce(l.run_id, '')";

pub(super) const IS_LOCKED: &str = "select is_used_lock(?) is not null";

/// MySQL keeps what it has said of a table's rows for a day; MariaDB does not, and passes the comment over.
pub(super) const FRESH_ESTIMATES: &str =
    "set time_zone = '+00:00' /*!80000 , information_schema_stats_expiry = 0 */";

/// The two tables.
pub(super) const ESTIMATE_ROWS: &str = "
    select (select table_rows from information_schema.tables where table_schema = database() and table_name = ?),
           (select table_rows from information_schema.tables where table_schema = database() and table_name = ?)";
