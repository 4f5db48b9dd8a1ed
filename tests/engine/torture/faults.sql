-- Single differences to plant in a copy of the torture database. Each follows a line `--? pattern`, which is how
-- the judge's lines about it start, as a regular expression. One at least must be found, and no other lines.
-- {database} stands for the copy's name.

--? rows of "tor_indexes"."many": 400 in source, 400 in target; 1 only in source
UPDATE tor_indexes.many SET t = t || 'x' WHERE id = 1;

--? rows of .*"t_float8"
UPDATE tor_values.t_float8 SET v = 1.0000000000000004 WHERE v = 1.0000000000000002;

--? rows of .*"t_float4".*-0
UPDATE tor_values.t_float4 SET v = '0' WHERE v::text = '-0';

--? rows of .*"t_text"
UPDATE tor_values.t_text SET v = NULL WHERE v = '';

--? rows of .*"t_lone_text"
UPDATE tor_values.t_lone_text SET v = NULL WHERE v = '\N';

--? rows of .*"t_numeric"
UPDATE tor_values.t_numeric SET v = 1.1 WHERE v = 1.1 AND scale(v) = 2;

--? rows of .*"toasted".*sha256
UPDATE tor_storage.toasted SET raw = set_byte(raw, 9999, 7) WHERE id = 1;

--? rows of .*"identity_full": 4 in source, 3 in target
DELETE FROM tor_indexes.identity_full WHERE ctid = '(0,2)';

--? rows of .*"no_columns": 3 in source, 2 in target
DELETE FROM tor_columns.no_columns WHERE ctid = '(0,1)';

--? rows of .*"ancestor": 2 in source, 1 in target
DELETE FROM ONLY tor_parts.ancestor WHERE id = 1;

--? rows of .*"left_child"
INSERT INTO tor_parts.left_child (id) VALUES (1);

--? rows of .*"enum_hashed": 
DELETE FROM tor_parts.enum_hashed WHERE m = 'sad' AND v = 1;

--? rows of .*"log": 1 in source, 0 in target
TRUNCATE tor_views.audit, tor_triggers.log;

--? (rows|definition|relation|column|index|constraint|rights) .*empty
DROP TABLE tor_storage.empty;

--? sequence "tor_columns"."altered": source last_value=77, target last_value=78
SELECT setval('tor_columns.altered', 78, false);

--? sequence .*reset_not_called": source is_called=False
SELECT setval('tor_columns.reset_not_called', 5, true);

--? definition of SEQUENCE tor_columns.cached
ALTER SEQUENCE tor_columns.cached INCREMENT 2;

--? large object 61004: source sha256
SELECT lo_put(61004, 3000000, '\xff');

--? large object 61007: only in source
SELECT lo_unlink(61007);

--? large object 61002: source bytes=0, target bytes=1
SELECT lo_put(61002, 0, '\x00');

--? large object 61006: source owner='tor_owner'
ALTER LARGE OBJECT 61006 OWNER TO tor_reader;

--? large object 61003: source rights=
REVOKE SELECT ON LARGE OBJECT 61003 FROM tor_reader;

--? large object 61005: source comment=None
COMMENT ON LARGE OBJECT 61005 IS 'new';

--? (definition of TRIGGER|trigger) .*note_row
ALTER TABLE tor_triggers.noted DISABLE TRIGGER note_row;

--? (definition of TRIGGER|trigger) .*spoil_always
ALTER TABLE tor_triggers.spoiled ENABLE TRIGGER spoil_always;

--? (definition of EVENT TRIGGER .*|event trigger )tor_drop
ALTER EVENT TRIGGER tor_drop DISABLE;

--? (definition of RULE|rule) .*never
ALTER TABLE tor_views.multiplying ENABLE RULE never;

--? (definition of RULE|rule) .*swallow
DROP RULE swallow ON tor_views.swallowing;

--? (definition of POLICY|policy) .*own
ALTER POLICY own ON tor_secret.plain_rls TO tor_reader;

--? (definition of TABLE|relation) tor_secret.forced_rls
ALTER TABLE tor_secret.forced_rls NO FORCE ROW LEVEL SECURITY;

--? (definition of ROW SECURITY|relation) tor_secret.enabled_without_policy
ALTER TABLE tor_secret.enabled_without_policy DISABLE ROW LEVEL SECURITY;

--? (definition of ACL|rights table column) .*generated
REVOKE SELECT (word) ON tor_columns.generated FROM tor_reader;

--? (definition of ACL|rights function) .*overloaded\(
REVOKE GRANT OPTION FOR EXECUTE ON FUNCTION tor_code.overloaded(int) FROM tor_reader;

--? (definition of ACL|rights type) .*point3
GRANT USAGE ON TYPE tor_types.point3 TO PUBLIC;

--? (definition of ACL|rights table) .*ranged
REVOKE SELECT ON tor_parts.ranged FROM tor_reader;

--? (definition of ACL|rights function) .*pg_ls_dir
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) FROM tor_reader;

--? (definition of DEFAULT ACL|other object|rights default acl) .*tor_parts
ALTER DEFAULT PRIVILEGES IN SCHEMA tor_parts REVOKE ALL ON TABLES FROM tor_writer;

--? (definition of ACL .*|rights schema )tor_secret
REVOKE USAGE ON SCHEMA tor_secret FROM tor_reader;

