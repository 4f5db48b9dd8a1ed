-- Partitions of every strategy and depth, and inheritance, whose rows must come back to the table they were in.
CREATE SCHEMA tor_parts;

CREATE TABLE tor_parts.ranged (id int NOT NULL, at date NOT NULL, v text, CONSTRAINT positive CHECK (id > 0)) PARTITION BY RANGE (at);
CREATE TABLE tor_parts.ranged_2020 PARTITION OF tor_parts.ranged FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE tor_parts.ranged_old PARTITION OF tor_parts.ranged (v DEFAULT 'old', CONSTRAINT own CHECK (id < 1000)) FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE tor_parts.ranged_default PARTITION OF tor_parts.ranged DEFAULT;
-- Attached with other column order, a dropped column, own index and own trigger.
CREATE TABLE tor_parts.ranged_2021 (v text, gone int, at date NOT NULL, id int NOT NULL, CONSTRAINT positive CHECK (id > 0), CONSTRAINT bounds CHECK (at >= '2021-01-01' AND at < '2022-01-01'));
ALTER TABLE tor_parts.ranged_2021 DROP gone;
CREATE INDEX own_index ON tor_parts.ranged_2021 (v, id);
CREATE INDEX to_be_attached ON tor_parts.ranged_2021 (id);
CREATE INDEX ranged_id ON tor_parts.ranged (id);
ALTER TABLE tor_parts.ranged ATTACH PARTITION tor_parts.ranged_2021 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
-- Sub-partitions of another strategy.
CREATE TABLE tor_parts.ranged_2022 PARTITION OF tor_parts.ranged FOR VALUES FROM ('2022-01-01') TO ('2023-01-01') PARTITION BY LIST (v);
CREATE TABLE tor_parts.ranged_2022_a PARTITION OF tor_parts.ranged_2022 FOR VALUES IN ('a', NULL) PARTITION BY HASH (id);
CREATE TABLE tor_parts.ranged_2022_a0 PARTITION OF tor_parts.ranged_2022_a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE tor_parts.ranged_2022_a1 PARTITION OF tor_parts.ranged_2022_a FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE tor_parts.ranged_2022_a3 PARTITION OF tor_parts.ranged_2022_a FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE TABLE tor_parts.ranged_2022_rest PARTITION OF tor_parts.ranged_2022 DEFAULT;
INSERT INTO tor_parts.ranged SELECT i, '2018-06-01'::date + i * 7, (ARRAY['a', 'b', NULL, E'\t'])[1 + i % 4] FROM generate_series(1, 300) i;
CREATE INDEX only_parent ON ONLY tor_parts.ranged (v);
ALTER TABLE tor_parts.ranged_2021 CLUSTER ON own_index;

CREATE TABLE tor_parts.ranged_detached PARTITION OF tor_parts.ranged FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
INSERT INTO tor_parts.ranged VALUES (900, '2030-05-05', 'detached');
ALTER TABLE tor_parts.ranged DETACH PARTITION tor_parts.ranged_detached;

CREATE TABLE tor_parts.listed (k text COLLATE "C", v int) PARTITION BY LIST (k COLLATE "POSIX");
CREATE TABLE tor_parts."listed ""odd"" %" PARTITION OF tor_parts.listed FOR VALUES IN ('it''s', E'new\nline', '\N', '');
CREATE TABLE tor_parts.listed_null PARTITION OF tor_parts.listed FOR VALUES IN (NULL);
CREATE TABLE tor_parts.listed_rest PARTITION OF tor_parts.listed DEFAULT;
INSERT INTO tor_parts.listed VALUES ('it''s', 1), (E'new\nline', 2), ('\N', 3), ('', 4), (NULL, 5), ('other', 6);
CREATE TABLE tor_parts.text_ranged (k text COLLATE "C", v int) PARTITION BY RANGE (k, (v % 10));
CREATE TABLE tor_parts.text_ranged_low PARTITION OF tor_parts.text_ranged FOR VALUES FROM (MINVALUE, MINVALUE) TO ('a', 5);
CREATE TABLE tor_parts.text_ranged_high PARTITION OF tor_parts.text_ranged FOR VALUES FROM ('a', 5) TO (MAXVALUE, MAXVALUE);
INSERT INTO tor_parts.text_ranged SELECT chr(32 + i % 90), i FROM generate_series(1, 200) i;

