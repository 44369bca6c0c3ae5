create table tuples (
    object_type     text not null,
    object_id       text not null,
    relation        text not null,
    user_type       text not null,
    user_id         text not null,
    user_relation   text not null,
    source          blob,                         -- the digest of the tuple's condition in the store
    source_time     integer,                      -- in microseconds, as all times
    is_old          integer not null default 0,   -- whether it may have been written before the log was begun
    kept            blob,                         -- of the row in fga_tuples
    kept_time       integer,
    adds            integer not null default 0,   -- of the changelog, as all that follows
    deletes         integer not null default 0,
    first_time      integer,
    first_is_delete integer not null default 0,
    last_time       integer,
    logged          blob,                         -- of the last add
    changed         integer not null default 0,   -- whether the feed names it
    primary key (object_type, object_id, relation, user_type, user_id, user_relation)
) strict, without rowid;

create table differences (
    object_type      text not null,
    object_id        text not null,
    relation         text not null,
    user_type        text not null,
    user_id          text not null,
    user_relation    text not null,
    of_changelog     integer not null,
    kind             text not null,
    confirmed        integer not null,
    source_time      text,
    source_condition text,
    source_context   text,
    mirror_time      text,
    mirror_condition text,
    mirror_context   text,
    adds             integer,
    deletes          integer,
    repaired         integer not null,
    primary key (object_type, object_id, relation, user_type, user_id, user_relation, of_changelog)
) strict, without rowid;
