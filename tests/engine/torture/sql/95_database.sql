-- What belongs to the database itself, and session settings that spoil a reader who trusts the defaults.
CREATE SCHEMA tor_shadow;
-- Found before their namesakes by whoever does not set the search_path.
CREATE FUNCTION tor_shadow.age(xid) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2000000000';
CREATE FUNCTION tor_shadow.pg_relation_filenode(oid) RETURNS oid LANGUAGE sql IMMUTABLE AS 'SELECT 1::oid';
CREATE FUNCTION tor_shadow.to_regclass(text) RETURNS regclass LANGUAGE sql IMMUTABLE AS 'SELECT NULL::regclass';
CREATE FUNCTION tor_shadow.pg_export_snapshot() RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a shadowing function was called''; END';
CREATE TABLE tor_shadow.pg_sequence (LIKE pg_catalog.pg_sequence);
CREATE TABLE tor_shadow.pg_largeobject_metadata (LIKE pg_catalog.pg_largeobject_metadata);

DO $do$
DECLARE setting text;
BEGIN
  FOREACH setting IN ARRAY ARRAY[
    $$search_path = tor_shadow, pg_catalog, "sp ace", public$$, $$DateStyle = 'German, DMY'$$, $$IntervalStyle = sql_standard$$, $$TimeZone = 'Asia/Kathmandu'$$,
    $$extra_float_digits = -15$$, $$bytea_output = escape$$, $$statement_timeout = '95s'$$, $$lock_timeout = '94s'$$, $$idle_in_transaction_session_timeout = '93s'$$, $$xmloption = document$$,
    $$default_transaction_isolation = 'serializable'$$, $$default_transaction_deferrable = on$$, $$synchronize_seqscans = on$$, $$row_security = on$$,
    $$work_mem = '6MB'$$]
  LOOP
    EXECUTE format('ALTER DATABASE %I SET %s', current_database(), setting);
  END LOOP;
  EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), E'it''s a "database" \\ of\ntwo lines');
  EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO tor_writer WITH GRANT OPTION', current_database());
  EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO "tor Odd ""näme"" %%s\"', current_database());
END $do$;

--! requires: superuser
DO $do$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET torture.note = %L', current_database(), E'it''s a "note" \\ %s\nof two lines');
  EXECUTE format('ALTER ROLE tor_login IN DATABASE %I SET work_mem = ''9MB''', current_database());
  EXECUTE format('ALTER ROLE tor_login IN DATABASE %I SET search_path = "$user", tor_views', current_database());
  EXECUTE format('ALTER ROLE "tor Odd ""näme"" %%s\" IN DATABASE %I SET torture.note = %L', current_database(), E'\\ and ''"');
  EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 77', current_database());
END $do$;

--! requires: superuser
-- Event triggers that refuse what a restore does. SET torture.allow_ddl = on silences them.
CREATE FUNCTION tor_triggers.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('torture.allow_ddl', true), '') <> 'on' THEN
    RAISE EXCEPTION 'event trigger fired at % for %', tg_event, tg_tag USING HINT = 'SET torture.allow_ddl = on';
  END IF;
END $$;
CREATE EVENT TRIGGER tor_start ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX') EXECUTE FUNCTION tor_triggers.refuse_ddl();
CREATE EVENT TRIGGER "tor ""end""" ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION', 'CREATE VIEW', 'CREATE TRIGGER') EXECUTE FUNCTION tor_triggers.refuse_ddl();
CREATE EVENT TRIGGER tor_rewrite ON table_rewrite EXECUTE FUNCTION tor_triggers.refuse_ddl();
CREATE EVENT TRIGGER tor_drop ON sql_drop EXECUTE FUNCTION tor_triggers.refuse_ddl();
CREATE EVENT TRIGGER tor_always ON ddl_command_start WHEN TAG IN ('CREATE TYPE') EXECUTE FUNCTION tor_triggers.refuse_ddl();
CREATE EVENT TRIGGER tor_replica ON ddl_command_start EXECUTE FUNCTION tor_triggers.refuse_ddl();
CREATE EVENT TRIGGER tor_disabled ON ddl_command_start EXECUTE FUNCTION tor_triggers.refuse_ddl();
ALTER EVENT TRIGGER tor_always ENABLE ALWAYS;
ALTER EVENT TRIGGER tor_replica ENABLE REPLICA;
ALTER EVENT TRIGGER tor_disabled DISABLE;
COMMENT ON EVENT TRIGGER tor_start IS 'event trigger''s comment';

--! requires: superuser, major>=17
CREATE FUNCTION tor_triggers.on_login() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END';
CREATE EVENT TRIGGER tor_login ON login EXECUTE FUNCTION tor_triggers.on_login();
ALTER EVENT TRIGGER tor_login ENABLE ALWAYS;
