-- The changes after the watermark. Each run reads them again, recognises them, and finds what came late between them.
create table if not exists "{prefix}fga_sync_overlap" (
    name          text not null,
    commit_number integer not null, -- of the commit that stored them
    token         text not null,    -- the continuation token after the page of that commit
    seen_at       text not null,    -- when that position was first read
    settled       integer not null, -- 1 where nothing can come late before that position any more
    changes       blob not null,    -- a digest of each change
    primary key (name, commit_number)
) strict, without rowid;
