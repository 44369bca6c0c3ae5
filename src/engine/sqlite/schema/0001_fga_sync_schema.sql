create table if not exists "{prefix}fga_sync_schema" (
    version    integer primary key not null,
    applied_at text not null
) strict;
