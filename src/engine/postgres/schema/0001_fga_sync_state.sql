create table if not exists {schema}.fga_sync_state (
    name             text collate "C" primary key,
    source           text collate "C" not null,
    store_id         text collate "C" not null,
    store_name       text collate "C",
    store_created_at text collate "C",
    type_filter      text collate "C" not null,
    mode             text collate "C" not null check (mode in ('changelog', 'stateful', 'both')),
    target_store_id  text collate "C",
    target_store_created_at text collate "C",
    start_time       timestamptz,
    seed_token       text collate "C",
    seeded_at        timestamptz,
    token            text collate "C",
    watermark        text collate "C",
    position_time    timestamptz,
    complete_as_of   timestamptz,
    page_size        bigint,
    fence            bigint not null,
    commits          bigint not null,
    announced        bytea,
    run_id           text collate "C",
    updated_at       timestamptz not null
);
comment on table {schema}.fga_sync_state is 'How far each mirror is: one row for each job, or store';
comment on column {schema}.fga_sync_state.name is 'the job, or the store id';
comment on column {schema}.fga_sync_state.source is 'where the log is read';
comment on column {schema}.fga_sync_state.store_id is 'the OpenFGA store';
comment on column {schema}.fga_sync_state.store_name is 'its name when the last run began';
comment on column {schema}.fga_sync_state.store_created_at is 'when the store was created, as the server says it';
comment on column {schema}.fga_sync_state.type_filter is 'the object type that is mirrored, empty for all';
comment on column {schema}.fga_sync_state.mode is 'changelog, stateful or both';
comment on column {schema}.fga_sync_state.target_store_id is 'the OpenFGA store that the tuples go to, null where they stay in these tables';
comment on column {schema}.fga_sync_state.target_store_created_at is 'when that store was created, as its server says it';
comment on column {schema}.fga_sync_state.start_time is 'where the log began to be read, null at its start';
comment on column {schema}.fga_sync_state.seed_token is 'where the scan of a seed that is under way goes on, empty at its start, or null';
comment on column {schema}.fga_sync_state.seeded_at is 'when a seed had read the tuples of the store: the changelog begins at start_time';
comment on column {schema}.fga_sync_state.token is 'the continuation token after the last applied page';
comment on column {schema}.fga_sync_state.watermark is 'what stands before this token is complete: the next run begins here';
comment on column {schema}.fga_sync_state.position_time is 'the timestamp of the last applied change';
comment on column {schema}.fga_sync_state.complete_as_of is 'what was written to the source before is in the mirror, null until an end was proven';
comment on column {schema}.fga_sync_state.page_size is 'changes in a page that the server last took after it refused more, or null';
comment on column {schema}.fga_sync_state.fence is 'grows with each run: a run with an older one can commit nothing';
comment on column {schema}.fga_sync_state.commits is 'the number of the last commit, of all runs';
comment on column {schema}.fga_sync_state.announced is 'digests of tuples that are being written to that store, null where none are';
comment on column {schema}.fga_sync_state.run_id is 'the run that took it last';
comment on column {schema}.fga_sync_state.updated_at is 'when this row was last written';
