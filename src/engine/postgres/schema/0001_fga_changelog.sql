create table if not exists {schema}.fga_changelog (
    id                bigint generated always as identity primary key,
    store_id          text collate "C" not null,
    change_type       text collate "C" not null check (change_type in ('add', 'delete')),
    object_type       text collate "C" not null,
    object_id         text collate "C" not null,
    relation          text collate "C" not null,
    user_type         text collate "C" not null,
    user_id           text collate "C" not null,
    user_relation     text collate "C" not null,
    condition_name    text collate "C",
    condition_context json, -- jsonb would change it
    "timestamp"       timestamptz not null,
    raw_event         json not null, -- jsonb would change it
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
comment on table {schema}.fga_changelog is 'Every change of the stores, as in the log: what was granted and what was removed';
comment on column {schema}.fga_changelog.id is 'grows in the order of the log, a change that came late has a later one';
comment on column {schema}.fga_changelog.store_id is 'the OpenFGA store';
comment on column {schema}.fga_changelog.change_type is 'add or delete';
comment on column {schema}.fga_changelog.object_type is 'document in document:roadmap';
comment on column {schema}.fga_changelog.object_id is 'roadmap in document:roadmap';
comment on column {schema}.fga_changelog.relation is 'what the user has to the object, such as viewer';
comment on column {schema}.fga_changelog.user_type is 'user in user:anne, empty for a bare user of an old log';
comment on column {schema}.fga_changelog.user_id is 'anne in user:anne, * for everyone of the type';
comment on column {schema}.fga_changelog.user_relation is 'member in group:staff#member, empty for a plain user';
comment on column {schema}.fga_changelog.condition_name is 'the condition under which the tuple holds, or null';
comment on column {schema}.fga_changelog.condition_context is 'what the condition was given, JSON as the server sent it';
comment on column {schema}.fga_changelog.timestamp is 'when it happened (rounded down to microseconds), by the clock of the OpenFGA database';
comment on column {schema}.fga_changelog.raw_event is 'JSON, exactly as the server sent it';
comment on column {schema}.fga_changelog.recorded_at is 'when fga-sync wrote this row';
comment on column {schema}.fga_changelog.run_id is 'the run that wrote this row, in fga_sync_runs';
