create table if not exists `{prefix}fga_sync_state` (
    name             varchar(255) not null comment 'the job, or the store id',
    source           varchar(2048) not null comment 'where the log is read',
    store_id         varchar(64) not null comment 'the OpenFGA store',
    store_name       varchar(512) comment 'its name when the last run began',
    store_created_at varchar(64) comment 'when the store was created, as the server says it',
    type_filter      varchar(254) not null comment 'the object type that is mirrored, empty for all',
    mode             varchar(9) not null comment 'changelog, stateful or both' check (mode in ('changelog', 'stateful', 'both')),
    target_store_id  varchar(64) comment 'the OpenFGA store that the tuples go to, null where they stay in these tables',
    target_store_created_at varchar(64) comment 'when that store was created, as its server says it',
    start_time       datetime(6) comment 'where the log began to be read, null at its start',
    seed_token       longtext comment 'where the scan of a seed that is under way goes on, empty at its start, or null',
    seeded_at        datetime(6) comment 'when a seed had read the tuples of the store: the changelog begins at start_time (UTC)',
    token            longtext comment 'the continuation token after the last applied page',
    watermark        longtext comment 'what stands before this token is complete: the next run begins here',
    position_time    datetime(6) comment 'the timestamp of the last applied change (UTC)',
    complete_as_of   datetime(6) comment 'what was written to the source before is in the mirror (UTC), null until an end was proven',
    page_size        bigint comment 'changes in a page that the server last took after it refused more, or null',
    fence            bigint not null comment 'grows with each run: a run with an older one can commit nothing',
    commits          bigint not null comment 'the number of the last commit, of all runs',
    announced        longblob comment 'digests of tuples that are being written to that store, null where none are',
    run_id           varchar(26) comment 'the run that took it last',
    updated_at       datetime(6) not null comment 'when this row was last written (UTC)',
    primary key (name)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */
  comment = 'How far each mirror is: one row for each job, or store';
