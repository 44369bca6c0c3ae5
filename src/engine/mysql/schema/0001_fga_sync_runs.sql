create table if not exists `{prefix}fga_sync_runs` (
    run_id          varchar(26) not null, -- a ULID: sorts by time
    name            varchar(255) not null,
    version         varchar(64) not null, -- of fga-sync
    host            varchar(255),         -- of the process; null where it has no name
    pid             bigint not null,      -- its id there
    started_at      datetime(6) not null, -- UTC
    finished_at     datetime(6),          -- UTC; null while it runs, and after a crash
    outcome         varchar(64),
    exit_code       bigint,
    error_kind      varchar(64),          -- of a run that failed
    error_message   varchar(2000),
    pages           bigint not null,
    changes         bigint not null,
    writes          bigint not null,
    deletes         bigint not null,
    late_arrivals   bigint not null, -- of the changes, those that stand in the log before others that were read earlier
    order_anomalies bigint not null, -- tuples whose changes contradicted each other
    primary key (run_id),
    -- Old runs of a name are found without reading all runs.
    index by_name (name, run_id)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */;
