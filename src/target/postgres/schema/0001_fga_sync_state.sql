create table if not exists {schema}.fga_sync_state (
    name             text collate "C" primary key, -- the job, or the store id
    source           text collate "C" not null,
    store_id         text collate "C" not null,
    store_name       text collate "C",
    store_created_at text collate "C",
    type_filter      text collate "C" not null, -- '' for all types
    mode             text collate "C" not null check (mode in ('changelog', 'stateful', 'both')),
    token            text collate "C",          -- the continuation token behind the last applied page
    position_time    timestamptz,               -- the timestamp of the last applied change
    fence            bigint not null,           -- grows with each run; a run with an older one can commit nothing
    updated_at       timestamptz not null
);