-- The hash of an enum value depends on its oid, which a restore changes: rows move to other partitions.
CREATE TABLE tor_parts.enum_hashed (m tor_types.mood, v int) PARTITION BY HASH (m);
CREATE TABLE tor_parts.enum_hashed_0 PARTITION OF tor_parts.enum_hashed FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE tor_parts.enum_hashed_1 PARTITION OF tor_parts.enum_hashed FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE tor_parts.enum_hashed_2 PARTITION OF tor_parts.enum_hashed FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO tor_parts.enum_hashed SELECT m, i FROM unnest(enum_range(NULL::tor_types.mood)) m, generate_series(1, 5) i;
INSERT INTO tor_parts.enum_hashed VALUES (NULL, 1);
-- The same one level down: the enum's hash is below a range.
CREATE TABLE tor_parts.enum_below (id int, m tor_types.late) PARTITION BY RANGE (id);
CREATE TABLE tor_parts.enum_below_1 PARTITION OF tor_parts.enum_below FOR VALUES FROM (0) TO (10) PARTITION BY HASH (m);
CREATE TABLE tor_parts.enum_below_1a PARTITION OF tor_parts.enum_below_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE tor_parts.enum_below_1b PARTITION OF tor_parts.enum_below_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE tor_parts.enum_below_2 PARTITION OF tor_parts.enum_below FOR VALUES FROM (10) TO (20);
INSERT INTO tor_parts.enum_below SELECT i, l FROM unnest(enum_range(NULL::tor_types.late)) l, generate_series(0, 19) i;
CREATE TABLE tor_parts.text_hashed (k text, v numeric) PARTITION BY HASH (k, v);
CREATE TABLE tor_parts.text_hashed_0 PARTITION OF tor_parts.text_hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE tor_parts.text_hashed_1 PARTITION OF tor_parts.text_hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO tor_parts.text_hashed SELECT 'k' || i, i FROM generate_series(1, 50) i;

-- Partitioned and empty of partitions; foreign keys to and from partitioned tables; partitions in other schemas.
CREATE TABLE tor_parts.no_partitions (id int, v int GENERATED ALWAYS AS (id + 1) STORED) PARTITION BY RANGE (id);
CREATE TABLE tor_parts.keyed (id int PRIMARY KEY, up int REFERENCES tor_parts.keyed) PARTITION BY RANGE (id);
CREATE TABLE public.keyed_1 PARTITION OF tor_parts.keyed FOR VALUES FROM (0) TO (100);
CREATE TABLE tor_parts.keyed_2 PARTITION OF tor_parts.keyed FOR VALUES FROM (100) TO (200);
INSERT INTO tor_parts.keyed VALUES (1, 150), (150, 1), (2, NULL);
CREATE TABLE tor_parts.refers (id int, target int REFERENCES tor_parts.keyed ON DELETE CASCADE DEFERRABLE) PARTITION BY LIST (id);
CREATE TABLE tor_parts.refers_1 PARTITION OF tor_parts.refers FOR VALUES IN (1);
CREATE TABLE tor_parts.refers_rest PARTITION OF tor_parts.refers DEFAULT;
INSERT INTO tor_parts.refers VALUES (1, 1), (2, 150), (3, NULL);
CREATE TABLE tor_parts.typed OF tor_types.shrunk PARTITION BY RANGE (a);
CREATE TABLE tor_parts.typed_1 PARTITION OF tor_parts.typed FOR VALUES FROM (0) TO (10);
INSERT INTO tor_parts.typed VALUES (1, 'x', NULL);
CREATE TABLE tor_parts.generated_parent (id int, v int GENERATED ALWAYS AS (id * 2) STORED, w text) PARTITION BY RANGE (id);
CREATE TABLE tor_parts.generated_child (w text, v int GENERATED ALWAYS AS (id * 2) STORED, id int);
ALTER TABLE tor_parts.generated_parent ATTACH PARTITION tor_parts.generated_child FOR VALUES FROM (0) TO (100);
INSERT INTO tor_parts.generated_parent VALUES (1, DEFAULT, 'a'), (2, DEFAULT, NULL);
CREATE UNLOGGED TABLE tor_parts.unlogged_part PARTITION OF tor_parts.listed FOR VALUES IN ('unlogged');
INSERT INTO tor_parts.listed VALUES ('unlogged', 9);

