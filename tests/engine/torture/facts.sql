-- What the judge reads from the catalogs, apart from rows and from pg_dump's text. Every query is preceded by a line
-- `--? name`; its first column names the object, the others are compared. The session has an empty search_path,
-- so names come out qualified. A column that only some versions have is fetched through to_jsonb.
-- Rights are compared as a sorted set, with what NULL stands for spelt out.

--? relation
SELECT format('%I.%I', n.nspname, c.relname) AS key, c.relkind, c.relpersistence, am.amname, pg_get_userbyid(c.relowner) AS owner,
       c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated, c.relispartition,
       (SELECT string_agg(o, ' ' ORDER BY o) FROM unnest(c.reloptions) o) AS options,
       pg_get_partkeydef(c.oid) AS partition_key, pg_get_expr(c.relpartbound, c.oid) AS bound
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
 WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'
   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = c.oid AND c.relkind = 'i' AND NOT i.indisvalid)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');

--? column
SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname) AS key, format_type(a.atttypid, a.atttypmod) AS type, a.attstorage, a.attcompression,
       a.attgenerated, a.attidentity, a.attnotnull, nullif(coalesce(a.attstattarget, -1), -1) AS statistics, co.collname, a.attoptions, a.attfdwoptions,
       a.attislocal, a.attinhcount
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_collation co ON co.oid = a.attcollation
 WHERE c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'm', 'v', 'c') AND n.nspname !~ '^pg_(toast|temp)'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');

--? index
SELECT format('%I.%I', n.nspname, c.relname) AS key, i.indisunique, i.indisprimary, i.indisexclusion, i.indisclustered, i.indisreplident, i.indimmediate,
       i.indnullsnotdistinct, i.indnkeyatts, i.indnatts, i.indoption::text, parent.inhparent::regclass AS attached_to, c.relkind
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits parent ON parent.inhrelid = c.oid
 WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)' AND (i.indisvalid OR c.relkind = 'I')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indrelid AND d.deptype = 'e');

--? constraint
-- Since version 18 every NOT NULL is a constraint; the column query compares those.
SELECT format('%s %I on %s', k.contype, k.conname, coalesce(nullif(k.conrelid, 0)::regclass::text, k.contypid::regtype::text)) AS key,
       k.condeferrable, k.condeferred, k.convalidated, k.contype = 'c' AND k.connoinherit AS no_inherit, k.confupdtype, k.confdeltype, k.confmatchtype, nullif(k.confrelid, 0)::regclass AS target,
       ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u (num, place) LEFT JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place)::text AS columns,
       ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u (num, place) LEFT JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place)::text AS target_columns,
       ARRAY(SELECT a.attname FROM unnest(k.confdelsetcols) WITH ORDINALITY u (num, place) LEFT JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place)::text AS set_columns,
       coalesce(to_jsonb(k) ->> 'conenforced', 'true') AS enforced, coalesce(to_jsonb(k) ->> 'conperiod', 'false') AS period
  FROM pg_constraint k
 WHERE k.oid >= 16384 AND k.contype <> 'n'
   -- What the server adds for each partition of a referenced table is named differently in every major.
   AND NOT EXISTS (SELECT FROM pg_constraint parent WHERE parent.oid = k.conparentid AND parent.conrelid = k.conrelid)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.deptype = 'e' AND (d.classid, d.objid) IN (('pg_class'::regclass, k.conrelid), ('pg_type'::regclass, k.contypid)));

--? trigger
SELECT format('%I on %s', t.tgname, t.tgrelid::regclass) AS key, t.tgenabled, t.tgtype, t.tgfoid::regprocedure AS function, t.tgdeferrable, t.tginitdeferred, encode(t.tgargs, 'hex') AS arguments, ARRAY(SELECT a.attname FROM unnest(t.tgattr::int2[]) WITH ORDINALITY u (num, place) LEFT JOIN pg_attribute a ON a.attrelid = t.tgrelid AND a.attnum = u.num ORDER BY u.place)::text AS columns
  FROM pg_trigger t WHERE NOT t.tgisinternal
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = t.tgrelid AND d.deptype = 'e');

--? event trigger
SELECT e.evtname AS key, e.evtevent, e.evtenabled, e.evtfoid::regprocedure AS function, pg_get_userbyid(e.evtowner) AS owner, e.evttags FROM pg_event_trigger e;

--? rule
SELECT format('%I on %s', r.rulename, r.ev_class::regclass) AS key, r.ev_type, r.ev_enabled, r.is_instead FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE r.oid >= 16384 AND n.nspname !~ '^pg_temp' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.ev_class AND d.deptype = 'e');

--? policy
SELECT format('%I on %s', p.polname, p.polrelid::regclass) AS key, p.polcmd, p.polpermissive,
       ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END FROM unnest(p.polroles) r ORDER BY 1)::text AS roles
  FROM pg_policy p;

--? statistics
SELECT format('%I.%I', n.nspname, s.stxname) AS key, s.stxrelid::regclass AS "table", s.stxkind::text, nullif(coalesce(s.stxstattarget, -1), -1) AS target, pg_get_userbyid(s.stxowner) AS owner, ARRAY(SELECT a.attname FROM unnest(s.stxkeys::int2[]) WITH ORDINALITY u (num, place) LEFT JOIN pg_attribute a ON a.attrelid = s.stxrelid AND a.attnum = u.num ORDER BY u.place)::text AS columns
  FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace;

