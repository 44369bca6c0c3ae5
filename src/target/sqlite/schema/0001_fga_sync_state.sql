create table if not exists "{prefix}fga_sync_state" (
    name             text primary key not null, -- the job, or the store id
    source           text not null,
    store_id         text not null,
    store_name       text,
    store_created_at text,
    type_filter      text not null, -- '' for all types
    mode             text not null check (mode in ('changelog', 'stateful', 'both')),
    token            text,          -- the continuation token behind the last applied page
    position_time    text,          -- the timestamp of the last applied change
    fence            integer not null, -- grows with each run; a run with an older one can commit nothing
    updated_at       text not null
) strict;
