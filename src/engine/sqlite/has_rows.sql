-- ?1 the store, ?2 the object type, or '' for all. The first type from there on is one look into an index, however
-- many rows there are, and whichever of them are missing.
select exists (
           select 1 from (select object_type as first from "{prefix}fga_tuples"
                          where store_id = ?1 and object_type >= ?2 order by object_type limit 1)
           where ?2 in ('', first))
    or exists (
           select 1 from (select object_type as first from "{prefix}fga_changelog"
                          where store_id || '' = ?1 and object_type >= ?2 order by object_type limit 1)
           where ?2 in ('', first))
