-- name: target_facts
-- Where a restore is about to happen: what kind of server, and who we are on it.
SELECT current_setting('server_version_num')::int AS server_version,
       pg_catalog.pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only')::bool AS read_only,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS collate,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) AS shared_buffers,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')) AS maintenance_work_mem,
       pg_catalog.current_setting('max_parallel_maintenance_workers')::int AS parallel_maintenance_workers
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()

-- name: target_marker
-- The mark that an unfinished restore leaves; no row if there is none.
SELECT pg_catalog.to_regclass('holdfast_incomplete.restore') IS NOT NULL

-- name: target_contents
-- Everything that someone made in this database: what initdb made has an oid below 16384, and what an extension
-- made counts as the extension. Tables come first, for they are what people look for.
WITH members AS (
    SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), things (rank, class, oid, kind, schema, name) AS (
    SELECT CASE WHEN c.relkind IN ('r', 'p') THEN 0 ELSE 1 END, 'pg_catalog.pg_class'::regclass, c.oid,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
                ELSE 'composite type' END, n.nspname, c.relname
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
       AND NOT pg_catalog.pg_is_other_temp_schema(n.oid) AND n.oid <> pg_catalog.pg_my_temp_schema()
    UNION ALL
    SELECT 2, 'pg_catalog.pg_proc'::regclass, p.oid, 'function', n.nspname, p.proname
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    UNION ALL
    SELECT 2, 'pg_catalog.pg_type'::regclass, t.oid, 'type', n.nspname, t.typname
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
     WHERE t.typrelid = 0 AND t.typcategory <> 'A' AND t.typtype <> 'm'
    UNION ALL
    SELECT 3, 'pg_catalog.pg_namespace'::regclass, n.oid, 'schema', n.nspname, n.nspname
      FROM pg_catalog.pg_namespace n
     WHERE n.nspname <> 'public' AND n.nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT 3, 'pg_catalog.pg_extension'::regclass, e.oid, 'extension', n.nspname, e.extname
      FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
     WHERE e.extname <> 'plpgsql'
    UNION ALL
    SELECT 4, 'pg_catalog.pg_operator'::regclass, o.oid, 'operator', n.nspname, o.oprname
      FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_opfamily'::regclass, o.oid, 'operator family', n.nspname, o.opfname
      FROM pg_catalog.pg_opfamily o JOIN pg_catalog.pg_namespace n ON n.oid = o.opfnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_collation'::regclass, c.oid, 'collation', n.nspname, c.collname
      FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_conversion'::regclass, c.oid, 'conversion', n.nspname, c.conname
      FROM pg_catalog.pg_conversion c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_ts_config'::regclass, c.oid, 'text search configuration', n.nspname, c.cfgname
      FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_ts_dict'::regclass, d.oid, 'text search dictionary', n.nspname, d.dictname
      FROM pg_catalog.pg_ts_dict d JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_ts_parser'::regclass, p.oid, 'text search parser', n.nspname, p.prsname
      FROM pg_catalog.pg_ts_parser p JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_ts_template'::regclass, t.oid, 'text search template', n.nspname, t.tmplname
      FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
    UNION ALL
    SELECT 4, 'pg_catalog.pg_cast'::regclass, c.oid, 'cast', 'pg_catalog',
           pg_catalog.format_type(c.castsource, NULL) || ' to ' || pg_catalog.format_type(c.casttarget, NULL)
      FROM pg_catalog.pg_cast c
    UNION ALL
    SELECT 4, 'pg_catalog.pg_am'::regclass, a.oid, 'access method', 'pg_catalog', a.amname
      FROM pg_catalog.pg_am a
    UNION ALL
    SELECT 4, 'pg_catalog.pg_language'::regclass, l.oid, 'language', 'pg_catalog', l.lanname
      FROM pg_catalog.pg_language l
    UNION ALL
    SELECT 4, 'pg_catalog.pg_event_trigger'::regclass, e.oid, 'event trigger', 'pg_catalog', e.evtname
      FROM pg_catalog.pg_event_trigger e
    UNION ALL
    SELECT 4, 'pg_catalog.pg_publication'::regclass, p.oid, 'publication', 'pg_catalog', p.pubname
      FROM pg_catalog.pg_publication p
    UNION ALL
    SELECT 4, 'pg_catalog.pg_subscription'::regclass, s.oid, 'subscription', 'pg_catalog', s.subname
      FROM pg_catalog.pg_subscription s
     WHERE s.subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    UNION ALL
    SELECT 4, 'pg_catalog.pg_foreign_data_wrapper'::regclass, f.oid, 'foreign data wrapper', 'pg_catalog',
           f.fdwname
      FROM pg_catalog.pg_foreign_data_wrapper f
    UNION ALL
    SELECT 4, 'pg_catalog.pg_foreign_server'::regclass, s.oid, 'foreign server', 'pg_catalog', s.srvname
      FROM pg_catalog.pg_foreign_server s
    UNION ALL
    SELECT 4, 'pg_catalog.pg_largeobject'::regclass, 16384, 'large object', 'pg_catalog', l.oid::text
      FROM pg_catalog.pg_largeobject_metadata l
)
SELECT t.kind, t.schema, t.name
  FROM things t
 WHERE t.oid >= 16384
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = t.class AND m.objid = t.oid)
 ORDER BY t.rank, t.kind, t.schema, t.name

