create table if not exists `{prefix}fga_sync_schema` (
    version    bigint not null comment 'of the tables',
    applied_at datetime(6) not null comment 'when they got it (UTC)',
    primary key (version)
) engine = InnoDB, row_format = dynamic, default character set utf8mb4
  collate /*!80017 utf8mb4_0900_bin */ /*M!100203 utf8mb4_nopad_bin */
  comment = 'The version of these tables: for fga-sync alone';
