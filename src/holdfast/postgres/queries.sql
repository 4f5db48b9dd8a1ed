-- Every catalog query of the source side. How the file is read: queries.py.
-- All run with an empty search_path; names are qualified all the same where a database could shadow them.

-- name: server
-- Who and where we are. The role's rights decide what can be read at all.
SELECT pg_catalog.current_setting('server_version_num')::int4 AS server_version,
       pg_catalog.current_setting('server_version') AS server_version_text,
       pg_catalog.pg_is_in_recovery() AS on_standby,
       r.rolname::text AS role,
       r.rolsuper AS superuser,
       r.rolbypassrls OR r.rolsuper AS bypass_rls,
       pg_catalog.current_setting('block_size')::int4 AS block_size,
       pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT') AS reads_large_objects,
       pg_catalog.current_setting('lo_compat_privileges')::bool AS compatible_large_objects
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = CURRENT_USER

-- name: callable
-- Which of these functions the role may call. All are for everyone in PostgreSQL, but some providers take them
-- away, and a query that so much as mentions one of them then fails.
SELECT f.signature FROM pg_catalog.unnest(%s::text[]) AS f (signature)
WHERE pg_catalog.has_function_privilege(f.signature, 'EXECUTE')

-- name: system_identifier
-- Which cluster this is: made up by initdb, and shared with its standbys.
SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() AS s

-- name: timeline_of_primary
-- The name of a WAL file begins with its timeline.
SELECT ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int4

-- name: timeline_of_standby
-- The last checkpoint's, or that of what was replayed since.
SELECT GREATEST(c.timeline_id, r.min_recovery_end_timeline)
FROM pg_catalog.pg_control_checkpoint() AS c, pg_catalog.pg_control_recovery() AS r

-- name: server_run
-- When the server was started, and when its statistics were last reset. A crash that it recovers from without a
-- new start may lose commits that were not flushed (synchronous_commit off), and gives their numbers out again; it
-- resets the statistics. Statistics reset by hand only cost a full reading.
SELECT pg_catalog.pg_postmaster_start_time()::text || ' ' || pg_catalog.pg_stat_get_bgwriter_stat_reset_time()::text

-- name: wal_of_primary
-- How far WAL was written.
SELECT pg_catalog.pg_current_wal_lsn()::text

-- name: wal_of_standby
-- How far WAL was replayed.
SELECT pg_catalog.pg_last_wal_replay_lsn()::text

-- name: database_oid
SELECT d.oid::int8 FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()

-- name: instant
-- The first statement of the transaction: it takes the snapshot, after all locks.
SELECT pg_catalog.pg_export_snapshot(),
       pg_catalog.clock_timestamp(),
       pg_catalog.pg_snapshot_xmin(s.snapshot)::text::int8,
       pg_catalog.pg_snapshot_xmax(s.snapshot)::text::int8
FROM pg_catalog.pg_current_snapshot() AS s (snapshot)

-- name: relations
-- Everything that holds rows or stands for rows, with what this role may do to it. No function in it opens a
-- relation, so it waits for no lock.
-- Members of extensions are marked; of these only configuration tables (extconfig) hold rows that CREATE
-- EXTENSION does not bring back, limited by their condition (extcondition).
WITH members AS MATERIALIZED (
    SELECT d.objid, e.extname, e.oid AS extension
    FROM pg_catalog.pg_depend AS d
    JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
      AND d.deptype = 'e'
), configured AS MATERIALIZED (
    SELECT e.oid AS extension, c.relation, c.condition
    FROM pg_catalog.pg_extension AS e,
         LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS c (relation, condition)
    WHERE e.extconfig IS NOT NULL
)
SELECT c.oid::int8 AS oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.relkind::text AS kind,
       c.relpersistence::text AS persistence,
       c.relfilenode::int8 AS filenode,
       c.reltuples::float8 AS rows_estimate,
       coalesce(a.amname = 'heap', false) AS heap,
       coalesce(a.amname::text, '') AS access_method,
       c.relispopulated AS populated,
       m.extname::text AS extension,
       k.relation IS NOT NULL AS configuration,
       coalesce(k.condition, '') AS condition,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usable,
       CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
            ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END AS readable,
       c.relrowsecurity AND pg_catalog.row_security_active(c.oid) AS filtered
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
LEFT JOIN members AS m ON m.objid = c.oid
LEFT JOIN configured AS k ON k.extension = m.extension AND k.relation = c.oid
WHERE c.relkind IN ('r', 'p', 'S', 'm', 'f')
  AND c.oid >= 16384
  AND n.nspname NOT LIKE 'pg\_toast%'
  AND (m.objid IS NULL OR k.relation IS NOT NULL)
ORDER BY n.nspname, c.relname

-- name: catalogs
-- Every system catalog, shared ones too, and whether this role may read it.
SELECT c.relname::text, pg_catalog.has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r'
ORDER BY 1

