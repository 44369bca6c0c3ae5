create table if not exists {schema}.fga_sync_state (
    name             text collate "C" primary key, -- the job, or the store id
    source           text collate "C" not null,
    store_id         text collate "C" not null,
    store_name       text collate "C",
    store_created_at text collate "C",
    type_filter      text collate "C" not null, -- '' for all types
    mode             text collate "C" not null check (mode in ('changelog', 'stateful', 'both')),
    start_time       timestamptz,               -- where the log began to be read; null at its start
    token            text collate "C",          -- the continuation token after the last applied page
    watermark        text collate "C",          -- what stands before it is complete: the next run begins here
    position_time    timestamptz,               -- the timestamp of the last change of that page
    complete_as_of   timestamptz,               -- what was written to the source before is in the mirror; null until an end was proven
    page_size        bigint,                    -- changes in a page that the server last took after it refused more; or null
    fence            bigint not null,           -- grows with each run; a run with an older one can commit nothing
    commits          bigint not null,           -- of all runs: each commit is the next one
    run_id           text collate "C",          -- the run that took it last
    updated_at       timestamptz not null
);
