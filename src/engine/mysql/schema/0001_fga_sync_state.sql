create table if not exists `{prefix}fga_sync_state` (
    name             varchar(255) not null, -- the job, or the store id
    source           varchar(2048) not null,
    store_id         varchar(64) not null,
    store_name       varchar(512),
    store_created_at varchar(64),
    type_filter      varchar(254) not null, -- '' for all types
    mode             varchar(9) not null check (mode in ('changelog', 'stateful', 'both')),
    start_time       datetime(6),           -- where the log began to be read; null at its start
    token            longtext,              -- the continuation token after the last applied page
    watermark        longtext,              -- what stands before it is complete: the next run begins here
    position_time    datetime(6),           -- UTC: the timestamp of the last change of that page
    complete_as_of   datetime(6),           -- UTC: what was written to the source before is in the mirror; null until an end was proven
    page_size        bigint,                -- changes in a page that the server last took after it refused more; or null
    fence            bigint not null,       -- grows with each run; a run with an older one can commit nothing
    commits          bigint not null,       -- of all runs: each commit is the next one
    run_id           varchar(26),           -- the run that took it last
    updated_at       datetime(6) not null,  -- UTC
    primary key (name)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */;
