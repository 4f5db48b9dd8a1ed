-- Indexes of every kind, and what hangs on them.
CREATE SCHEMA tor_indexes;

CREATE TABLE tor_indexes.many (id int PRIMARY KEY, a int, t text, v varchar(50), arr int[], js jsonb, ts tsvector, p point, b box, r int4range, i inet, at timestamptz, n numeric);
INSERT INTO tor_indexes.many SELECT i, i % 10, 'word ' || i, CASE WHEN i % 3 = 0 THEN NULL ELSE 'V' || i END, ARRAY[i, i % 7], jsonb_build_object('k', i % 5), to_tsvector('simple', 'word ' || i), point(i, -i),
  box(point(i, i), point(i + 1, i + 1)), int4range(i, i + 3), ('10.0.0.' || i % 256)::inet, '2020-01-01 00:00+00'::timestamptz + i * interval '1 hour', i / 3.0 FROM generate_series(1, 400) i;
CREATE FUNCTION tor_indexes.shout(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$SELECT pg_catalog.upper($1) || '!'$$;
CREATE FUNCTION tor_indexes.lookup_table() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'word'$$;
CREATE FUNCTION tor_indexes.own_path(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = tor_indexes, pg_catalog AS $$BEGIN RETURN shout(v) || lookup_table(); END$$;

CREATE INDEX btree_plain ON tor_indexes.many (a);
CREATE INDEX btree_ordered ON tor_indexes.many (a DESC NULLS LAST, t COLLATE "C" text_pattern_ops ASC NULLS FIRST, v varchar_pattern_ops) INCLUDE (n, at) WITH (fillfactor = 55, deduplicate_items = off);
CREATE INDEX btree_expression ON tor_indexes.many ((lower(t)), (a + 1), tor_indexes.shout(t), (js ->> 'k'), (arr[1])) WHERE a > 3 AND v IS NOT NULL;
ALTER INDEX tor_indexes.btree_expression ALTER COLUMN 2 SET STATISTICS 555;
CREATE INDEX btree_own_path ON tor_indexes.many (tor_indexes.own_path(t));
CREATE UNIQUE INDEX btree_unique ON tor_indexes.many (v, a) NULLS NOT DISTINCT WHERE v IS NOT NULL;
CREATE UNIQUE INDEX btree_identity ON tor_indexes.many (n, id);
CREATE INDEX hash_text ON tor_indexes.many USING hash (t text_pattern_ops) WITH (fillfactor = 90);
CREATE INDEX gin_array ON tor_indexes.many USING gin (arr) WITH (fastupdate = off, gin_pending_list_limit = 128);
CREATE INDEX gin_json ON tor_indexes.many USING gin (js jsonb_path_ops, ts);
CREATE INDEX gist_many ON tor_indexes.many USING gist (p, b, r range_ops, ts tsvector_ops (siglen = 100), i inet_ops) WITH (buffering = on);
CREATE INDEX spgist_point ON tor_indexes.many USING spgist (p kd_point_ops);
CREATE INDEX spgist_text ON tor_indexes.many USING spgist (t) INCLUDE (a);
CREATE INDEX brin_time ON tor_indexes.many USING brin (at timestamptz_minmax_multi_ops (values_per_range = 16), n numeric_bloom_ops (n_distinct_per_range = 50, false_positive_rate = 0.05)) WITH (pages_per_range = 4, autosummarize = on);
COMMENT ON INDEX tor_indexes.btree_plain IS E'an index''s\ncomment';
ALTER TABLE tor_indexes.many CLUSTER ON btree_plain;

CREATE TABLE tor_indexes.identity_full (a int, b text);
ALTER TABLE tor_indexes.identity_full REPLICA IDENTITY FULL;
INSERT INTO tor_indexes.identity_full VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL);
CREATE TABLE tor_indexes.identity_none (a int PRIMARY KEY);
ALTER TABLE tor_indexes.identity_none REPLICA IDENTITY NOTHING;
CREATE TABLE tor_indexes.identity_index (a int NOT NULL, b text NOT NULL);
CREATE UNIQUE INDEX "identity ""index""" ON tor_indexes.identity_index (b, a);
ALTER TABLE tor_indexes.identity_index REPLICA IDENTITY USING INDEX "identity ""index""";
INSERT INTO tor_indexes.identity_index VALUES (1, 'x'), (2, 'x');

CREATE TABLE tor_indexes.broken (id int);
INSERT INTO tor_indexes.broken VALUES (1), (1);

CREATE STATISTICS tor_indexes.st_all ON a, t, v FROM tor_indexes.many;
CREATE STATISTICS tor_indexes.st_ndistinct (ndistinct) ON a, t FROM tor_indexes.many;
CREATE STATISTICS tor_indexes."st ""odd"" %" (dependencies, mcv) ON a, v, n FROM tor_indexes.many;
CREATE STATISTICS tor_indexes.st_expression (mcv, ndistinct) ON (a + 1), (lower(t)), v FROM tor_indexes.many;
CREATE STATISTICS tor_indexes.st_one_expression ON (tor_indexes.shout(t)) FROM tor_indexes.many;
ALTER STATISTICS tor_indexes.st_ndistinct SET STATISTICS 321;
ALTER STATISTICS tor_indexes.st_all SET STATISTICS 0;
COMMENT ON STATISTICS tor_indexes.st_all IS 'statistics'' comment';

--! expect: unique_violation
-- Fails and leaves an invalid index behind; pg_dump leaves such an index out.
CREATE UNIQUE INDEX CONCURRENTLY invalid_one ON tor_indexes.broken (id);
