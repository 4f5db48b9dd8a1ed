-- Names that break quoting, line-based parsing, formatting and length limits; the same name at every kind of object.
CREATE SCHEMA tor_names;
CREATE SCHEMA tor_nametypes;
CREATE SCHEMA tor_nameviews;
CREATE SCHEMA tor_nameseqs;

CREATE TABLE tor_names.list (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO tor_names.list VALUES
  (1, ' '), (2, 'sp ace'), (3, '"'), (4, 'two "quoted" words'), (5, E'new\nline'), (6, E'new\n"line" and \t tab'),
  (7, E'\ttab'), (8, 'per%cent %s %(x)s %%'), (9, 'back\slash'), (10, 'trailing\'), (11, '$1'), (12, 'select'),
  (13, 'UPPER'), (14, 'MiXed'), (15, repeat('a', 63)), (16, repeat('é', 31) || 'x'), (17, 'ünïcøde 表 🜁'), (18, 'it''s'),
  (19, '--comment'), (20, '/* comment */'), (21, '; DROP TABLE x; --'), (22, 'a.b'), (23, '\.'), (24, '\N'), (25, E'car\rriage'),
  (26, '{brace,d}'), (27, '(paren)'), (28, 'שלום'), (29, 'user'), (30, '1digit'), (31, '$$'), (32, E'\x01control'),
  (33, 'e' || U&'\0301' || 'combining'), (34, ':variable'), (35, '=equals'), (36, 'trailing space '), (37, '-- Name: x; Type: TABLE');

DO $do$
DECLARE
  n text;
  i int;
BEGIN
  FOR i, n IN SELECT id, name FROM tor_names.list ORDER BY id LOOP
    EXECUTE format('CREATE SCHEMA %I', n);
    EXECUTE format('CREATE TABLE %1$I.%1$I (%1$I int CONSTRAINT %1$I CHECK (%1$I > 0) DEFAULT 7, other text DEFAULT %1$L)', n);
    EXECUTE format('INSERT INTO %1$I.%1$I VALUES (%2$s, %1$L), (%2$s, NULL)', n, i);
    EXECUTE format('COMMENT ON TABLE %1$I.%1$I IS %1$L', n);
    EXECUTE format('COMMENT ON COLUMN %1$I.%1$I.%1$I IS %1$L', n);
    EXECUTE format('GRANT SELECT (%1$I) ON %1$I.%1$I TO PUBLIC', n);
    EXECUTE format('CREATE TYPE tor_nametypes.%1$I AS ENUM (%1$L, ''plain'')', n);
    EXECUTE format('CREATE TABLE tor_nametypes.%I (label tor_nametypes.%I, labels tor_nametypes.%2$I[])', 't' || i, n);
    EXECUTE format('INSERT INTO tor_nametypes.%I VALUES (%2$L, ARRAY[%2$L, NULL, ''plain'']::tor_nametypes.%2$I[])', 't' || i, n);
    EXECUTE format('CREATE INDEX %1$I ON tor_nametypes.%2$I (label)', 'i' || left(n, 30), 't' || i);
    EXECUTE format('CREATE SEQUENCE tor_nameseqs.%I', n);
    PERFORM setval(format('tor_nameseqs.%I', n), 100 + i, i % 2 = 0);
    EXECUTE format('CREATE VIEW tor_nameviews.%1$I AS SELECT %1$I AS %1$I FROM %1$I.%1$I', n);
    EXECUTE format('CREATE FUNCTION tor_names.%1$I(%1$I int DEFAULT 1) RETURNS text LANGUAGE sql AS %2$L', n, format('SELECT %L', n));
    EXECUTE format('CREATE POLICY %1$I ON %1$I.%1$I USING (%1$I > 0)', n);
    EXECUTE format('CREATE STATISTICS tor_nameseqs.%1$I ON %1$I, other FROM %1$I.%1$I', n);
    EXECUTE format('CREATE DOMAIN tor_nameviews.%I AS text CONSTRAINT %I CHECK (value <> ''x'')', 'd' || left(n, 20), n);
    EXECUTE format('COMMENT ON CONSTRAINT %I ON DOMAIN tor_nameviews.%I IS %1$L', n, 'd' || left(n, 20));
  END LOOP;
END $do$;

-- Foreign keys, rules and triggers between two oddly named tables.
CREATE FUNCTION tor_names."trigger""fn %"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "new
line ""trigger""" BEFORE INSERT ON " "." " FOR EACH ROW EXECUTE FUNCTION tor_names."trigger""fn %"('arg', 'it''s', '\', E'nul\nl');
CREATE RULE "new
line ""rule""" AS ON DELETE TO "$1"."$1" DO INSTEAD NOTHING;
ALTER TABLE "sp ace"."sp ace" ADD CONSTRAINT "key %s" UNIQUE ("sp ace", other);
ALTER TABLE "$1"."$1" ADD CONSTRAINT "foreign
""key""" FOREIGN KEY ("$1", other) REFERENCES "sp ace"."sp ace" ("sp ace", other) NOT VALID;
