-- The primary key answers: who can reach this object? The store comes last, so a question may name it or not.
create table if not exists "{prefix}fga_tuples" (
    store_id          text not null,
    object_type       text not null,
    object_id         text not null,
    relation          text not null,
    user_type         text not null, -- '' for a bare user of an old log
    user_id           text not null, -- '*' for everyone of the type
    user_relation     text not null, -- '' for a plain user
    condition_name    text,
    condition_context text,          -- JSON, as the server sent it
    timestamp         text not null, -- RFC 3339, UTC, nanoseconds: the clock of the server's database
    primary key (object_type, object_id, relation, user_type, user_id, user_relation, store_id)
) strict, without rowid;
-- What can this user reach? The store comes last, so a question may name it or not.
create index if not exists "{prefix}fga_tuples_by_user"
    on "{prefix}fga_tuples" (user_type, user_id, store_id);