-- name: beside_catalogs
-- What pg_dump's output depends on beside the rows of catalogs: the names of roles and the options of user mappings,
-- as far as this role may see them, and the settings that a new session begins with.
SELECT (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', r.oid, r.rolname, r.rolsuper), ',' ORDER BY r.oid))
        FROM pg_catalog.pg_roles AS r),
       (SELECT pg_catalog.md5(pg_catalog.string_agg(m::text, ',' ORDER BY m.umid)) FROM pg_catalog.pg_user_mappings AS m),
       (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', s.name, s.reset_val), ',' ORDER BY s.name))
        FROM pg_catalog.pg_settings AS s WHERE s.name <> 'application_name')

-- name: locked
-- The relations on which this session holds the lock that keeps their rows in place.
SELECT l.relation::int8
FROM pg_catalog.pg_locks AS l
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
  AND l.mode = 'AccessShareLock'
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())

-- name: blockers
-- Who holds, or awaits, a lock on these relations that shuts out readers. What the others run is shown to
-- members of pg_monitor only.
SELECT l.pid, n.nspname || '.' || c.relname, a.usename::text, a.application_name, a.state,
       pg_catalog.left(pg_catalog.regexp_replace(a.query, '\s+', ' ', 'g'), 200), l.granted,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start)::float8
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
  AND l.relation = ANY (%s::oid[])
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY l.granted DESC, a.xact_start

-- name: sizes
-- Of tables that are locked: these functions open the relation, and would wait for whoever alters it.
-- The filenode is the one that the relation has now; the catalog's under the snapshot has to be the same.
SELECT o.oid::int8,
       pg_catalog.pg_relation_filenode(o.oid)::int8,
       pg_catalog.pg_relation_size(o.oid::pg_catalog.regclass),
       CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_relation_size(c.reltoastrelid::pg_catalog.regclass) ELSE 0 END
FROM pg_catalog.unnest(%s::oid[]) AS o (oid)
JOIN pg_catalog.pg_class AS c ON c.oid = o.oid

-- name: columns
-- Columns in the order of attnum; COPY lists neither dropped nor generated ones, the fingerprint has all.
SELECT a.attrelid::int8 AS relation,
       a.attnum::int4 AS attnum,
       a.attname::text AS name,
       CASE WHEN a.attisdropped THEN '' ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END AS type_name,
       a.atttypid::int8 AS type,
       a.atttypmod AS typmod,
       a.attcollation::int8 AS collation,
       a.attgenerated::text AS generated,
       a.attisdropped AS dropped,
       CASE WHEN a.atthasmissing THEN a.attmissingval::text END AS missing
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0
ORDER BY a.attrelid, a.attnum

