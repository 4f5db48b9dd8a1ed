-- Owners, rights and comments on everything.
ALTER TABLE tor_columns.serials OWNER TO tor_owner;
ALTER TABLE tor_columns.identities OWNER TO tor_owner;
ALTER SCHEMA tor_columns OWNER TO tor_admin;
ALTER SCHEMA "sp ace" OWNER TO "tor Odd ""näme"" %s\";
ALTER TABLE "sp ace"."sp ace" OWNER TO "tor Odd ""näme"" %s\";
ALTER TABLE tor_parts.listed OWNER TO tor_owner;
ALTER TABLE tor_parts.child OWNER TO tor_owner;
ALTER TYPE tor_types.mood OWNER TO tor_owner;
ALTER TYPE tor_types.nested OWNER TO tor_owner;
ALTER TYPE tor_types.floatrange OWNER TO tor_owner;
ALTER DOMAIN tor_types.label OWNER TO tor_owner;
ALTER SEQUENCE tor_columns.cached OWNER TO tor_owner;
ALTER VIEW tor_views.barrier OWNER TO tor_owner;
GRANT SELECT ON tor_views.base TO tor_owner;
GRANT USAGE ON SCHEMA tor_views TO tor_owner;
ALTER MATERIALIZED VIEW tor_views.filled OWNER TO tor_owner;
ALTER FUNCTION tor_code.overloaded(text) OWNER TO tor_owner;
ALTER PROCEDURE tor_code.procedure(int, text, int[]) OWNER TO tor_owner;
ALTER AGGREGATE tor_code.plain_sum(int) OWNER TO tor_owner;
ALTER OPERATOR tor_code.~~~~ (int, int) OWNER TO tor_owner;
ALTER COLLATION tor_code.copied OWNER TO tor_owner;
ALTER CONVERSION tor_code.latin_conversion OWNER TO tor_owner;
ALTER TEXT SEARCH DICTIONARY tor_code.stem OWNER TO tor_owner;
ALTER TEXT SEARCH CONFIGURATION tor_code.config OWNER TO tor_owner;
ALTER STATISTICS tor_indexes.st_ndistinct OWNER TO tor_owner;

