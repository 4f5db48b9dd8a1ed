-- Constraints of every kind, satisfied and (where NOT VALID allows it) violated.
CREATE SCHEMA tor_constraints;

CREATE TABLE tor_constraints.checks (
  id int PRIMARY KEY, a int CHECK (a > 0), b int, c text CONSTRAINT "odd ""name"" %" CHECK (c <> E'a\nb' AND c !~ '\\'), d int NOT NULL,
  CONSTRAINT a_below_b CHECK (a < b) NO INHERIT, CHECK (id IS NOT NULL AND (a, b) IS DISTINCT FROM (1, 1))
);
INSERT INTO tor_constraints.checks VALUES (1, 1, 2, 'x', 0), (2, NULL, NULL, NULL, -1), (3, 5, 6, '', 1);
CREATE TABLE tor_constraints.violated (id int, v int);
INSERT INTO tor_constraints.violated VALUES (1, -1), (2, 5);
ALTER TABLE tor_constraints.violated ADD CONSTRAINT not_negative CHECK (v >= 0) NOT VALID;
ALTER TABLE tor_constraints.violated ADD CONSTRAINT later_valid CHECK (id > 0) NOT VALID;
ALTER TABLE tor_constraints.violated VALIDATE CONSTRAINT later_valid;

CREATE TABLE tor_constraints.uniques (
  a int, b text, c int, d text, e int UNIQUE DEFERRABLE INITIALLY DEFERRED, f int CONSTRAINT deferrable_now UNIQUE DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT included UNIQUE (a) INCLUDE (b, c), UNIQUE NULLS NOT DISTINCT (b, c), CONSTRAINT pk PRIMARY KEY (d, a) INCLUDE (c) WITH (fillfactor = 70) DEFERRABLE
);
INSERT INTO tor_constraints.uniques VALUES (1, NULL, NULL, 'x', NULL, NULL), (2, '', NULL, 'x', NULL, NULL), (3, NULL, 1, '', 3, 3);
CREATE TABLE tor_constraints.promoted (id int NOT NULL, v text);
CREATE UNIQUE INDEX promoted_index ON tor_constraints.promoted (id DESC NULLS LAST, v text_pattern_ops);
CREATE UNIQUE INDEX promoted_pk ON tor_constraints.promoted (id) INCLUDE (v);
ALTER TABLE tor_constraints.promoted ADD CONSTRAINT "promoted ""key""" PRIMARY KEY USING INDEX promoted_pk;
ALTER TABLE tor_constraints.promoted CLUSTER ON "promoted ""key""";

CREATE TABLE tor_constraints.excluded (
  id int, span int4range, area circle, room text, EXCLUDE USING gist (span WITH &&) WHERE (id > 0) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT no_overlap EXCLUDE USING gist (area WITH &&, span WITH -|-) WITH (fillfactor = 60), EXCLUDE USING btree (room COLLATE "C" text_pattern_ops WITH =), EXCLUDE USING hash ((id + 1) WITH =)
);
INSERT INTO tor_constraints.excluded VALUES (1, '[1,5)', '<(0,0),1>', 'a'), (2, '[5,9)', '<(9,9),1>', 'b'), (-1, '[1,9)', '<(99,9),1>', NULL);

-- Foreign keys: every action, match full, deferred, columns of SET NULL, self and mutual references.
CREATE TABLE tor_constraints.target (a int, b int, c text UNIQUE, PRIMARY KEY (a, b), UNIQUE (b, a));
INSERT INTO tor_constraints.target VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, NULL);
CREATE TABLE tor_constraints.sources (
  id int PRIMARY KEY, a int, b int, c text DEFAULT 'x',
  CONSTRAINT fk_cascade FOREIGN KEY (a, b) REFERENCES tor_constraints.target ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT fk_full FOREIGN KEY (b, a) REFERENCES tor_constraints.target (b, a) MATCH FULL ON DELETE RESTRICT ON UPDATE RESTRICT,
  CONSTRAINT fk_null FOREIGN KEY (a, b) REFERENCES tor_constraints.target (a, b) ON DELETE SET NULL (a) ON UPDATE SET NULL,
  CONSTRAINT fk_default FOREIGN KEY (c) REFERENCES tor_constraints.target (c) ON DELETE SET DEFAULT ON UPDATE SET DEFAULT DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT fk_nothing FOREIGN KEY (c) REFERENCES tor_constraints.target (c) DEFERRABLE INITIALLY IMMEDIATE
);
INSERT INTO tor_constraints.sources VALUES (1, 1, 1, 'x'), (2, NULL, NULL, NULL), (3, 3, 2, 'y');
CREATE TABLE tor_constraints.tree (id int PRIMARY KEY, parent int REFERENCES tor_constraints.tree, boss int NOT NULL REFERENCES tor_constraints.tree DEFERRABLE INITIALLY DEFERRED);
INSERT INTO tor_constraints.tree VALUES (1, 3, 2), (2, 1, 3), (3, NULL, 1), (4, 4, 4);
CREATE TABLE tor_constraints.egg (id int PRIMARY KEY, hen int NOT NULL);
CREATE TABLE tor_constraints.hen (id int PRIMARY KEY, egg int NOT NULL REFERENCES tor_constraints.egg DEFERRABLE);
INSERT INTO tor_constraints.egg SELECT i, i FROM generate_series(1, 10) i;
INSERT INTO tor_constraints.hen SELECT i, 11 - i FROM generate_series(1, 10) i;
ALTER TABLE tor_constraints.egg ADD FOREIGN KEY (hen) REFERENCES tor_constraints.hen DEFERRABLE;
CREATE TABLE tor_constraints.orphans (id int, target int);
INSERT INTO tor_constraints.orphans VALUES (1, 1), (2, 999);
ALTER TABLE tor_constraints.orphans ADD CONSTRAINT dangling FOREIGN KEY (target) REFERENCES tor_constraints.tree NOT VALID;

