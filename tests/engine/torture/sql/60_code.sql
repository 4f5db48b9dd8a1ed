-- Functions, aggregates, operators, casts, collations, conversions, text search, and the cycles between them.
CREATE SCHEMA tor_code;

CREATE FUNCTION tor_code.bodies() RETURNS text LANGUAGE plpgsql AS $outer$
BEGIN
  /*
--
-- Name: fake; Type: TABLE; Schema: public; Owner: nobody
--
\restrict fake
\unrestrict fake
SET default_tablespace = '';
  */
  RETURN $$it's a 'nested' $x$ \. \N$$ || E'\\ \n' || '$function$' || $_$1$_$;
END
$outer$;
CREATE FUNCTION tor_code.options(a int, VARIADIC "b ""odd""" text[] DEFAULT ARRAY['it''s', E'\n', NULL]) RETURNS TABLE (x int, "y z" text)
  LANGUAGE sql STABLE STRICT SECURITY DEFINER PARALLEL RESTRICTED COST 7.5 ROWS 33 SET search_path = tor_code, "Odd schema", pg_temp SET work_mem = '5MB' SET DateStyle = 'German, DMY'
  AS 'SELECT a, unnest("b ""odd""")';
CREATE FUNCTION tor_code.outs(INOUT a int, OUT b text, IN c anycompatible DEFAULT NULL::int, d anycompatiblearray DEFAULT '{}'::int[]) LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 1, ''x''';
CREATE FUNCTION tor_code.sets() RETURNS SETOF tor_types.point3 LANGUAGE sql ROWS 5 AS 'SELECT NULL::tor_types.point3';
CREATE FUNCTION tor_code.records() RETURNS SETOF record LANGUAGE sql AS 'SELECT 1, 2';
CREATE FUNCTION tor_code.overloaded(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION tor_code.overloaded(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION tor_code.row_taker(public.keyed_1) RETURNS int LANGUAGE sql AS 'SELECT ($1).id';
CREATE FUNCTION tor_code.type_of(c tor_columns.generated.base%TYPE) RETURNS tor_columns.generated.word%TYPE LANGUAGE sql AS 'SELECT ''x''::text';
CREATE PROCEDURE tor_code.procedure(INOUT a int, b text DEFAULT 'x', VARIADIC c int[] DEFAULT '{}') LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
CREATE PROCEDURE tor_code.out_only(OUT a int) LANGUAGE sql SECURITY DEFINER SET work_mem FROM CURRENT AS 'SELECT 1';

-- Bodies parsed at definition time depend on what they name, even on a primary key.
CREATE TABLE tor_code.parsed (id int PRIMARY KEY, v text, n int);
INSERT INTO tor_code.parsed VALUES (1, 'a', 1), (2, NULL, 2);
CREATE FUNCTION tor_code.atomic(a int DEFAULT 3) RETURNS bigint LANGUAGE sql BEGIN ATOMIC
  SELECT count(*) + tor_code.overloaded(a) FROM tor_code.parsed WHERE v IS NOT NULL OR v = E'it''s \\ "q"';
END;
CREATE FUNCTION tor_code.atomic_key() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT v FROM tor_code.parsed GROUP BY id; END;
CREATE FUNCTION tor_code.expression_body(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + b * tor_code.overloaded('x');
CREATE PROCEDURE tor_code.atomic_write(x int) LANGUAGE sql BEGIN ATOMIC
  INSERT INTO tor_code.parsed AS p (id, v) VALUES (x, 'v') ON CONFLICT (id) DO UPDATE SET v = excluded.v || p.v;
  UPDATE tor_code.parsed SET v = DEFAULT, n = 5 WHERE id = x;
  DELETE FROM tor_code.parsed WHERE id = x;
END;
CREATE FUNCTION tor_code.no_body() RETURNS void LANGUAGE sql BEGIN ATOMIC END;
-- A default that calls a function which reads the very table.
CREATE FUNCTION tor_code.next_number() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT coalesce(max(n), 0) + 1 FROM tor_code.parsed; END;
ALTER TABLE tor_code.parsed ALTER n SET DEFAULT tor_code.next_number();
-- An argument and a default of a view's row type, and a view that calls the function.
CREATE VIEW tor_code.row_source AS SELECT id, v FROM tor_code.parsed;
CREATE FUNCTION tor_code.of_view(r tor_code.row_source DEFAULT NULL::tor_code.row_source) RETURNS int LANGUAGE sql STABLE AS 'SELECT ($1).id';
CREATE VIEW tor_code.calls_it AS SELECT tor_code.of_view(r) AS n, r AS whole FROM tor_code.row_source r;
CREATE FUNCTION tor_code.returns_view() RETURNS SETOF tor_code.calls_it LANGUAGE sql AS 'SELECT * FROM tor_code.calls_it';

CREATE AGGREGATE tor_code.plain_sum(int) (SFUNC = pg_catalog.int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = pg_catalog.int4pl, PARALLEL = safe);
CREATE AGGREGATE tor_code.moving(float8) (SFUNC = pg_catalog.float8pl, STYPE = float8, MSFUNC = pg_catalog.float8pl, MINVFUNC = pg_catalog.float8mi, MSTYPE = float8, INITCOND = '0', MINITCOND = '-0', SORTOP = OPERATOR (pg_catalog.>));
CREATE AGGREGATE tor_code."odd ""aggregate"""(*) (SFUNC = pg_catalog.int8inc, STYPE = int8, INITCOND = '0');
CREATE FUNCTION tor_code.collect(text[], text) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.array_append($1, $2)';
CREATE FUNCTION tor_code.pick(text[], int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1[$2]';
CREATE AGGREGATE tor_code.pick_one(int ORDER BY text) (SFUNC = tor_code.collect, STYPE = text[], SSPACE = 64, FINALFUNC = tor_code.pick, FINALFUNC_MODIFY = READ_WRITE, INITCOND = '{"it''s","\\\\"}');

-- Operators with odd names, commutators, negators; some of them made by being mentioned.
CREATE FUNCTION tor_code.point_eq(tor_types.point3, tor_types.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.x = $2.x';
CREATE FUNCTION tor_code.point_ne(tor_types.point3, tor_types.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.x <> $2.x';
CREATE OPERATOR tor_code.==== (FUNCTION = tor_code.point_eq, LEFTARG = tor_types.point3, RIGHTARG = tor_types.point3, COMMUTATOR = OPERATOR (tor_code.====), NEGATOR = OPERATOR (tor_code.<#@&|`?>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES);
CREATE OPERATOR tor_code.<#@&|`?> (FUNCTION = tor_code.point_ne, LEFTARG = tor_types.point3, RIGHTARG = tor_types.point3, NEGATOR = OPERATOR (tor_code.====));
CREATE OPERATOR tor_code.!-% (FUNCTION = tor_code.overloaded, RIGHTARG = int);
CREATE OPERATOR tor_code.~~~~ (FUNCTION = pg_catalog.int4mul, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR (tor_code.~~~~));
CREATE VIEW tor_code.uses_operators AS SELECT OPERATOR (tor_code.!-%) id AS a, id OPERATOR (tor_code.~~~~) 2 AS b FROM tor_code.parsed;

CREATE FUNCTION tor_code.to_mood(text) RETURNS tor_types.mood LANGUAGE sql IMMUTABLE AS $$SELECT 'ok'::tor_types.mood$$;
CREATE FUNCTION tor_code.point_text(tor_types.point3, int, boolean) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''p''';
CREATE CAST (text AS tor_types.mood) WITH FUNCTION tor_code.to_mood(text) AS ASSIGNMENT;
CREATE CAST (tor_types.point3 AS text) WITH FUNCTION tor_code.point_text(tor_types.point3, int, boolean);
CREATE CAST (tor_types.mood AS varchar) WITH INOUT AS IMPLICIT;

