create table if not exists `{prefix}fga_sync_runs` (
    run_id          varchar(26) not null comment 'a ULID: sorts by time',
    name            varchar(255) not null comment 'the job, or the store id',
    command         varchar(32) not null comment 'what was asked for: run, seed',
    version         varchar(64) not null comment 'of fga-sync',
    host            varchar(255) comment 'where it ran, null where that has no name',
    pid             bigint not null comment 'its process there',
    started_at      datetime(6) not null comment 'when it began (UTC)',
    finished_at     datetime(6) comment 'when it ended (UTC), null while it runs and after a crash',
    outcome         varchar(64) comment 'how it ended, in one word: drained where the end of the log was reached',
    exit_code       bigint comment 'what the scheduler got',
    error_kind      varchar(64) comment 'of a run that failed: what kind of failure',
    error_message   varchar(2000) comment 'of a run that failed: what happened',
    pages           bigint not null comment 'pages of changes that were committed',
    changes         bigint not null comment 'changes that were committed, or tuples of a seed',
    writes          bigint not null comment 'of the changes, those that wrote a tuple',
    deletes         bigint not null comment 'of the changes, those that deleted a tuple',
    late_arrivals   bigint not null comment 'of the changes, those that stand in the log before others that were read earlier',
    order_anomalies bigint not null comment 'tuples whose changes contradicted each other',
    rejects         bigint not null comment 'further changes that the target can not hold, which were set aside',
    primary key (run_id),
    -- Old runs of a name are found without reading all runs.
    index by_name (name, run_id)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */
  comment = 'One row for each run of fga-sync';
