-- The changes after the watermark. Each run reads them again, recognises them, and finds what came late between them.
create table if not exists `{prefix}fga_sync_overlap` (
    name          varchar(255) not null comment 'the job, or the store id',
    commit_number bigint not null comment 'of the commit that stored them',
    token         longtext not null comment 'the continuation token after the page of that commit',
    seen_at       datetime(6) not null comment 'when that position was first read (UTC)',
    settled       boolean not null comment 'whether nothing can come late before that position any more',
    changes       longblob not null comment 'a digest of each change',
    primary key (name, commit_number)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */
  comment = 'What the next run reads again, to find changes that came late: for fga-sync alone';
