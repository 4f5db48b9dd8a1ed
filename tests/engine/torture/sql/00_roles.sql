-- Cluster roles. Safe to run twice: several databases of one server share them.
DO $do$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tor_owner', 'tor_reader', 'tor_writer', 'tor_admin', 'tor_login', 'tor_bypass',
                              'tor_noinherit', 'tor_third', 'tor Odd "näme" %s\']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I', name);
    END IF;
  END LOOP;
END $do$;

ALTER ROLE tor_admin CREATEROLE CREATEDB;
ALTER ROLE tor_login LOGIN PASSWORD 'not a secret' VALID UNTIL '2099-12-31 23:59:59+00' CONNECTION LIMIT 3;
ALTER ROLE tor_noinherit NOINHERIT;
GRANT tor_reader TO tor_writer WITH ADMIN OPTION;
GRANT tor_writer TO tor_login;
GRANT tor_writer, tor_reader TO "tor Odd ""näme"" %s\";
ALTER ROLE tor_login SET work_mem = '7MB';
ALTER ROLE tor_login SET search_path = "$user", 'Odd schema', public;
ALTER ROLE tor_login SET torture.note = $$it's a "note" \ with %s
and a second line$$;
COMMENT ON ROLE tor_owner IS $$owner's "comment" \ of
two lines$$;

--! requires: superuser
-- Attributes and grants that only a superuser may hand out.
ALTER ROLE tor_bypass BYPASSRLS REPLICATION;
GRANT pg_monitor TO tor_admin;
GRANT pg_read_all_settings TO tor_third;

--! requires: major>=16, superuser
GRANT tor_reader TO tor_third WITH INHERIT FALSE, SET FALSE;
GRANT tor_owner TO tor_noinherit WITH INHERIT TRUE, SET TRUE;
