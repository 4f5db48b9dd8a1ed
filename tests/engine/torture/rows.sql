-- Where the judge finds rows and sequence states; same form as facts.sql.

--? sequence
-- All but an extension's own, unless they are part of its configuration.
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND n.nspname !~ '^pg_temp'
   AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)));

--? table
-- What to read with COPY: tables and filled materialized views, whole trees instead of leaves where an enum is hashed,
-- and of extensions their configuration tables with the condition for rows that belong to the database.
WITH RECURSIVE hashed AS (
  SELECT p.partrelid FROM pg_partitioned_table p
   WHERE p.partstrat = 'h' AND EXISTS (SELECT FROM pg_opclass o WHERE o.oid = ANY (p.partclass) AND o.opcname = 'enum_ops')
), below AS (
  SELECT partrelid AS root, partrelid AS member FROM hashed
   WHERE NOT EXISTS (SELECT FROM pg_partition_ancestors(hashed.partrelid) a JOIN hashed h ON h.partrelid = a.relid AND a.relid <> hashed.partrelid)
   UNION ALL SELECT b.root, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.member
)
SELECT n.nspname, c.relname, c.relkind = 'p' AS whole,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname) AS columns,
       (SELECT e.extcondition[array_position(e.extconfig, c.oid)] FROM pg_extension e WHERE c.oid = ANY (e.extconfig)) AS condition
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'
   AND (c.oid IN (SELECT partrelid FROM hashed WHERE partrelid IN (SELECT root FROM below))
        OR (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated) AND c.oid NOT IN (SELECT member FROM below))
   AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)));
