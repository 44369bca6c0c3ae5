-- The primary key answers: who can reach this object?
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
    primary key (store_id, object_type, object_id, relation, user_type, user_id, user_relation)
);
-- What can this user reach? All the columns of the primary key, so that it answers from the index alone; and a
-- planner without statistics, which takes this index for a lookup by key, still finds one row, not all of the user's.
create index if not exists fga_tuples_by_user
    on {schema}.fga_tuples (store_id, user_type, user_id, user_relation, object_type, relation, object_id);