-- A chain of grants, options, columns, PUBLIC; rights taken from PUBLIC and from the owner himself.
GRANT USAGE ON SCHEMA tor_values, tor_types TO PUBLIC;
GRANT USAGE, CREATE ON SCHEMA tor_parts TO tor_writer WITH GRANT OPTION;
GRANT SELECT, INSERT (a, b), UPDATE (c), REFERENCES (b) ON tor_constraints.target TO tor_reader;
GRANT ALL ON tor_constraints.target TO tor_writer WITH GRANT OPTION;
GRANT SELECT (id, "dou""ble") ON tor_columns.generated TO PUBLIC;
GRANT SELECT (word) ON tor_columns.generated TO tor_reader WITH GRANT OPTION;
GRANT ALL (base) ON tor_columns.generated TO tor_writer;
GRANT SELECT, TRUNCATE, TRIGGER ON tor_views.star, tor_views.filled TO tor_reader;
GRANT SELECT ON tor_parts.ranged TO tor_reader;
GRANT INSERT ON tor_parts.ranged_2020 TO tor_writer;
GRANT USAGE, SELECT ON SEQUENCE tor_columns.never_called TO tor_reader;
GRANT UPDATE ON SEQUENCE tor_columns.at_max TO PUBLIC;
REVOKE EXECUTE ON FUNCTION tor_code.overloaded(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tor_code.overloaded(int) TO tor_reader WITH GRANT OPTION;
REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA tor_code FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tor_code.plain_sum(int) TO tor_writer;
REVOKE USAGE ON TYPE tor_types.point3, tor_types.late FROM PUBLIC;
GRANT USAGE ON TYPE tor_types.late TO tor_reader WITH GRANT OPTION;
REVOKE USAGE ON DOMAIN tor_types.label FROM PUBLIC;
GRANT USAGE ON TYPE tor_types.floatrange TO tor_reader;
REVOKE ALL ON tor_secret.owner_has_nothing FROM CURRENT_USER;
REVOKE ALL ON tor_secret.no_select FROM PUBLIC;
GRANT USAGE ON SCHEMA tor_secret TO tor_reader, "tor Odd ""näme"" %s\";
GRANT SELECT ON tor_secret.plain_rls, tor_secret.forced_rls TO tor_reader, "tor Odd ""näme"" %s\";
REVOKE ALL ON tor_columns.serials FROM tor_owner;
GRANT INSERT ON tor_columns.serials TO tor_owner;

COMMENT ON SCHEMA tor_values IS E'it''s a "schema"\nwith \\ two lines';
COMMENT ON TABLE tor_values.t_text IS '';
COMMENT ON TABLE tor_values.t_bytea IS '\. is not the end';
COMMENT ON TABLE tor_parts.ranged IS 'partitioned';
COMMENT ON TABLE tor_parts.ranged_2020 IS E'comment\twith tab';
COMMENT ON COLUMN tor_columns.generated."dou""ble" IS 'column''s comment';
COMMENT ON COLUMN tor_views.star.id IS 'view column';
COMMENT ON COLUMN tor_views.filled.v IS 'matview column';
COMMENT ON COLUMN tor_types.nested.note IS 'attribute of a composite';
COMMENT ON VIEW tor_views.star IS 'view';
COMMENT ON SEQUENCE tor_columns.at_max IS 'sequence';
COMMENT ON TYPE tor_types.mood IS 'enum';
COMMENT ON TYPE tor_types.floatrange IS 'range';
COMMENT ON TYPE tor_types.nested IS 'composite';
COMMENT ON TYPE tor_types.shell_only IS 'shell';
COMMENT ON DOMAIN tor_types.label IS 'domain';
COMMENT ON CONSTRAINT is_small ON DOMAIN tor_types.small_positive IS 'domain constraint';
COMMENT ON CONSTRAINT "odd ""name"" %" ON tor_constraints.checks IS 'check';
COMMENT ON CONSTRAINT fk_cascade ON tor_constraints.sources IS 'foreign key';
COMMENT ON CONSTRAINT pk ON tor_constraints.uniques IS 'primary key';
COMMENT ON INDEX tor_constraints.pk IS 'index of a primary key';
COMMENT ON FUNCTION tor_code.overloaded(int) IS 'function';
COMMENT ON PROCEDURE tor_code.procedure(int, text, int[]) IS 'procedure';
COMMENT ON AGGREGATE tor_code.plain_sum(int) IS 'aggregate';
COMMENT ON AGGREGATE tor_code.pick_one(int ORDER BY text) IS 'ordered-set aggregate';
COMMENT ON OPERATOR tor_code.!-% (NONE, int) IS 'prefix operator';
COMMENT ON OPERATOR tor_code.~~~~ (int, int) IS 'operator';
COMMENT ON CAST (text AS tor_types.mood) IS 'cast';
COMMENT ON COLLATION tor_code.copied IS 'collation';
COMMENT ON CONVERSION tor_code.latin_conversion IS 'conversion';
COMMENT ON TEXT SEARCH DICTIONARY tor_code.stem IS 'dictionary';
COMMENT ON TEXT SEARCH CONFIGURATION tor_code.config IS 'configuration';

-- Rights for objects to come; a restore that sets them first hands out more than there was.
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO tor_reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO tor_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA tor_parts GRANT INSERT, UPDATE ON TABLES TO tor_writer WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA "sp ace" GRANT ALL ON SEQUENCES TO PUBLIC;

--! requires: superuser
ALTER DEFAULT PRIVILEGES FOR ROLE tor_owner IN SCHEMA tor_code GRANT EXECUTE ON FUNCTIONS TO tor_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE tor_owner REVOKE ALL ON TABLES FROM tor_owner;
ALTER FOREIGN DATA WRAPPER tor_wrapper OWNER TO CURRENT_USER;
GRANT USAGE ON FOREIGN DATA WRAPPER tor_wrapper TO tor_reader WITH GRANT OPTION;
GRANT USAGE ON FOREIGN SERVER "tor ""server""" TO tor_writer;
GRANT SELECT (id), INSERT (v) ON tor_foreign.remote TO tor_reader;
GRANT USAGE ON LANGUAGE tor_trusted TO tor_reader WITH GRANT OPTION;
REVOKE USAGE ON LANGUAGE tor_trusted FROM PUBLIC;
ALTER LANGUAGE tor_trusted OWNER TO tor_owner;
ALTER OPERATOR FAMILY tor_code.lonely USING gist OWNER TO tor_owner;
ALTER OPERATOR CLASS tor_code.own_family USING hash OWNER TO tor_owner;
ALTER SERVER tor_plain OWNER TO CURRENT_USER;
COMMENT ON OPERATOR CLASS tor_code.own_family USING hash IS 'operator class';
COMMENT ON OPERATOR FAMILY tor_code.lonely USING gist IS 'operator family';
COMMENT ON TRANSFORM FOR int LANGUAGE sql IS 'transform';
COMMENT ON TEXT SEARCH PARSER tor_code.parser IS 'parser';
COMMENT ON TEXT SEARCH TEMPLATE tor_code.template IS 'template';
-- What came with the server, with rights and words of our own.
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO tor_reader;
GRANT SELECT (rolname, rolsuper) ON pg_catalog.pg_authid TO tor_third;
GRANT USAGE ON SCHEMA public TO tor_reader WITH GRANT OPTION;
GRANT CREATE ON SCHEMA public TO tor_writer;
ALTER SCHEMA public OWNER TO tor_admin;
COMMENT ON SCHEMA public IS E'no longer the "standard"\npublic schema';
-- Rights granted by one who only holds the option.
GRANT USAGE ON SCHEMA tor_constraints TO tor_writer;
SET ROLE tor_writer;
GRANT SELECT ON tor_constraints.target TO tor_third;
RESET ROLE;

--! requires: superuser, major>=17
GRANT MAINTAIN ON tor_constraints.target TO tor_third WITH GRANT OPTION;
