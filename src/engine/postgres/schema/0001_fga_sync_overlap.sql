-- The changes after the watermark. Each run reads them again, recognises them, and finds what came late between them.
create table if not exists {schema}.fga_sync_overlap (
    name          text collate "C" not null,
    commit_number bigint not null,
    token         text collate "C" not null,
    seen_at       timestamptz not null,
    settled       boolean not null,
    changes       bytea not null,
    primary key (name, commit_number)
);
comment on table {schema}.fga_sync_overlap is 'What the next run reads again, to find changes that came late: for fga-sync alone';
comment on column {schema}.fga_sync_overlap.name is 'the job, or the store id';
comment on column {schema}.fga_sync_overlap.commit_number is 'of the commit that stored them';
comment on column {schema}.fga_sync_overlap.token is 'the continuation token after the page of that commit';
comment on column {schema}.fga_sync_overlap.seen_at is 'when that position was first read';
comment on column {schema}.fga_sync_overlap.settled is 'whether nothing can come late before that position any more';
comment on column {schema}.fga_sync_overlap.changes is 'a digest of each change';
