create table if not exists "{prefix}fga_sync_state" (
    name             text primary key not null, -- the job, or the store id
    source           text not null,
    store_id         text not null,
    store_name       text,
    store_created_at text,
    type_filter      text not null, -- '' for all types
    mode             text not null check (mode in ('changelog', 'stateful', 'both')),
    start_time       text,          -- where the log began to be read; null at its start
    token            text,          -- the continuation token after the last applied page
    watermark        text,          -- what stands before it is complete: the next run begins here
    position_time    text,          -- the timestamp of the last change of that page
    complete_as_of   text,          -- what was written to the source before is in the mirror; null until an end was proven
    page_size        integer,       -- changes in a page that the server last took after it refused more; or null
    fence            integer not null, -- grows with each run; a run with an older one can commit nothing
    commits          integer not null, -- of all runs: each commit is the next one
    run_id           text,          -- the run that took it last
    updated_at       text not null
) strict;