CREATE COLLATION tor_code.copied FROM "C";
CREATE COLLATION tor_code."odd ""collation""" (PROVIDER = libc, LC_COLLATE = 'C', LC_CTYPE = 'POSIX');
CREATE TABLE tor_code.uses_collation (v text COLLATE tor_code."odd ""collation""", w text COLLATE tor_code.copied UNIQUE);
INSERT INTO tor_code.uses_collation VALUES ('a', 'B');

CREATE TEXT SEARCH DICTIONARY tor_code.stem (TEMPLATE = pg_catalog.snowball, language = german, stopwords = 'german');
CREATE TEXT SEARCH DICTIONARY tor_code."odd ""dict""" (TEMPLATE = pg_catalog.simple, accept = false);
CREATE TEXT SEARCH CONFIGURATION tor_code.config (PARSER = pg_catalog."default");
ALTER TEXT SEARCH CONFIGURATION tor_code.config ADD MAPPING FOR asciiword, word WITH tor_code."odd ""dict""", tor_code.stem, pg_catalog.simple;
ALTER TEXT SEARCH CONFIGURATION tor_code.config ADD MAPPING FOR int, url WITH pg_catalog.simple;
CREATE TABLE tor_code.searched (v text, ts tsvector GENERATED ALWAYS AS (to_tsvector('tor_code.config'::regconfig, v)) STORED);
INSERT INTO tor_code.searched (v) VALUES ('die Häuser laufen http://x.example 7');
CREATE INDEX ON tor_code.searched USING gin (to_tsvector('tor_code.config'::regconfig, v));