-- name: target_available
-- Of what the definitions need: which extensions this server's host has, and which tablespaces it has.
SELECT 'extension', name::text FROM pg_catalog.pg_available_extensions
UNION ALL
SELECT 'tablespace', spcname::text FROM pg_catalog.pg_tablespace

-- name: target_tables
-- The tables that rows are to be loaded into, as they are on the target. $1: schemas, $2: names, side by side.
SELECT w.schema, w.name, c.relkind::text, c.oid,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
           AS columns,
       ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger t
              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')) AS stubborn_triggers,
       ARRAY(SELECT t.tgname::text FROM pg_catalog.pg_trigger t
              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'O')) AS triggers
  FROM ROWS FROM (unnest(%s::text[]), unnest(%s::text[])) AS w (schema, name)
  LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)
         ON n.nspname = w.schema AND c.relname = w.name

-- name: target_references
-- Which of these tables refer to which other ones of them. $1: oids.
SELECT c.conrelid::int8, c.confrelid::int8
  FROM pg_catalog.pg_constraint c
 WHERE c.contype = 'f' AND c.conrelid <> c.confrelid
   AND c.conrelid = ANY(%s::oid[]) AND c.confrelid = ANY(%s::oid[])

-- name: target_foreign_keys
-- For each valid foreign key of these tables: a query that is true if some row breaks it. Keys that a partitioned
-- table's key has on each referenced partition are part of that one. $1: oids.
SELECT c.conrelid::regclass::text, c.conname::text,
       format('SELECT EXISTS (SELECT FROM ONLY %%s AS f WHERE %%s AND NOT EXISTS (SELECT FROM %%s AS p WHERE %%s))',
              c.conrelid::regclass,
              string_agg(format('f.%%I IS NOT NULL', fa.attname), ' AND '),
              c.confrelid::regclass,
              string_agg(format('p.%%I OPERATOR(%%I.%%s) f.%%I', pa.attname, n.nspname, o.oprname, fa.attname),
                         ' AND '))
  FROM pg_catalog.pg_constraint c
  CROSS JOIN LATERAL ROWS FROM (unnest(c.conkey), unnest(c.confkey), unnest(c.conpfeqop)) AS k (f, p, op)
  JOIN pg_catalog.pg_attribute fa ON fa.attrelid = c.conrelid AND fa.attnum = k.f
  JOIN pg_catalog.pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = k.p
  JOIN pg_catalog.pg_operator o ON o.oid = k.op
  JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
 WHERE c.contype = 'f' AND c.convalidated AND c.conrelid = ANY(%s::oid[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint up
                    WHERE up.oid = c.conparentid AND up.conrelid = c.conrelid)
 GROUP BY c.oid, c.conrelid, c.conname, c.confrelid
 ORDER BY 1, 2

-- name: target_owned_sequences
-- The sequences that belong to columns of these tables. $1: oids.
SELECT n.nspname::text, s.relname::text
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
   AND d.deptype IN ('a', 'i') AND d.refobjid = ANY(%s::oid[])

-- name: target_hindrances
-- What could keep a database from being dropped. $1: its name.
SELECT pg_catalog.pg_has_role(d.datdba, 'USAGE') AS owned,
       d.datistemplate AS template,
       pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       ARRAY(SELECT s.subname::text FROM pg_catalog.pg_subscription s WHERE s.subdbid = d.oid) AS subscriptions,
       ARRAY(SELECT r.slot_name::text FROM pg_catalog.pg_replication_slots r
              WHERE r.database = d.datname AND r.active) AS slots
  FROM pg_catalog.pg_database d
 WHERE d.datname = %s
