-- Pages that were read too recently to be complete. They are read again, and their changes recognised.
create table if not exists {schema}.fga_sync_unsettled (
    name    text collate "C" not null,
    pass    bigint not null, -- the fence of the run that read the page
    place   bigint not null, -- among the pages of that run
    seen_at timestamptz not null,
    changes bytea not null,  -- a digest of each change, in order
    primary key (name, pass, place)
);
