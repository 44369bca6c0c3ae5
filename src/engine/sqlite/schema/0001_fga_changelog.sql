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
-- What happened to this object? The store comes last, so a question may name it or not.
create index if not exists "{prefix}fga_changelog_by_object"
    on "{prefix}fga_changelog" (object_type, object_id, store_id);
-- Everything about this user.
create index if not exists "{prefix}fga_changelog_by_user"
    on "{prefix}fga_changelog" (user_type, user_id, store_id);
-- What happened between two times?
create index if not exists "{prefix}fga_changelog_by_time"
    on "{prefix}fga_changelog" (timestamp);
-- Are there rows of this store, or of a type in it? An expression, since SQLite has no statistics: it would take an
-- index on the column for a question about a time in a store, and read all of the store.
create index if not exists "{prefix}fga_changelog_by_store"
    on "{prefix}fga_changelog" (store_id || '', object_type);
