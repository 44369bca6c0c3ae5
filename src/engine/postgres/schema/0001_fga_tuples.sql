-- The primary key answers: who can reach this object? The store comes last, so a question may name it or not.
create table if not exists {schema}.fga_tuples (
    store_id          text collate "C" not null,
    object_type       text collate "C" not null,
    object_id         text collate "C" not null,
    relation          text collate "C" not null,
    user_type         text collate "C" not null,
    user_id           text collate "C" not null,
    user_relation     text collate "C" not null,
    condition_name    text collate "C",
    condition_context json, -- jsonb would change it
    "timestamp"       timestamptz not null,
    primary key (object_type, object_id, relation, user_type, user_id, user_relation, store_id)
);
-- What can this user reach? The store comes after the user, so a question may name it or not. This has all the columns
-- of the primary key. So a planner that takes it for a lookup by key, as it does where statistics are old or missing and
-- at times where they are not, finds one row, not all of the user's. And it answers from the index alone.
create index if not exists fga_tuples_by_user
    on {schema}.fga_tuples (user_type, user_id, store_id, user_relation, object_type, object_id, relation);
comment on table {schema}.fga_tuples is 'The tuples that exist now: direct grants, without what the model computes from them';
comment on column {schema}.fga_tuples.store_id is 'the OpenFGA store';
comment on column {schema}.fga_tuples.object_type is 'document in document:roadmap';
comment on column {schema}.fga_tuples.object_id is 'roadmap in document:roadmap';
comment on column {schema}.fga_tuples.relation is 'what the user has to the object, such as viewer';
comment on column {schema}.fga_tuples.user_type is 'user in user:anne, empty for a bare user of an old log';
comment on column {schema}.fga_tuples.user_id is 'anne in user:anne, * for everyone of the type';
comment on column {schema}.fga_tuples.user_relation is 'member in group:staff#member, empty for a plain user';
comment on column {schema}.fga_tuples.condition_name is 'the condition under which the tuple holds, or null';
comment on column {schema}.fga_tuples.condition_context is 'what the condition was given, JSON as the server sent it';
comment on column {schema}.fga_tuples.timestamp is 'when it was last written (rounded down to microseconds), by the clock of the OpenFGA database';
