-- The primary key answers: who can reach this object? The store comes last, so a question may name it or not.
create table if not exists "{prefix}fga_tuples" ( -- The tuples that exist now: direct grants, without what the model computes from them
    store_id          text not null, -- the OpenFGA store
    object_type       text not null, -- document in document:roadmap
    object_id         text not null, -- roadmap in document:roadmap
    relation          text not null, -- what the user has to the object, such as viewer
    user_type         text not null, -- user in user:anne, empty for a bare user of an old log
    user_id           text not null, -- anne in user:anne, * for everyone of the type
    user_relation     text not null, -- member in group:staff#member, empty for a plain user
    condition_name    text,          -- the condition under which the tuple holds, or null
    condition_context text,          -- what the condition was given, JSON as the server sent it
    timestamp         text not null, -- when it was last written (RFC 3339, UTC, nanoseconds), by the clock of the OpenFGA database
    primary key (object_type, object_id, relation, user_type, user_id, user_relation, store_id)
) strict, without rowid;
-- What can this user reach? The store comes last, so a question may name it or not.
create index if not exists "{prefix}fga_tuples_by_user"
    on "{prefix}fga_tuples" (user_type, user_id, store_id);
