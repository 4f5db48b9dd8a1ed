-- A configuration table without condition that starts with rows: a restore must replace them, not add to them.
CREATE TABLE @extschema@.defaults (key text PRIMARY KEY, value text);
INSERT INTO @extschema@.defaults VALUES ('a', 'first'), ('b', 'second'), ('c', 'third');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.defaults', '');
