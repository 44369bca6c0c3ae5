create table if not exists {schema}.fga_sync_schema (
    version    bigint primary key,
    applied_at timestamptz not null
);
insert into {schema}.fga_sync_schema (version, applied_at)
    values (1, now())
    on conflict do nothing;
