-- Types of every kind, nested in each other.
CREATE SCHEMA tor_types;

CREATE TYPE tor_types.mood AS ENUM ('sad', 'ok', 'happy', '', 'it''s', 'back\slash', E'new\nline', '\N', 'ünïcøde');
CREATE TYPE tor_types.empty_enum AS ENUM ();
CREATE TYPE tor_types.late AS ENUM ('first', 'last');
CREATE TYPE tor_types.renamed AS ENUM ('old', 'kept');

--!
-- Labels added out of order get fractional sort positions and oids out of order; they cannot be used in the same transaction.
ALTER TYPE tor_types.late ADD VALUE 'before first' BEFORE 'first';
--!
ALTER TYPE tor_types.late ADD VALUE 'middle' AFTER 'first';
--!
ALTER TYPE tor_types.late ADD VALUE 'middle and a half' BEFORE 'last';
ALTER TYPE tor_types.renamed RENAME VALUE 'old' TO 'new';
--!
CREATE TYPE tor_types.point3 AS (x float8, y float8, "Z ""odd""" numeric(10, 3));
CREATE TYPE tor_types.nested AS (id int, inner_point tor_types.point3, moods tor_types.mood[], note text COLLATE "C");
CREATE TYPE tor_types.deep AS (items tor_types.nested[], span daterange);
CREATE TYPE tor_types.nothing AS ();
CREATE TYPE tor_types.shrunk AS (a int, dropped text, b text);
ALTER TYPE tor_types.shrunk DROP ATTRIBUTE dropped;
ALTER TYPE tor_types.shrunk ADD ATTRIBUTE c date;

CREATE DOMAIN tor_types.positive AS numeric CONSTRAINT is_positive CHECK (VALUE > 0);
CREATE DOMAIN tor_types.small_positive AS tor_types.positive DEFAULT 1.50 CONSTRAINT is_small CHECK (VALUE < 900);
CREATE DOMAIN tor_types.required AS tor_types.small_positive NOT NULL;
CREATE DOMAIN tor_types.label AS varchar(20) COLLATE "C" DEFAULT 'none'::varchar CHECK (VALUE !~ '^\s') CHECK (VALUE <> 'forbidden');
CREATE DOMAIN tor_types.moods AS tor_types.mood[] CHECK (array_length(VALUE, 1) < 5);
CREATE DOMAIN tor_types.located AS tor_types.point3 CHECK (VALUE IS NULL OR (VALUE).x IS NOT NULL);
CREATE DOMAIN tor_types.violated AS int;

