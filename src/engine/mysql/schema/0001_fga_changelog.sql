-- The collation compares byte by byte and keeps trailing spaces; it has one name on MySQL and another on MariaDB.
create table if not exists `{prefix}fga_changelog` (
    id                bigint not null auto_increment comment 'grows in the order of the log, a change that came late has a later one',
    store_id          varchar(64) not null comment 'the OpenFGA store',
    change_type       varchar(6) not null comment 'add or delete' check (change_type in ('add', 'delete')),
    object_type       varchar(254) not null comment 'document in document:roadmap',
    object_id         varchar(256) not null comment 'roadmap in document:roadmap',
    relation          varchar(50) not null comment 'what the user has to the object, such as viewer',
    user_type         varchar(254) not null comment 'user in user:anne, empty for a bare user of an old log',
    user_id           varchar(512) not null comment 'anne in user:anne, * for everyone of the type',
    user_relation     varchar(254) not null comment 'member in group:staff#member, empty for a plain user',
    condition_name    varchar(256) comment 'the condition under which the tuple holds, or null',
    condition_context longtext comment 'what the condition was given, JSON as the server sent it',
    timestamp         datetime(6) not null comment 'when it happened (UTC, rounded down to microseconds), by the clock of the OpenFGA database',
    raw_event         longtext not null comment 'JSON, exactly as the server sent it',
    recorded_at       datetime(6) not null comment 'when fga-sync wrote this row (UTC)',
    run_id            varchar(26) not null comment 'the run that wrote this row, in fga_sync_runs',
    primary key (id),
    -- What happened to this object? The store comes last, so a question may name it or not.
    index by_object (object_type, object_id, store_id),
    -- Everything about this user. A key may have 768 characters, so the id is cut where no server's ids reach.
    index by_user (user_type, user_id(400), store_id),
    -- What happened between two times?
    index by_time (timestamp),
    -- Are there rows of this store, or of a type in it?
    index by_store (store_id, object_type)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */
  comment = 'Every change of the stores, as in the log: what was granted and what was removed';