CREATE CONVERSION tor_code.latin_conversion FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION tor_code.default_conversion FOR 'UTF8' TO 'LATIN1' FROM pg_catalog.utf8_to_iso8859_1;

--! requires: superuser
ALTER FUNCTION tor_code.overloaded(int) LEAKPROOF;
CREATE FUNCTION tor_code.overloaded(tor_types.mood[], VARIADIC "any") RETURNS int LANGUAGE internal AS 'pg_num_nonnulls';
CREATE FUNCTION tor_code.from_library() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION tor_code.from_library_inline(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION tor_code.from_library_check(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE tor_trusted HANDLER tor_code.from_library INLINE tor_code.from_library_inline VALIDATOR tor_code.from_library_check;
CREATE LANGUAGE "tor untrusted ""x""" HANDLER tor_code.from_library;
COMMENT ON LANGUAGE tor_trusted IS 'another name for plpgsql';
CREATE FUNCTION tor_code.in_other_language() RETURNS int LANGUAGE tor_trusted AS 'BEGIN RETURN 1; END';
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION pg_catalog.prsd_lextype(internal), TO SQL WITH FUNCTION pg_catalog.int4recv(internal));
CREATE FUNCTION tor_code.transformed(int) RETURNS int TRANSFORM FOR TYPE int LANGUAGE sql AS 'SELECT $1';
CREATE CAST (tor_types.label_base AS text) WITHOUT FUNCTION;
CREATE AGGREGATE tor_code.percentile(float8 ORDER BY anyelement) (SFUNC = pg_catalog.ordered_set_transition, STYPE = internal, FINALFUNC = pg_catalog.percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE tor_code.my_rank(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = pg_catalog.ordered_set_transition_multi, STYPE = internal, FINALFUNC = pg_catalog.rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
CREATE AGGREGATE tor_code.parallel_avg(int8) (SFUNC = pg_catalog.int8_avg_accum, STYPE = internal, SSPACE = 48, FINALFUNC = pg_catalog.numeric_poly_avg, COMBINEFUNC = pg_catalog.int8_avg_combine, SERIALFUNC = pg_catalog.int8_avg_serialize, DESERIALFUNC = pg_catalog.int8_avg_deserialize, PARALLEL = safe);

-- Operator families and classes: a default for a type of our own, one that only lives in a family, and one for our own index method.
CREATE FUNCTION tor_code.point_lt(tor_types.point3, tor_types.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.x < $2.x';
CREATE FUNCTION tor_code.point_cmp(tor_types.point3, tor_types.point3) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.btfloat8cmp($1.x, $2.x)';
CREATE OPERATOR tor_code.<<< (FUNCTION = tor_code.point_lt, LEFTARG = tor_types.point3, RIGHTARG = tor_types.point3);
CREATE OPERATOR FAMILY tor_code.point_family USING btree;
CREATE OPERATOR CLASS tor_code."point ""ops""" FOR TYPE tor_types.point3 USING btree FAMILY tor_code.point_family AS
  OPERATOR 1 tor_code.<<<, OPERATOR 3 tor_code.====, FUNCTION 1 tor_code.point_cmp(tor_types.point3, tor_types.point3);
CREATE OPERATOR CLASS tor_code.own_family FOR TYPE int USING hash AS OPERATOR 1 pg_catalog.=, FUNCTION 1 pg_catalog.hashint4(int), FUNCTION 2 pg_catalog.hashint4extended(int, int8);
ALTER OPERATOR FAMILY tor_code.point_family USING btree ADD OPERATOR 1 pg_catalog.< (int, int), FUNCTION 1 (int, int) pg_catalog.btint4cmp(int, int);
CREATE OPERATOR FAMILY tor_code.lonely USING gist;
CREATE TABLE tor_code.by_class (p tor_types.point3, i int);
CREATE INDEX by_point ON tor_code.by_class (p tor_code."point ""ops""");
CREATE INDEX by_own_hash ON tor_code.by_class USING hash (i tor_code.own_family);
INSERT INTO tor_code.by_class VALUES (ROW (1, 2, 3), 1), (ROW (0, 2, 3), 2);
CREATE ACCESS METHOD tor_gist TYPE INDEX HANDLER pg_catalog.gisthandler;

CREATE TEXT SEARCH PARSER tor_code.parser (START = pg_catalog.prsd_start, GETTOKEN = pg_catalog.prsd_nexttoken, END = pg_catalog.prsd_end, LEXTYPES = pg_catalog.prsd_lextype, HEADLINE = pg_catalog.prsd_headline);
CREATE TEXT SEARCH TEMPLATE tor_code.template (INIT = pg_catalog.dsimple_init, LEXIZE = pg_catalog.dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY tor_code.from_template (TEMPLATE = tor_code.template);
CREATE TEXT SEARCH CONFIGURATION tor_code.from_parser (PARSER = tor_code.parser);
ALTER TEXT SEARCH CONFIGURATION tor_code.from_parser ADD MAPPING FOR word WITH tor_code.from_template;

--! requires: icu
CREATE COLLATION tor_code.blind (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
CREATE TABLE tor_code.uses_blind (v text COLLATE tor_code.blind PRIMARY KEY);
INSERT INTO tor_code.uses_blind VALUES ('a'), ('B'), ('É');

--! requires: icu, major>=16
CREATE COLLATION tor_code.ruled (PROVIDER = icu, LOCALE = 'und', RULES = '&a < g');

--! requires: major>=17
CREATE COLLATION tor_code.built_in (PROVIDER = builtin, LOCALE = 'C.UTF-8');
CREATE TABLE tor_code.uses_built_in (v text COLLATE tor_code.built_in UNIQUE, w text COLLATE pg_c_utf8);
INSERT INTO tor_code.uses_built_in VALUES ('É', 'é');
CREATE PROCEDURE tor_code.atomic_merge() LANGUAGE sql BEGIN ATOMIC
  MERGE INTO tor_code.parsed p USING tor_columns.added_later a ON p.id = a.id WHEN MATCHED AND p.v IS NULL THEN UPDATE SET v = a.words WHEN NOT MATCHED BY SOURCE THEN DELETE WHEN NOT MATCHED THEN INSERT (id, v) VALUES (a.id, 'm') RETURNING merge_action(), p.id;
END;
