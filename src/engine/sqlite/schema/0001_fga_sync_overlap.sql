-- The changes after the watermark. Each run reads them again, recognises them, and finds what came late between them.
create table if not exists "{prefix}fga_sync_overlap" ( -- What the next run reads again, to find changes that came late: for fga-sync alone
    name          text not null,    -- the job, or the store id
    commit_number integer not null, -- of the commit that stored them
    token         text not null,    -- the continuation token after the page of that commit
    seen_at       text not null,    -- when that position was first read (UTC)
    settled       integer not null, -- whether nothing can come late before that position any more
    changes       blob not null,    -- a digest of each change
    primary key (name, commit_number)
) strict, without rowid;