-- A check that calls a function whose own search_path finds its table; a naive restore does not find it.
CREATE TABLE tor_constraints.limits (name text PRIMARY KEY, largest int);
CREATE FUNCTION tor_constraints.below(v int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = tor_constraints, pg_temp
  AS $$BEGIN RETURN v < coalesce((SELECT largest FROM limits WHERE name = 'unset'), 1000); END$$;
CREATE TABLE tor_constraints.limited (id int, v int CHECK (tor_constraints.below(v)));
INSERT INTO tor_constraints.limited VALUES (1, 5), (2, NULL);
CREATE OPERATOR tor_constraints.=== (FUNCTION = pg_catalog.int4eq, LEFTARG = int, RIGHTARG = int);
CREATE TABLE tor_constraints.operated (id int, v int, CHECK (id OPERATOR (tor_constraints.===) v), CHECK (v = ANY (ARRAY[1, 2, NULL])));
INSERT INTO tor_constraints.operated VALUES (1, 1);
-- A check of the whole row: the function needs the table's row type, the table needs the function.
CREATE TABLE tor_constraints.whole_row (id int, v text);
CREATE FUNCTION tor_constraints.row_ok(r tor_constraints.whole_row) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT (r).id > 0';
ALTER TABLE tor_constraints.whole_row ADD CHECK (tor_constraints.row_ok(whole_row));
INSERT INTO tor_constraints.whole_row VALUES (1, 'x');

--! requires: major>=18
CREATE TABLE tor_constraints.temporal (id int4range, span daterange, v text, CONSTRAINT temporal_pk PRIMARY KEY (id, span WITHOUT OVERLAPS));
INSERT INTO tor_constraints.temporal VALUES ('[1,2)', '[2020-01-01,2021-01-01)', 'a'), ('[1,2)', '[2021-01-01,)', 'b'), ('[2,3)', '(,)', NULL);
CREATE TABLE tor_constraints.temporal_source (id int, target int4range, span daterange, UNIQUE (target, span WITHOUT OVERLAPS) DEFERRABLE, FOREIGN KEY (target, PERIOD span) REFERENCES tor_constraints.temporal (id, PERIOD span));
INSERT INTO tor_constraints.temporal_source VALUES (1, '[1,2)', '[2020-06-01,2021-06-01)'), (2, NULL, '[2020-01-01,2020-01-02)');
CREATE TABLE tor_constraints.not_enforced (id int, v int, CONSTRAINT wishful CHECK (v > 0) NOT ENFORCED, CONSTRAINT dreamt FOREIGN KEY (v) REFERENCES tor_constraints.tree NOT ENFORCED);
INSERT INTO tor_constraints.not_enforced VALUES (1, -5), (2, 777);
CREATE TABLE tor_constraints.not_nulls (
  id int CONSTRAINT "named ""not null""" NOT NULL, a int NOT NULL NO INHERIT, b int, c int CONSTRAINT own_name NOT NULL NO INHERIT, PRIMARY KEY (id)
);
INSERT INTO tor_constraints.not_nulls VALUES (1, 1, NULL, 1);
ALTER TABLE tor_constraints.not_nulls ADD CONSTRAINT hopeful NOT NULL b NOT VALID;
CREATE TABLE tor_constraints.not_nulls_child (own int NOT NULL) INHERITS (tor_constraints.not_nulls);
INSERT INTO tor_constraints.not_nulls_child VALUES (2, NULL, 5, NULL, 9);