--? enum label
SELECT e.enumtypid::regtype::text AS key, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) AS labels FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname !~ '^pg_temp' GROUP BY e.enumtypid;

--? inheritance
SELECT i.inhrelid::regclass::text AS key, string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) AS parents FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f') GROUP BY i.inhrelid;

--? function
SELECT p.oid::regprocedure::text AS key, p.prokind, l.lanname, pg_get_userbyid(p.proowner) AS owner, p.provolatile, p.proleakproof, p.proisstrict, p.prosecdef, p.proretset, p.proparallel, p.procost, p.prorows, p.proconfig,
       CASE WHEN p.prosqlbody IS NULL THEN p.prosrc END AS source
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');

--? other object
-- One line for every object of the kinds that have no query of their own, by the server's own naming of it
-- (whose words for transforms changed in 16).
SELECT o.type || ' ' || replace(o.identity, ' on language ', ' language ') AS key
  FROM (SELECT 'pg_type'::regclass AS class, oid FROM pg_type WHERE typrelid = 0 AND NOT (typelem <> 0 AND typcategory = 'A') UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
        UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
        UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
        UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language
        UNION ALL SELECT 'pg_transform'::regclass, oid FROM pg_transform UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
        UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am
        UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
        UNION ALL SELECT 'pg_user_mapping'::regclass, oid FROM pg_user_mapping UNION ALL SELECT 'pg_publication'::regclass, oid FROM pg_publication
        UNION ALL SELECT 'pg_publication_rel'::regclass, oid FROM pg_publication_rel UNION ALL SELECT 'pg_publication_namespace'::regclass, oid FROM pg_publication_namespace
        UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)' UNION ALL SELECT 'pg_default_acl'::regclass, oid FROM pg_default_acl
        UNION ALL SELECT 'pg_subscription'::regclass, oid FROM pg_subscription WHERE subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) x,
       pg_identify_object(x.class, x.oid, 0) o
 WHERE x.oid >= 16384 AND o.identity !~ '^pg_(toast|temp)' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.class AND d.objid = x.oid AND d.deptype = 'e');

--? comment
SELECT o.type || ' ' || replace(o.identity, ' on language ', ' language ') AS key, d.description
  FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) o
 WHERE (d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass AND o.name = 'public') AND d.classoid <> 'pg_largeobject'::regclass
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e');

--? rights
-- Every object of the database; those of the server, and between majors those of extensions, where changed.
SELECT o.type || ' ' || o.identity AS key,
       array_to_string(ARRAY(SELECT format('%s by %s to %s%s', a.privilege_type, pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
                                           CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END)
                               FROM aclexplode(coalesce(x.acl, acldefault(x.kind, x.owner))) a WHERE (a.privilege_type <> 'MAINTAIN' OR $maintain) AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) <> ALL ($ignored)) ORDER BY 1), ', ') AS rights
  FROM (SELECT 'pg_class'::regclass AS class, oid, 0 AS sub, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS kind, relowner AS owner, relacl AS acl FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, 'c', 0, attacl FROM pg_attribute WHERE attacl IS NOT NULL AND NOT attisdropped
        UNION ALL SELECT 'pg_proc'::regclass, oid, 0, 'f', proowner, proacl FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, oid, 0, 'T', typowner, typacl FROM pg_type WHERE typelem = 0 AND typrelid = 0 AND typtype <> 'm'
        UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, 'n', nspowner, nspacl FROM pg_namespace
        UNION ALL SELECT 'pg_language'::regclass, oid, 0, 'l', lanowner, lanacl FROM pg_language
        UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, 'F', fdwowner, fdwacl FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, 'S', srvowner, srvacl FROM pg_foreign_server
        UNION ALL SELECT 'pg_default_acl'::regclass, oid, 0, 'r', 0, defaclacl FROM pg_default_acl) x
       LEFT JOIN pg_init_privs i ON i.classoid = x.class AND i.objoid = x.oid AND i.objsubid = x.sub AND i.privtype IN ('i', 'e')
       LEFT JOIN pg_depend d ON d.classid = x.class AND d.objid = x.oid AND d.deptype = 'e',
       pg_identify_object(x.class, x.oid, x.sub) o
 WHERE (x.oid >= 16384 AND (d.objid IS NULL OR NOT $cross) OR x.class = 'pg_namespace'::regclass AND o.name = 'public'
        OR x.acl IS NOT NULL AND x.acl IS DISTINCT FROM i.initprivs AND (x.oid >= 16384 OR NOT $cross))
   AND o.identity !~ '^pg_(toast|temp)';

--? extension
SELECT e.extname AS key, n.nspname, CASE WHEN $cross THEN '' ELSE e.extversion END AS version FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace;

--? large object
SELECT m.oid::text AS key, pg_get_userbyid(m.lomowner) AS owner, obj_description(m.oid, 'pg_largeobject') AS comment, length(lo_get(m.oid)) AS bytes, sha256(lo_get(m.oid)) AS sha256,
       array_to_string(ARRAY(SELECT format('%s by %s to %s%s', a.privilege_type, pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
                                           CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END)
                               FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) a WHERE a.grantee = 0 OR pg_get_userbyid(a.grantee) <> ALL ($ignored) ORDER BY 1), ', ') AS rights
  FROM pg_largeobject_metadata m;
