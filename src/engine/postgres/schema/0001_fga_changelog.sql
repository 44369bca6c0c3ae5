create table if not exists {schema}.fga_changelog (
    id                bigint generated always as identity primary key, -- grows in the order of the log
    store_id          text collate "C" not null,
    change_type       text collate "C" not null check (change_type in ('add', 'delete')),
    object_type       text collate "C" not null,
    object_id         text collate "C" not null,
    relation          text collate "C" not null,
    user_type         text collate "C" not null, -- '' for a bare user of an old log
    user_id           text collate "C" not null, -- '*' for everyone of the type
    user_relation     text collate "C" not null, -- '' for a plain user
    condition_name    text collate "C",
    condition_context json,                      -- as the server sent it; jsonb would change it
    "timestamp"       timestamptz not null,      -- rounded down to microseconds: the clock of the server's database
    raw_event         json not null,             -- exactly as the server sent it
    recorded_at       timestamptz not null,
    run_id            text collate "C" not null
);
-- What happened to this object? The store comes last, so a question may name it or not.
create index if not exists fga_changelog_by_object
    on {schema}.fga_changelog (object_type, object_id, store_id);
-- Everything about this user.
create index if not exists fga_changelog_by_user
    on {schema}.fga_changelog (user_type, user_id, store_id);
-- What happened between two times? The log is about in the order of time, so a summary of each few blocks finds
-- them, at next to no cost for a page that is added.
create index if not exists fga_changelog_by_time
    on {schema}.fga_changelog using brin ("timestamp") with (pages_per_range = 32, autosummarize = on);
-- Are there rows of this store, or of a type in it?
create index if not exists fga_changelog_by_store
    on {schema}.fga_changelog (store_id, object_type);
