create table if not exists {schema}.fga_sync_runs (
    run_id          text collate "C" primary key, -- a ULID: sorts by time
    name            text collate "C" not null,
    version         text collate "C" not null,    -- of fga-sync
    started_at      timestamptz not null,
    finished_at     timestamptz,                  -- null while it runs, and after a crash
    outcome         text collate "C",
    exit_code       bigint,
    pages           bigint not null,
    changes         bigint not null,
    writes          bigint not null,
    deletes         bigint not null,
    late_arrivals   bigint not null, -- of the changes, those that stand in the log before others that were read earlier
    order_anomalies bigint not null  -- tuples whose changes contradicted each other
);