CREATE FUNCTION tor_types.is_even(i int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN i % 2 = 0; END';
CREATE DOMAIN tor_types.even AS int CHECK (tor_types.is_even(VALUE));

-- A range whose difference function exists; one over text with a collation; one over a composite; one over an enum.
CREATE FUNCTION tor_types.float_gap(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 - $2';
CREATE TYPE tor_types.floatrange AS RANGE (subtype = float8, subtype_diff = tor_types.float_gap, multirange_type_name = tor_types.floats);
CREATE TYPE tor_types.textrange AS RANGE (subtype = text, collation = "C", subtype_opclass = pg_catalog.text_pattern_ops);
CREATE TYPE tor_types.pointrange AS RANGE (subtype = tor_types.point3, multirange_type_name = tor_types."point""multi""");
CREATE TYPE tor_types.moodrange AS RANGE (subtype = tor_types.late);
CREATE DOMAIN tor_types.open_span AS tor_types.floatrange CHECK (NOT isempty(VALUE));

--! requires: superuser
-- Base types need input and output functions that exist before the type does: a dependency cycle.
CREATE TYPE tor_types.shell_only;
CREATE TYPE tor_types.label_base;
CREATE FUNCTION tor_types.label_in(cstring) RETURNS tor_types.label_base LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION tor_types.label_out(tor_types.label_base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION tor_types.label_recv(internal) RETURNS tor_types.label_base LANGUAGE internal IMMUTABLE STRICT AS 'textrecv';
CREATE FUNCTION tor_types.label_send(tor_types.label_base) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'textsend';
CREATE TYPE tor_types.label_base (INPUT = tor_types.label_in, OUTPUT = tor_types.label_out, RECEIVE = tor_types.label_recv,
  SEND = tor_types.label_send, LIKE = pg_catalog.text, CATEGORY = 'S', DEFAULT = 'it''s a default', COLLATABLE = true);
CREATE TABLE tor_types.with_base (id int, v tor_types.label_base, vs tor_types.label_base[]);
INSERT INTO tor_types.with_base VALUES (1, 'plain', '{a,NULL,"b c"}'), (2, E'tab\tand \\N', NULL), (3, '', '{}'), (4, NULL, '{""}');
INSERT INTO tor_types.with_base (id) VALUES (5);

--!
CREATE TABLE tor_types.composed (
  id int PRIMARY KEY,
  p tor_types.point3,
  n tor_types.nested,
  d tor_types.deep,
  s tor_types.shrunk,
  ps tor_types.point3[],
  nothing tor_types.nothing
);
INSERT INTO tor_types.composed VALUES
  (1, ROW (1.5, 'NaN', 12.345), ROW (7, ROW ('-0', 'Infinity', NULL), '{happy,"",NULL,"new
line","\\N"}', E'tab\t, comma, "quote", \\'), ROW (ARRAY[ROW (1, NULL, NULL, '')::tor_types.nested, NULL], '[2020-01-01,)'),
   ROW (1, 'two', '2020-02-02'), ARRAY[ROW (1, 2, 3), NULL, ROW (NULL, NULL, NULL)]::tor_types.point3[], ROW ()),
  (2, ROW (NULL, NULL, NULL), ROW (NULL, NULL, '{}', NULL), NULL, ROW (NULL, '', NULL), '{}', NULL),
  (3, NULL, ROW (1, NULL, '[3:5]={sad,ok,NULL}', '(),"'), ROW ('{}', 'empty'), NULL, NULL, NULL);

CREATE TABLE tor_types.labelled (id int, m tor_types.mood, l tor_types.late, r tor_types.renamed, ms tor_types.mood[]);
INSERT INTO tor_types.labelled
  SELECT row_number() OVER (), m, NULL, NULL, ARRAY[m, NULL, m] FROM unnest(enum_range(NULL::tor_types.mood)) m;
INSERT INTO tor_types.labelled
  SELECT 100 + row_number() OVER (), NULL, l, 'new', '{}' FROM unnest(enum_range(NULL::tor_types.late)) l;
CREATE INDEX labelled_late ON tor_types.labelled (l);

CREATE TABLE tor_types.bounded (
  id int, p tor_types.positive, s tor_types.small_positive, r tor_types.required, l tor_types.label, m tor_types.moods,
  at tor_types.located, e tor_types.even, ls tor_types.label[], o tor_types.open_span, v tor_types.violated, vs tor_types.violated[]
);
INSERT INTO tor_types.bounded VALUES
  (1, 'NaN', 1.25, 3.10, 'a "label"', '{sad}', ROW (1, 2, 3), 42, '{x,NULL,"y z"}', '[1,2)', -5, '{-1,2}'),
  (2, 1e-300, NULL, 899.99, '', '{}', NULL, NULL, '{}', '[-Infinity,Infinity]', NULL, NULL);
INSERT INTO tor_types.bounded (id, r) VALUES (3, 1);
-- The rows above break this rule; pg_dump restores such a constraint after the rows.
ALTER DOMAIN tor_types.violated ADD CONSTRAINT not_negative CHECK (VALUE >= 0) NOT VALID;

CREATE TABLE tor_types.ranged (
  id int, f tor_types.floatrange, fs tor_types.floats, t tor_types.textrange, p tor_types.pointrange,
  pm tor_types."point""multi""", e tor_types.moodrange, fa tor_types.floatrange[]
);
INSERT INTO tor_types.ranged VALUES
  (1, '[-0,Infinity]', '{[1,2),(3,4]}', '["a ""b""",c\\\\)', tor_types.pointrange(ROW (1, 2, 3), ROW (1, 2, 4)),
   tor_types."point""multi"""(tor_types.pointrange(ROW (1, 2, 3), NULL)), '[first,last)', ARRAY['empty', NULL, '(,)']::tor_types.floatrange[]),
  (2, 'empty', '{}', '["",","]', NULL, '{}', '(,)', '{}'),
  (3, '[NaN,NaN]', NULL, '(,)', 'empty', NULL, 'empty', NULL);
