create table if not exists {schema}.fga_sync_runs (
    run_id          text collate "C" primary key, -- a ULID: sorts by time
    name            text collate "C" not null,
    version         text collate "C" not null,    -- of fga-sync
    host            text collate "C",             -- of the process; null where it has no name
    pid             bigint not null,              -- its id there
    started_at      timestamptz not null,
    finished_at     timestamptz,                  -- null while it runs, and after a crash
    outcome         text collate "C",
    exit_code       bigint,
    error_kind      text collate "C",             -- of a run that failed
    error_message   text collate "C",
    pages           bigint not null,
    changes         bigint not null,
    writes          bigint not null,
    deletes         bigint not null,
    late_arrivals   bigint not null, -- of the changes, those that stand in the log before others that were read earlier
    order_anomalies bigint not null  -- tuples whose changes contradicted each other
);
-- Old runs of a name are found without reading all runs.
create index if not exists fga_sync_runs_by_name
    on {schema}.fga_sync_runs (name, run_id);
