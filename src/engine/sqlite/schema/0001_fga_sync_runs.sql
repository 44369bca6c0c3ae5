create table if not exists "{prefix}fga_sync_runs" ( -- One row for each run of fga-sync
    run_id          text primary key not null, -- a ULID: sorts by time
    name            text not null,             -- the job, or the store id
    command         text not null,             -- what was asked for: run, seed
    version         text not null,             -- of fga-sync
    host            text,                      -- where it ran, null where that has no name
    pid             integer not null,          -- its process there
    started_at      text not null,             -- when it began (UTC)
    finished_at     text,                      -- when it ended (UTC), null while it runs and after a crash
    outcome         text,                      -- how it ended, in one word: drained where the end of the log was reached
    exit_code       integer,                   -- what the scheduler got
    error_kind      text,                      -- of a run that failed: what kind of failure
    error_message   text,                      -- of a run that failed: what happened
    pages           integer not null,          -- pages of changes that were committed
    changes         integer not null,          -- changes that were committed, or tuples of a seed
    writes          integer not null,          -- of the changes, those that wrote a tuple
    deletes         integer not null,          -- of the changes, those that deleted a tuple
    late_arrivals   integer not null,          -- of the changes, those that stand in the log before others that were read earlier
    order_anomalies integer not null,          -- tuples whose changes contradicted each other
    rejects         integer not null           -- further changes that the target can not hold, which were set aside
) strict;
-- Old runs of a name are found without reading all runs.
create index if not exists "{prefix}fga_sync_runs_by_name"
    on "{prefix}fga_sync_runs" (name, run_id);
