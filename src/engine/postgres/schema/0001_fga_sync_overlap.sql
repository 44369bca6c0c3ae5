-- The changes after the watermark. Each run reads them again, recognises them, and finds what came late between them.
create table if not exists {schema}.fga_sync_overlap (
    name          text collate "C" not null,
    commit_number bigint not null,           -- of the commit that stored them
    token         text collate "C" not null, -- the continuation token after the page of that commit
    seen_at       timestamptz not null,      -- when that position was first read
    settled       boolean not null,          -- whether nothing can come late before that position any more
    changes       bytea not null,            -- a digest of each change
    primary key (name, commit_number)
);
