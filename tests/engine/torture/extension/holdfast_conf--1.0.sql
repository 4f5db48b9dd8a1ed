-- Tables of an extension: some hold rows that belong to the database (configuration tables), one does not.
CREATE TABLE @extschema@.settings (key text PRIMARY KEY, value text, given boolean NOT NULL DEFAULT false);
INSERT INTO @extschema@.settings VALUES ('given', 'by the extension', true), ('also given', NULL, true);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.settings', 'WHERE NOT given');

CREATE TABLE @extschema@.notes (id int, note text);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.notes', '');

CREATE SEQUENCE @extschema@.counter;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.counter', '');

CREATE TABLE @extschema@.cache (id int);
INSERT INTO @extschema@.cache VALUES (1);
