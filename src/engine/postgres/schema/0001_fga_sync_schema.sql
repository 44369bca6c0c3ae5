create table if not exists {schema}.fga_sync_schema (
    version    bigint primary key,
    applied_at timestamptz not null
);
comment on table {schema}.fga_sync_schema is 'The version of these tables: for fga-sync alone';
comment on column {schema}.fga_sync_schema.version is 'of the tables';
comment on column {schema}.fga_sync_schema.applied_at is 'when they got it';
