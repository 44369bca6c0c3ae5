create table if not exists "{prefix}fga_changelog" ( -- Every change of the stores, as in the log: what was granted and what was removed
    id                integer primary key autoincrement, -- grows in the order of the log, a change that came late has a later one
    store_id          text not null,                     -- the OpenFGA store
    change_type       text not null check (change_type in ('add', 'delete')), -- add or delete
    object_type       text not null,                     -- document in document:roadmap
    object_id         text not null,                     -- roadmap in document:roadmap
    relation          text not null,                     -- what the user has to the object, such as viewer
    user_type         text not null,                     -- user in user:anne, empty for a bare user of an old log
    user_id           text not null,                     -- anne in user:anne, * for everyone of the type
    user_relation     text not null,                     -- member in group:staff#member, empty for a plain user
    condition_name    text,                              -- the condition under which the tuple holds, or null
    condition_context text,                              -- what the condition was given, JSON as the server sent it
    timestamp         text not null,                     -- when it happened (RFC 3339, UTC, nanoseconds), by the clock of the OpenFGA database
    raw_event         text not null,                     -- JSON, exactly as the server sent it
    recorded_at       text not null,                     -- when fga-sync wrote this row (UTC)
    run_id            text not null                      -- the run that wrote this row, in fga_sync_runs
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
