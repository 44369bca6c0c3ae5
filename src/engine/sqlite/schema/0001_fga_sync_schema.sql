create table if not exists "{prefix}fga_sync_schema" ( -- The version of these tables: for fga-sync alone
    version    integer primary key not null, -- of the tables
    applied_at text not null                 -- when they got it (UTC)
) strict;
