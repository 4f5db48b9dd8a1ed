-- What lies outside the database's own catalogs; same form as facts.sql.

--? database
SELECT 'database' AS key, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate, d.datctype, d.datlocprovider, coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       d.datconnlimit, d.datistemplate, d.datallowconn, shobj_description(d.oid, 'pg_database') AS comment,
       array_to_string(ARRAY(SELECT format('%s by %s to %s%s', a.privilege_type, pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
                                           CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END)
                               FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0 OR pg_get_userbyid(a.grantee) <> ALL ($ignored) ORDER BY 1), ', ') AS rights
  FROM pg_database d WHERE d.datname = current_database();

--? setting of the database
SELECT CASE s.setrole WHEN 0 THEN 'for everyone' ELSE 'for ' || quote_ident(pg_get_userbyid(s.setrole)) END || ': ' || split_part(c, '=', 1) AS key, c AS setting
  FROM pg_db_role_setting s, unnest(s.setconfig) c
 WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND (s.setrole = 0 OR pg_get_userbyid(s.setrole) <> ALL ($ignored));

--? role
SELECT r.rolname AS key, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil, shobj_description(r.oid, 'pg_authid') AS comment
  FROM pg_roles r WHERE r.rolname !~ '^pg_' AND r.rolname <> ALL ($ignored);

--? membership
SELECT pg_get_userbyid(m.member) || ' in ' || pg_get_userbyid(m.roleid) AS key, bool_or(m.admin_option) AS admin, bool_or((to_jsonb(m) ->> 'inherit_option')::bool) OR $cross AS inherit, bool_or((to_jsonb(m) ->> 'set_option')::bool) OR $cross AS set_role
  FROM pg_auth_members m WHERE pg_get_userbyid(m.member) <> ALL ($ignored) AND pg_get_userbyid(m.roleid) <> ALL ($ignored) GROUP BY 1;

--? setting of a role
SELECT pg_get_userbyid(s.setrole) || ': ' || split_part(c, '=', 1) AS key, c AS setting FROM pg_db_role_setting s, unnest(s.setconfig) c
 WHERE s.setdatabase = 0 AND pg_get_userbyid(s.setrole) <> ALL ($ignored);
