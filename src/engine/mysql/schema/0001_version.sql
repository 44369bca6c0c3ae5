-- Last, for each statement commits by itself: with this row all tables are there.
insert into `{prefix}fga_sync_schema` (version, applied_at)
    values (1, utc_timestamp(6))
    on duplicate key update version = values(version);
