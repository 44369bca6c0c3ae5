-- A tuple's parts are wider than a key may be, so the primary key is a hash of them. To compute it again, put
-- each part's length in bytes before it, as four bytes:
--   unhex(sha2(concat(
--       unhex(lpad(hex(length(store_id)), 8, '0')), cast(store_id as binary),
--       and so on for object_type, object_id, relation, user_type, user_id, user_relation), 256))
create table if not exists `{prefix}fga_tuples` (
    tuple_hash        binary(32) not null comment 'SHA-256 of the seven columns from store_id to user_relation',
    store_id          varchar(64) not null comment 'the OpenFGA store',
    object_type       varchar(254) not null comment 'document in document:roadmap',
    object_id         varchar(256) not null comment 'roadmap in document:roadmap',
    relation          varchar(50) not null comment 'what the user has to the object, such as viewer',
    user_type         varchar(254) not null comment 'user in user:anne, empty for a bare user of an old log',
    user_id           varchar(512) not null comment 'anne in user:anne, * for everyone of the type',
    user_relation     varchar(254) not null comment 'member in group:staff#member, empty for a plain user',
    condition_name    varchar(256) comment 'the condition under which the tuple holds, or null',
    condition_context longtext comment 'what the condition was given, JSON as the server sent it',
    timestamp         datetime(6) not null comment 'when it was last written (UTC, rounded down to microseconds), by the clock of the OpenFGA database',
    primary key (tuple_hash),
    -- Who can reach this object? The store comes last, so a question may name it or not.
    index by_object (object_type, object_id, store_id),
    -- What can this user reach? A key may have 768 characters, so the id is cut.
    index by_user (user_type, user_id(400), store_id),
    -- Are there rows of this store, or of a type in it?
    index by_store (store_id, object_type)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */
  comment = 'The tuples that exist now: direct grants, without what the model computes from them';