-- name: types
-- Every type reached from these columns through domains, arrays, ranges and composites, with all that its output
-- text depends on. `points_to`: the types one step away.
WITH RECURSIVE reached (oid) AS (
    SELECT DISTINCT a.atttypid FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT next.oid
    FROM reached AS r
    JOIN pg_catalog.pg_type AS t ON t.oid = r.oid
    LEFT JOIN pg_catalog.pg_range AS g ON g.rngtypid = t.oid OR g.rngmultitypid = t.oid -- since 14
    LEFT JOIN pg_catalog.pg_range AS g ON g.rngtypid = t.oid -- until 13
    LEFT JOIN pg_catalog.pg_attribute AS a
           ON t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped,
    LATERAL (VALUES (t.typbasetype), (t.typelem), (g.rngsubtype), (a.atttypid)) AS next (oid)
    WHERE next.oid <> 0
)
SELECT t.oid::int8 AS oid,
       n.nspname::text AS schema,
       t.typname::text AS name,
       t.typtype::text AS kind,
       t.typcategory::text AS category,
       t.typbasetype::int8 AS base,
       t.typtypmod AS typmod,
       t.typelem::int8 AS element,
       t.typdelim::text AS delimiter,
       coalesce((SELECT g.rngsubtype::int8 FROM pg_catalog.pg_range AS g WHERE g.rngtypid = t.oid OR g.rngmultitypid = t.oid), 0) AS subtype, -- since 14
       coalesce((SELECT g.rngsubtype::int8 FROM pg_catalog.pg_range AS g WHERE g.rngtypid = t.oid), 0) AS subtype, -- until 13
       t.typoutput::int8 AS output,
       CASE WHEN t.typtype = 'e' THEN
           (SELECT pg_catalog.array_agg(ARRAY[l.oid::text, l.enumlabel::text] ORDER BY l.oid)
            FROM pg_catalog.pg_enum AS l WHERE l.enumtypid = t.oid) END AS labels,
       CASE WHEN t.typtype = 'c' THEN
           (SELECT pg_catalog.array_agg(ARRAY[a.attnum::text, a.attname::text, a.atttypid::text, a.atttypmod::text, a.attisdropped::text] ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0) END AS attributes,
       (SELECT e.extname || ' ' || e.extversion
        FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
FROM reached AS r
JOIN pg_catalog.pg_type AS t ON t.oid = r.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
ORDER BY t.oid

-- name: partitions
-- Every partition with its parent, and per key of the parent: its type (0 for an expression), the operator
-- class's input type, and whether its collation may sort or compare otherwise on another machine.
SELECT i.inhrelid::int8 AS child,
       i.inhparent::int8 AS parent,
       p.partstrat::text AS strategy,
       ARRAY(SELECT coalesce(a.atttypid, 0)::int8
             FROM pg_catalog.unnest(p.partattrs::int2[]) WITH ORDINALITY AS k (attnum, place)
             LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.inhparent AND a.attnum = k.attnum AND k.attnum > 0
             ORDER BY k.place) AS key_types,
       ARRAY(SELECT o.opcintype::int8
             FROM pg_catalog.unnest(p.partclass::oid[]) WITH ORDINALITY AS k (class, place)
             JOIN pg_catalog.pg_opclass AS o ON o.oid = k.class
             ORDER BY k.place) AS class_types,
       ARRAY(SELECT c.collprovider = 'b' OR c.collname IN ('C', 'POSIX') AND c.collnamespace = 'pg_catalog'::pg_catalog.regnamespace
                    OR c.oid = 100 AND (d.datlocprovider = 'b' OR d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX')) -- since 15
                    OR c.oid = 100 AND d.datcollate IN ('C', 'POSIX') -- until 14
             FROM pg_catalog.unnest(p.partcollation::oid[]) WITH ORDINALITY AS k (colloid, place)
             JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
             LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = k.colloid
             ORDER BY k.place) AS stable,
       ARRAY(SELECT coalesce(c.collisdeterministic, true)
             FROM pg_catalog.unnest(p.partcollation::oid[]) WITH ORDINALITY AS k (colloid, place)
             LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = k.colloid
             ORDER BY k.place) AS deterministic,
       ARRAY(SELECT k.colloid <> 0
             FROM pg_catalog.unnest(p.partcollation::oid[]) WITH ORDINALITY AS k (colloid, place)
             ORDER BY k.place) AS collated
FROM pg_catalog.pg_inherits AS i
JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid = i.inhparent

-- name: matview_order
-- Which materialized views read from which other ones, also through plain views in between.
WITH RECURSIVE reads (reader, read) AS (
    SELECT DISTINCT w.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite AS w
    JOIN pg_catalog.pg_class AS v ON v.oid = w.ev_class AND v.relkind IN ('m', 'v')
    JOIN pg_catalog.pg_depend AS d
      ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> w.ev_class
    JOIN pg_catalog.pg_class AS s ON s.oid = d.refobjid AND s.relkind IN ('m', 'v')
), through (reader, read) AS (
    SELECT r.reader, r.read FROM reads AS r
    UNION
    SELECT t.reader, r.read FROM through AS t JOIN reads AS r ON r.reader = t.read
)
SELECT t.reader::int8, t.read::int8
FROM through AS t
JOIN pg_catalog.pg_class AS m ON m.oid = t.reader AND m.relkind = 'm'
JOIN pg_catalog.pg_class AS s ON s.oid = t.read AND s.relkind = 'm'

-- name: sequence_data
-- Where sequences stand, in one call each; before 18 each one has to be read as a table.
SELECT o.oid::int8, s.last_value, s.is_called
FROM pg_catalog.unnest(%s::oid[]) AS o (oid),
     LATERAL pg_catalog.pg_get_sequence_data(o.oid::pg_catalog.regclass) AS s

-- name: large_objects
-- Every large object: its owner, its ACL (grantee, privilege, with grant option; the empty name is PUBLIC), its
-- comment, and whether this role may read it.
SELECT m.oid::int8 AS oid,
       pg_catalog.pg_get_userbyid(m.lomowner)::text AS owner,
       CASE WHEN m.lomacl IS NOT NULL THEN
           ARRAY(SELECT ARRAY[CASE WHEN g.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantee)::text END,
                              g.privilege_type, g.is_grantable::text]
                 FROM pg_catalog.aclexplode(m.lomacl) AS g) END AS acl,
       (SELECT d.description FROM pg_catalog.pg_description AS d
        WHERE d.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass AND d.objoid = m.oid) AS comment,
       pg_catalog.has_largeobject_privilege(m.oid, 'SELECT') AS readable -- since 18
       pg_catalog.pg_has_role(m.lomowner, 'USAGE') OR EXISTS ( -- until 17
           SELECT FROM pg_catalog.aclexplode(m.lomacl) AS g -- until 17
           WHERE g.privilege_type = 'SELECT' AND (g.grantee = 0 OR pg_catalog.pg_has_role(g.grantee, 'USAGE'))) AS readable -- until 17
FROM pg_catalog.pg_largeobject_metadata AS m
ORDER BY m.oid

-- name: database
-- How to create a database like this one, and its ACL beside the default one.
SELECT d.datname::text AS name,
       pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
       'c' AS provider, -- until 14
       d.datlocprovider::text AS provider, -- since 15
       d.datcollate::text AS collate,
       d.datctype::text AS ctype,
       NULL AS locale, -- until 14
       CASE d.datlocprovider WHEN 'i' THEN d.daticulocale END AS locale, -- since 15 -- until 16
       d.datlocale AS locale, -- since 17
       NULL AS icu_rules, -- until 15
       d.daticurules AS icu_rules, -- since 16
       d.datconnlimit AS connection_limit,
       CASE WHEN d.datacl IS NOT NULL THEN
           ARRAY(SELECT ARRAY[CASE WHEN g.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantee)::text END,
                              g.privilege_type, g.is_grantable::text]
                 FROM pg_catalog.aclexplode(d.datacl) AS g) END AS acl,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
FROM pg_catalog.pg_database AS d
WHERE d.datname = pg_catalog.current_database()

-- name: settings
-- Settings that hold for this database, for roles, and for roles in this database; empty names mean "all".
SELECT coalesce(d.datname::text, '') AS database,
       coalesce(r.rolname::text, '') AS role,
       s.setconfig
FROM pg_catalog.pg_db_role_setting AS s
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
WHERE (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())
  AND (s.setrole = 0 OR r.oid IS NOT NULL)
  AND (s.setdatabase <> 0 OR s.setrole <> 0)
ORDER BY 1, 2

-- name: shared_labels
-- Security labels of this database and of roles.
SELECT CASE WHEN d.oid IS NOT NULL THEN 'DATABASE' ELSE 'ROLE' END,
       coalesce(d.datname::text, r.rolname::text), l.provider, l.label
FROM pg_catalog.pg_shseclabel AS l
LEFT JOIN pg_catalog.pg_database AS d
  ON l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.oid = l.objoid AND d.datname = pg_catalog.current_database()
LEFT JOIN pg_catalog.pg_roles AS r ON l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.oid = l.objoid
WHERE coalesce(d.datname, r.rolname) IS NOT NULL
ORDER BY 1, 2, 3

-- name: roles
-- Every role but PostgreSQL's own (the prefix pg_ is reserved for them). pg_roles is open to everyone.
SELECT r.rolname::text AS name, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
       r.rolreplication, r.rolbypassrls, r.rolconnlimit,
       CASE WHEN r.rolvaliduntil IS NOT NULL THEN r.rolvaliduntil::text END AS valid_until,
       pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment
FROM pg_catalog.pg_roles AS r
WHERE r.rolname NOT LIKE 'pg\_%%'
ORDER BY r.rolname

-- name: passwords
-- Which roles have a password at all; for those who may read pg_authid.
SELECT a.rolname::text FROM pg_catalog.pg_authid AS a WHERE a.rolpassword IS NOT NULL

-- name: memberships
-- Who is a member of what, but for what PostgreSQL's own roles are.
SELECT pg_catalog.pg_get_userbyid(m.roleid)::text AS role,
       pg_catalog.pg_get_userbyid(m.member)::text AS member,
       (SELECT g.rolname::text FROM pg_catalog.pg_roles AS g WHERE g.oid = m.grantor) AS grantor,
       m.admin_option,
       NULL::bool AS inherit_option, NULL::bool AS set_option -- until 15
       m.inherit_option, m.set_option -- since 16
FROM pg_catalog.pg_auth_members AS m
WHERE pg_catalog.pg_get_userbyid(m.member) NOT LIKE 'pg\_%%'
ORDER BY 1, 2, 3

-- name: subscriptions
-- Subscriptions of this database. Their connection strings are for superusers, so pg_dump skips them for others.
SELECT s.subname::text FROM pg_catalog.pg_subscription AS s
WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
ORDER BY 1

-- name: hidden_user_mappings
-- User mappings whose options (passwords, mostly) are not shown to this role: see the view pg_user_mappings.
SELECT m.srvname::text, CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE m.usename::text END
FROM pg_catalog.pg_user_mappings AS m
JOIN pg_catalog.pg_foreign_server AS s ON s.oid = m.srvid
WHERE m.umoptions IS NULL
  AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = CURRENT_USER)
  AND NOT CASE WHEN m.umuser = 0 THEN pg_catalog.pg_has_role(s.srvowner, 'USAGE')
               ELSE m.usename = CURRENT_USER
                AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') OR pg_catalog.has_server_privilege(s.oid, 'USAGE')) END
ORDER BY 1, 2
