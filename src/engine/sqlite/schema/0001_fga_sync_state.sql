create table if not exists "{prefix}fga_sync_state" ( -- How far each mirror is: one row for each job, or store
    name             text primary key not null, -- the job, or the store id
    source           text not null,             -- where the log is read
    store_id         text not null,             -- the OpenFGA store
    store_name       text,                      -- its name when the last run began
    store_created_at text,                      -- when the store was created, as the server says it
    type_filter      text not null,             -- the object type that is mirrored, empty for all
    mode             text not null check (mode in ('changelog', 'stateful', 'both')), -- changelog, stateful or both
    target_store_id  text,                      -- the OpenFGA store that the tuples go to, null where they stay in these tables
    target_store_created_at text,               -- when that store was created, as its server says it
    start_time       text,                      -- where the log began to be read, null at its start
    seed_token       text,                      -- where the scan of a seed that is under way goes on, empty at its start, or null
    seeded_at        text,                      -- when a seed had read the store's tuples: the changelog begins at start_time (UTC)
    token            text,                      -- the continuation token after the last applied page
    watermark        text,                      -- what stands before this token is complete: the next run begins here
    position_time    text,                      -- the timestamp of the last applied change (UTC)
    complete_as_of   text,                      -- what was written to the source before is in the mirror (UTC), null until an end was proven
    page_size        integer,                   -- changes in a page that the server last took after it refused more, or null
    fence            integer not null,          -- grows with each run: a run with an older one can commit nothing
    commits          integer not null,          -- the number of the last commit, of all runs
    announced        blob,                      -- digests of tuples that are being written to that store, null where none are
    run_id           text,                      -- the run that took it last
    updated_at       text not null              -- when this row was last written (UTC)
) strict;
