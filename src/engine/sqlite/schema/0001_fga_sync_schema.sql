create table if not exists "{prefix}fga_sync_schema" (
    version    integer primary key not null,
    applied_at text not null
) strict;
insert into "{prefix}fga_sync_schema" (version, applied_at)
    values (1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    on conflict do nothing;