--? (definition of COMMENT|comment table column) .*dou""ble
COMMENT ON COLUMN tor_columns.generated."dou""ble" IS NULL;

--? (definition of COMMENT|comment table constraint) .*fk_cascade
COMMENT ON CONSTRAINT fk_cascade ON tor_constraints.sources IS 'changed';

--? (definition of COMMENT|comment table) .*t_bytea
COMMENT ON TABLE tor_values.t_bytea IS '\. is  not the end';

--? (definition of|index|relation) .*gin_json
DROP INDEX tor_indexes.gin_json;

--? (definition of INDEX|index) tor_indexes.btree_plain
ALTER TABLE tor_indexes.many SET WITHOUT CLUSTER;

--? (definition of INDEX|relation|index) .*tor_indexes.(identity|"identity)
ALTER TABLE tor_indexes.identity_index REPLICA IDENTITY DEFAULT;

--? (definition of TABLE|relation) tor_storage.optioned
ALTER TABLE tor_storage.optioned SET (fillfactor = 38);

--? (definition of TABLE|column) tor_storage.toasted
ALTER TABLE tor_storage.toasted ALTER external SET STORAGE extended;

--? (definition of TABLE|column) tor_storage.wide_row
ALTER TABLE tor_storage.wide_row ALTER a SET STATISTICS 5;

--? (definition of (TABLE|SEQUENCE)|relation) tor_storage.unlogged
ALTER TABLE tor_storage.unlogged SET LOGGED;

--? definition of TABLE tor_columns.defaults
ALTER TABLE tor_columns.defaults ALTER neg SET DEFAULT 1;

--? (definition of (TABLE|TYPE)|relation|rights table) .*tor_columns.dropped_middle
ALTER TABLE tor_columns.dropped_middle OWNER TO tor_owner;

--? (definition of FK CONSTRAINT|constraint f) .*dangling
ALTER TABLE tor_constraints.orphans DROP CONSTRAINT dangling;

--? (definition of FK CONSTRAINT|constraint f) .*hen
ALTER TABLE tor_constraints.hen ALTER CONSTRAINT hen_egg_fkey NOT DEFERRABLE;

--? (definition of|relation|inheritance|column) .*text_ranged_low
ALTER TABLE tor_parts.text_ranged DETACH PARTITION tor_parts.text_ranged_low;

--? (definition of STATISTICS|statistics) tor_indexes.st_ndistinct
ALTER STATISTICS tor_indexes.st_ndistinct SET STATISTICS 322;

--? (definition of TYPE|enum label) tor_types.renamed
ALTER TYPE tor_types.renamed ADD VALUE 'more';

--? (definition of FUNCTION|function) tor_code.overloaded\(text\)
CREATE OR REPLACE FUNCTION tor_code.overloaded(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT  1';

--? (definition of FUNCTION|function) tor_constraints.below
ALTER FUNCTION tor_constraints.below(int) RESET search_path;

--? (definition of VIEW|relation) tor_views.barrier
ALTER VIEW tor_views.barrier RESET (security_barrier);

--? definition of VIEW tor_views.temp_sounding
CREATE OR REPLACE VIEW tor_views.temp_sounding AS SELECT 'pg_tempo'::text AS pg_temp;

--? (relation|rows of) .*nothing
REFRESH MATERIALIZED VIEW tor_views.nothing WITH NO DATA;

--? rows of .*"by_function": 1 in source, 1 in target
CREATE OR REPLACE FUNCTION tor_views.own_path() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 99::bigint';REFRESH MATERIALIZED VIEW tor_views.by_function;CREATE OR REPLACE FUNCTION tor_views.own_path() RETURNS bigint LANGUAGE sql STABLE SET search_path = tor_views AS 'SELECT count(*) FROM base';

--? (definition of CAST|other object cast) 
DROP CAST (tor_types.mood AS varchar);

--? (definition of|other object|function|comment|rights) .*(transform|TRANSFORM)
DROP TRANSFORM FOR int LANGUAGE sql CASCADE;

--? definition of TEXT SEARCH CONFIGURATION tor_code.config
ALTER TEXT SEARCH CONFIGURATION tor_code.config DROP MAPPING FOR url;

--? definition of FOREIGN TABLE tor_foreign.remote
ALTER FOREIGN TABLE tor_foreign.remote OPTIONS (SET table_name 'other');

--? definition of USER MAPPING
ALTER USER MAPPING FOR tor_reader SERVER "tor ""server""" OPTIONS (SET password 'other');

--? (definition of PUBLICATION TABLE|other object publication relation) .*added_later
ALTER PUBLICATION tor_schemas DROP TABLE tor_columns.added_later;

--? definition of SUBSCRIPTION .*tor_subscription
ALTER SUBSCRIPTION tor_subscription SET PUBLICATION q WITH (refresh = false);

--? (definition of|other object|comment) .*lonel
ALTER OPERATOR FAMILY tor_code.lonely USING gist RENAME TO lonelier;

--? database database: source .*comment=
COMMENT ON DATABASE {database} IS 'other';

--? database database: source .*rights=
REVOKE CREATE ON DATABASE {database} FROM tor_writer;

--? setting of the database for everyone: work_mem: source
ALTER DATABASE {database} SET work_mem = '7MB';

--? setting of the database for tor_login: search_path: only in source
ALTER ROLE tor_login IN DATABASE {database} RESET search_path;
