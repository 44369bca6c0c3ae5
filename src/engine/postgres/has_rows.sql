-- Of a store and an object type, or '' for all. The first type from there on is one look into an index, however
-- many rows there are, and whichever of them are missing.
select exists (
           select from (select object_type as first from {schema}.fga_tuples
                        where store_id = $1 and object_type >= $2 order by object_type limit 1) t
           where $2 in ('', first))
    or exists (
           select from (select object_type as first from {schema}.fga_changelog
                        where store_id = $1 and object_type >= $2 order by object_type limit 1) c
           where $2 in ('', first))
