-- The primary key answers: who can reach this object? The store comes last, so a question may name it or not.
create table if not exists {schema}.fga_tuples (
    store_id          text collate "C" not null,
    object_type       text collate "C" not null,
    object_id         text collate "C" not null,
    relation          text collate "C" not null,
    user_type         text collate "C" not null, -- '' for a bare user of an old log
    user_id           text collate "C" not null, -- '*' for everyone of the type
    user_relation     text collate "C" not null, -- '' for a plain user
    condition_name    text collate "C",
    condition_context json,                      -- as the server sent it; jsonb would change it
    "timestamp"       timestamptz not null,      -- rounded down to microseconds: the clock of the server's database
    primary key (object_type, object_id, relation, user_type, user_id, user_relation, store_id)
);
-- What can this user reach? The store comes after the user, so a question may name it or not. This has all the columns
-- of the primary key. So a planner that takes it for a lookup by key, as it does where statistics are old or missing and
-- at times where they are not, finds one row, not all of the user's. And it answers from the index alone.
create index if not exists fga_tuples_by_user
    on {schema}.fga_tuples (user_type, user_id, store_id, user_relation, object_type, object_id, relation);
