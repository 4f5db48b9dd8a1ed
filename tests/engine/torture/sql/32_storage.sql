-- Where values live: inline, compressed, out of line; by column and by access method.
CREATE SCHEMA tor_storage;

CREATE TABLE tor_storage.toasted (id int PRIMARY KEY, plain text, main text, external text, extended text, raw bytea, vector int[]);
ALTER TABLE tor_storage.toasted ALTER plain SET STORAGE plain, ALTER main SET STORAGE main, ALTER external SET STORAGE external,
  ALTER raw SET STORAGE external, ALTER vector SET STORAGE main;
ALTER TABLE tor_storage.toasted ALTER extended SET COMPRESSION pglz;
INSERT INTO tor_storage.toasted VALUES
  (1, 'small', repeat('main ', 3000), repeat('external ', 3000), repeat('extended ', 30000), decode(repeat('00ff5c0a', 5000), 'hex'), ARRAY(SELECT generate_series(1, 5000))),
  (2, '', '', '', '', '', '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL),
  (4, repeat('p', 2000), (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i), 'e', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 9000) i),
   (SELECT string_agg(sha512(i::text::bytea), '') FROM generate_series(1, 3000) i), NULL);

CREATE TABLE tor_storage.optioned (id int, v text) WITH (fillfactor = 37, autovacuum_enabled = false, autovacuum_vacuum_scale_factor = 0.01,
  toast_tuple_target = 256, parallel_workers = 3, toast.autovacuum_enabled = false, log_autovacuum_min_duration = 77);
INSERT INTO tor_storage.optioned SELECT i, repeat('x', i * 9) FROM generate_series(1, 100) i;
ALTER TABLE tor_storage.optioned ALTER v SET STATISTICS 777, ALTER id SET (n_distinct = -0.5, n_distinct_inherited = 3);

CREATE UNLOGGED TABLE tor_storage.unlogged (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
INSERT INTO tor_storage.unlogged (v) VALUES ('kept'), (NULL);
CREATE UNLOGGED SEQUENCE tor_storage.unlogged_sequence START 55;

-- Rows of one table in odd physical order, with dead ones between.
CREATE TABLE tor_storage.churned (id int PRIMARY KEY, v text) WITH (fillfactor = 50);
INSERT INTO tor_storage.churned SELECT i, 'row ' || i FROM generate_series(1, 3000) i;
UPDATE tor_storage.churned SET v = v || ' updated' WHERE id % 3 = 0;
DELETE FROM tor_storage.churned WHERE id % 7 = 0;
INSERT INTO tor_storage.churned SELECT i, 'late ' || i FROM generate_series(7, 700, 7) i;

-- The row as wide as it can be without toast, the table as wide as it can be at all.
DO $do$ BEGIN
  EXECUTE 'CREATE TABLE tor_storage.wide_1600 (' || (SELECT string_agg(format('c%s %s', i, (ARRAY['int', 'text', 'bool', '"char"'])[1 + i % 4]), ', ' ORDER BY i) FROM generate_series(1, 1600) i) || ')';
  EXECUTE 'INSERT INTO tor_storage.wide_1600 VALUES (' || (SELECT string_agg((ARRAY[i::text, '''t' || i % 10 || '''', 'true', '''c'''])[1 + i % 4], ', ' ORDER BY i) FROM generate_series(1, 1600) i) || ')';
  EXECUTE 'INSERT INTO tor_storage.wide_1600 (c1, c1600) VALUES (NULL, -1), (''last'', NULL)';
END $do$;
CREATE TABLE tor_storage.wide_row (id int, a char(2000), b char(2000), c char(2000), d char(1900));
ALTER TABLE tor_storage.wide_row ALTER a SET STORAGE plain, ALTER b SET STORAGE plain, ALTER c SET STORAGE plain, ALTER d SET STORAGE plain;
INSERT INTO tor_storage.wide_row VALUES (1, 'a', 'b', 'c', 'd'), (2, NULL, '', NULL, '');

CREATE TABLE tor_storage.empty (id int PRIMARY KEY, v text DEFAULT 'never');

--! requires: lz4
CREATE TABLE tor_storage.compressed_lz4 (id int, v text COMPRESSION lz4, p text COMPRESSION pglz, d text);
INSERT INTO tor_storage.compressed_lz4 SELECT i, repeat('lz4 ' || i, 5000), repeat('pglz ' || i, 5000), repeat('default ' || i, 5000) FROM generate_series(1, 3) i;

--! requires: superuser
-- Other access methods: a table that is heap by another name, and an index likewise.
CREATE ACCESS METHOD tor_heap TYPE TABLE HANDLER pg_catalog.heap_tableam_handler;
COMMENT ON ACCESS METHOD tor_heap IS 'a heap by another name';
CREATE TABLE tor_storage.other_method (id int PRIMARY KEY, v text) USING tor_heap;
INSERT INTO tor_storage.other_method SELECT i, 'other ' || i FROM generate_series(1, 500) i;
CREATE MATERIALIZED VIEW tor_storage.other_method_view USING tor_heap AS SELECT count(*) AS n FROM tor_storage.other_method;
