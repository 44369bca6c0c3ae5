create table if not exists {schema}.fga_sync_runs (
    run_id          text collate "C" primary key,
    name            text collate "C" not null,
    command         text collate "C" not null,
    version         text collate "C" not null,
    host            text collate "C",
    pid             bigint not null,
    started_at      timestamptz not null,
    finished_at     timestamptz,
    outcome         text collate "C",
    exit_code       bigint,
    error_kind      text collate "C",             -- of a run that failed
    error_message   text collate "C",
    pages           bigint not null,
    changes         bigint not null,
    writes          bigint not null,
    deletes         bigint not null,
    late_arrivals   bigint not null,
    order_anomalies bigint not null,
    rejects         bigint not null
);
comment on table {schema}.fga_sync_runs is 'One row for each run of fga-sync';
comment on column {schema}.fga_sync_runs.run_id is 'a ULID: sorts by time';
comment on column {schema}.fga_sync_runs.name is 'the job, or the store id';
comment on column {schema}.fga_sync_runs.command is 'what was asked for: run, seed';
comment on column {schema}.fga_sync_runs.version is 'of fga-sync';
comment on column {schema}.fga_sync_runs.host is 'where it ran, null where that has no name';
comment on column {schema}.fga_sync_runs.pid is 'its process there';
comment on column {schema}.fga_sync_runs.started_at is 'when it began';
comment on column {schema}.fga_sync_runs.finished_at is 'when it ended, null while it runs and after a crash';
comment on column {schema}.fga_sync_runs.outcome is 'how it ended, in one word: drained where the end of the log was reached';
comment on column {schema}.fga_sync_runs.exit_code is 'what the scheduler got';
comment on column {schema}.fga_sync_runs.error_kind is 'of a run that failed: what kind of failure';
comment on column {schema}.fga_sync_runs.error_message is 'of a run that failed: what happened';
comment on column {schema}.fga_sync_runs.pages is 'pages of changes that were committed';
comment on column {schema}.fga_sync_runs.changes is 'changes that were committed, or tuples of a seed';
comment on column {schema}.fga_sync_runs.writes is 'of the changes, those that wrote a tuple';
comment on column {schema}.fga_sync_runs.deletes is 'of the changes, those that deleted a tuple';
comment on column {schema}.fga_sync_runs.late_arrivals is 'of the changes, those that stand in the log before others that were read earlier';
comment on column {schema}.fga_sync_runs.order_anomalies is 'tuples whose changes contradicted each other';
comment on column {schema}.fga_sync_runs.rejects is 'further changes that the target can not hold, which were set aside';
-- Old runs of a name are found without reading all runs.
create index if not exists fga_sync_runs_by_name
    on {schema}.fga_sync_runs (name, run_id);
