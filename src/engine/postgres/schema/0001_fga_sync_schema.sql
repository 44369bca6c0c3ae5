create table if not exists {schema}.fga_sync_schema (
    version    bigint primary key,
    applied_at timestamptz not null
);
