-- Pages that were read too recently to be complete. They are read again, and their changes recognised.
create table if not exists "{prefix}fga_sync_unsettled" (
    name    text not null,
    pass    integer not null, -- the fence of the run that read the page
    place   integer not null, -- among the pages of that run
    seen_at text not null,
    changes blob not null,    -- a digest of each change, in order
    primary key (name, pass, place)
) strict, without rowid;
