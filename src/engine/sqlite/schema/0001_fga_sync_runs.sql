create table if not exists "{prefix}fga_sync_runs" (
    run_id          text primary key not null, -- a ULID: sorts by time
    name            text not null,
    version         text not null,    -- of fga-sync
    host            text,             -- of the process; null where it has no name
    pid             integer not null, -- its id there
    started_at      text not null,
    finished_at     text,             -- null while it runs, and after a crash
    outcome         text,
    exit_code       integer,
    error_kind      text,             -- of a run that failed
    error_message   text,
    pages           integer not null,
    changes         integer not null,
    writes          integer not null,
    deletes         integer not null,
    late_arrivals   integer not null, -- of the changes, those that stand in the log before others that were read earlier
    order_anomalies integer not null  -- tuples whose changes contradicted each other
) strict;
-- Old runs of a name are found without reading all runs.
create index if not exists "{prefix}fga_sync_runs_by_name"
    on "{prefix}fga_sync_runs" (name, run_id);
