-- The changes after the watermark. Each run reads them again, recognises them, and finds what came late between them.
create table if not exists `{prefix}fga_sync_overlap` (
    name          varchar(255) not null,
    commit_number bigint not null,      -- of the commit that stored them
    token         longtext not null,    -- the continuation token after the page of that commit
    seen_at       datetime(6) not null, -- UTC: when that position was first read
    settled       boolean not null,     -- whether nothing can come late before that position any more
    changes       longblob not null,    -- a digest of each change
    primary key (name, commit_number)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */;
