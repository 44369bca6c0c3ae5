-- Of a store and an object type, or '' for all. In the changelog, the first type from there on is one look into an index,
-- however many rows there are, and whichever of them are missing. Tuples of other stores are read through: an index that
-- spares that, once for each new checkpoint, would be paid for with every page.
select exists (
           select from (select object_type as first from {schema}.fga_changelog
                        where store_id = $1 and object_type >= $2 order by object_type limit 1) c
           where $2 in ('', first))
    or exists (select from {schema}.fga_tuples where store_id = $1 and $2 in ('', object_type))