-- Inheritance: rows in every generation, defaults and checks of their own, columns merged from two parents.
CREATE TABLE tor_parts.ancestor (id int, name text DEFAULT 'ancestor', CONSTRAINT inherited CHECK (id > 0), CONSTRAINT alone CHECK (id < 100) NO INHERIT);
CREATE TABLE tor_parts.other_parent (id int, extra numeric NOT NULL DEFAULT 1.0);
CREATE TABLE tor_parts.child (own text, CHECK (own <> 'x')) INHERITS (tor_parts.ancestor);
ALTER TABLE tor_parts.child ALTER name SET DEFAULT 'child';
CREATE TABLE tor_parts.both_parents (name text DEFAULT 'both', last int) INHERITS (tor_parts.ancestor, tor_parts.other_parent);
CREATE TABLE tor_parts.grandchild () INHERITS (tor_parts.child);
CREATE TABLE tor_parts.added_child (id int, name text, CONSTRAINT inherited CHECK (id > 0), own_later date);
ALTER TABLE tor_parts.added_child INHERIT tor_parts.ancestor;
CREATE TABLE tor_parts.left_child () INHERITS (tor_parts.ancestor);
ALTER TABLE tor_parts.left_child NO INHERIT tor_parts.ancestor;
INSERT INTO tor_parts.ancestor VALUES (1, 'a'), (2, NULL);
INSERT INTO tor_parts.other_parent VALUES (1, 2.50);
INSERT INTO tor_parts.child VALUES (500, 'c', 'own'), (501, DEFAULT, NULL);
INSERT INTO tor_parts.both_parents VALUES (700, DEFAULT, 3.10, 4);
INSERT INTO tor_parts.grandchild VALUES (600, 'g', '');
INSERT INTO tor_parts.added_child VALUES (800, 'added', 'infinity');
INSERT INTO tor_parts.left_child VALUES (900, 'left');
ALTER TABLE tor_parts.ancestor ADD added_last int DEFAULT 11;
CREATE INDEX ON tor_parts.ancestor (id);

--! requires: icu
CREATE TABLE tor_parts.icu_ranged (k text COLLATE "und-x-icu", v int) PARTITION BY RANGE (k);
CREATE TABLE tor_parts.icu_low PARTITION OF tor_parts.icu_ranged FOR VALUES FROM (MINVALUE) TO ('m');
CREATE TABLE tor_parts.icu_high PARTITION OF tor_parts.icu_ranged FOR VALUES FROM ('m') TO (MAXVALUE);
INSERT INTO tor_parts.icu_ranged VALUES ('a', 1), ('Z', 2), ('É', 3), ('m', 4), ('M', 5);

--! requires: major>=17
CREATE TABLE tor_parts.identity_parent (id int GENERATED ALWAYS AS IDENTITY (START 50), k int) PARTITION BY LIST (k);
CREATE TABLE tor_parts.identity_child PARTITION OF tor_parts.identity_parent DEFAULT;
INSERT INTO tor_parts.identity_parent (k) VALUES (1), (2);

--! requires: major>=18
CREATE TABLE tor_parts.excluded_parent (id int, k int, EXCLUDE USING btree (k WITH =, id WITH =)) PARTITION BY LIST (k);
CREATE TABLE tor_parts.excluded_child PARTITION OF tor_parts.excluded_parent DEFAULT;
INSERT INTO tor_parts.excluded_parent VALUES (1, 1), (1, 2);
