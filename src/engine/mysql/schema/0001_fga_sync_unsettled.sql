-- Pages that were read too recently to be complete. They are read again, and their changes recognised.
create table if not exists `{prefix}fga_sync_unsettled` (
    name    varchar(255) not null,
    pass    bigint not null,      -- the fence of the run that read the page
    place   bigint not null,      -- among the pages of that run
    seen_at datetime(6) not null, -- UTC
    changes longblob not null,    -- a digest of each change, in order
    primary key (name, pass, place)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */;
