create table if not exists "{prefix}fga_changelog" (
    id                integer primary key autoincrement, -- grows in the order of the log
    store_id          text not null,
    change_type       text not null check (change_type in ('add', 'delete')),
    object_type       text not null,
    object_id         text not null,
    relation          text not null,
    user_type         text not null, -- '' for a bare user of an old log
    user_id           text not null, -- '*' for everyone of the type
    user_relation     text not null, -- '' for a plain user
    condition_name    text,
    condition_context text,          -- JSON, as the server sent it
    timestamp         text not null, -- RFC 3339, UTC, nanoseconds: the clock of the server's database
    raw_event         text not null, -- JSON, exactly as the server sent it
    recorded_at       text not null,
    run_id            text not null
) strict;
-- What happened to this object?
create index if not exists "{prefix}fga_changelog_by_object"
    on "{prefix}fga_changelog" (store_id, object_type, object_id, relation);
-- What happened between two times?
create index if not exists "{prefix}fga_changelog_by_time"
    on "{prefix}fga_changelog" (store_id, timestamp);
