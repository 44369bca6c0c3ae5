-- The store, the object type twice, or '' for all; and all of it again. The first type from there on is one look into
-- an index, however many rows there are, and whichever of them are missing.
select exists (
           select 1 from (select min(object_type) as first from `{prefix}fga_tuples`
                          where store_id = ? and object_type >= ?) as t
           where first = coalesce(nullif(?, ''), first))
    or exists (
           select 1 from (select min(object_type) as first from `{prefix}fga_changelog`
                          where store_id = ? and object_type >= ?) as c
           where first = coalesce(nullif(?, ''), first))
