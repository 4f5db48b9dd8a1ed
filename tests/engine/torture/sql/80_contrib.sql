-- Extensions: their members are not ours to dump, what uses them is.
--! requires: contrib=hstore
CREATE SCHEMA "tor ext";
CREATE EXTENSION hstore WITH SCHEMA "tor ext";
CREATE SCHEMA tor_hstore;
CREATE TABLE tor_hstore.t (id int, v "tor ext".hstore, vs "tor ext".hstore[], g text GENERATED ALWAYS AS (v OPERATOR ("tor ext".->) 'a') STORED);
INSERT INTO tor_hstore.t (id, v, vs) VALUES (1, 'a=>1, "b c"=>NULL, ""=>"it''s \"q\" \\"', ARRAY['', NULL, 'x=>y']::"tor ext".hstore[]), (2, '', '{}'), (3, NULL, NULL);
CREATE INDEX ON tor_hstore.t USING gin (v "tor ext".gin_hstore_ops);
CREATE INDEX ON tor_hstore.t USING btree (v "tor ext".btree_hstore_ops);
COMMENT ON EXTENSION hstore IS 'our own words about it';

--! requires: contrib=hstore, superuser
GRANT EXECUTE ON FUNCTION "tor ext".hstore(text, text) TO tor_reader WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION "tor ext".hstore_in(cstring) FROM PUBLIC;

--! requires: contrib=citext
CREATE SCHEMA tor_citext;
CREATE EXTENSION citext WITH SCHEMA tor_citext;
CREATE TABLE tor_citext.t (v tor_citext.citext PRIMARY KEY, d tor_citext.citext DEFAULT 'Dé' CHECK (d OPERATOR (tor_citext.<>) 'x'));
INSERT INTO tor_citext.t VALUES ('MiXed', 'a'), ('other', NULL);
CREATE VIEW tor_citext.v AS SELECT v FROM tor_citext.t WHERE v OPERATOR (tor_citext.=) 'mixed';

--! requires: contrib=ltree
CREATE EXTENSION ltree WITH SCHEMA public;
CREATE SCHEMA tor_ltree;
CREATE TABLE tor_ltree.t (v public.ltree, q public.lquery, t public.ltxtquery, vs public.ltree[]);
INSERT INTO tor_ltree.t VALUES ('a.b.c', '*.!b{1,2}.c|d@%', 'a & !b*', '{a.b,NULL}'), ('', NULL, NULL, '{}');
CREATE INDEX ON tor_ltree.t USING gist (v public.gist_ltree_ops (siglen = 100));

--! requires: contrib=cube
CREATE SCHEMA tor_cube;
CREATE EXTENSION cube WITH SCHEMA tor_cube;
CREATE TABLE tor_cube.t (v tor_cube.cube);
INSERT INTO tor_cube.t VALUES ('(1,2,3),(-0,1e-300,NaN)'), ('(1)'), (NULL);

--! requires: contrib=intarray
CREATE SCHEMA tor_intarray;
CREATE EXTENSION intarray WITH SCHEMA tor_intarray;
CREATE TABLE tor_intarray.t (v int[]);
INSERT INTO tor_intarray.t VALUES ('{3,1,2}'), ('{}');
CREATE INDEX ON tor_intarray.t USING gist (v tor_intarray.gist__int_ops (numranges = 50));

--! requires: contrib=pg_trgm
CREATE SCHEMA tor_trgm;
CREATE EXTENSION pg_trgm WITH SCHEMA tor_trgm;
CREATE TABLE tor_trgm.t (v text);
INSERT INTO tor_trgm.t SELECT 'some text ' || i FROM generate_series(1, 50) i;
CREATE INDEX ON tor_trgm.t USING gin (v tor_trgm.gin_trgm_ops);
CREATE INDEX ON tor_trgm.t USING gist (v tor_trgm.gist_trgm_ops (siglen = 32));

--! requires: contrib=btree_gist
CREATE SCHEMA tor_btree_gist;
CREATE EXTENSION btree_gist WITH SCHEMA tor_btree_gist;
CREATE TABLE tor_btree_gist.booking (room int, span tstzrange, EXCLUDE USING gist (room WITH =, span WITH &&));
INSERT INTO tor_btree_gist.booking VALUES (1, '[2020-01-01,2020-02-01)'), (2, '[2020-01-01,2020-02-01)');

--! requires: contrib=btree_gist, major>=18
CREATE TABLE tor_btree_gist.employee (id int, span daterange, PRIMARY KEY (id, span WITHOUT OVERLAPS));
INSERT INTO tor_btree_gist.employee VALUES (1, '[2020-01-01,2021-01-01)'), (1, '[2021-01-01,)');

--! requires: contrib=bloom
CREATE SCHEMA tor_bloom;
CREATE EXTENSION bloom WITH SCHEMA tor_bloom;
CREATE TABLE tor_bloom.t (a int, b text);
INSERT INTO tor_bloom.t SELECT i, i::text FROM generate_series(1, 100) i;
CREATE INDEX ON tor_bloom.t USING bloom (a, b) WITH (length = 64, col1 = 3, col2 = 5);

--! requires: contrib=unaccent
CREATE SCHEMA tor_unaccent;
CREATE EXTENSION unaccent WITH SCHEMA tor_unaccent;
CREATE TEXT SEARCH CONFIGURATION tor_unaccent.plain (COPY = pg_catalog.french);
ALTER TEXT SEARCH CONFIGURATION tor_unaccent.plain ALTER MAPPING FOR hword, hword_part, word WITH tor_unaccent.unaccent, pg_catalog.french_stem;
ALTER TEXT SEARCH CONFIGURATION tor_unaccent.plain DROP MAPPING FOR email, url;
-- Marked immutable by its owner, as everyone does; it finds the dictionary by its own path.
CREATE FUNCTION tor_unaccent.plain(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$SELECT tor_unaccent.unaccent('tor_unaccent.unaccent'::regdictionary, $1)$$;
CREATE TABLE tor_unaccent.t (v text);
INSERT INTO tor_unaccent.t VALUES ('Hôtel');
CREATE INDEX ON tor_unaccent.t (tor_unaccent.plain(v));

--! requires: contrib=lo
CREATE SCHEMA tor_lo;
CREATE EXTENSION lo WITH SCHEMA tor_lo;
CREATE TABLE tor_lo.t (id int, v tor_lo.lo);
INSERT INTO tor_lo.t VALUES (1, lo_from_bytea(61001, '\x010203')), (2, NULL), (3, 424242);
CREATE TRIGGER manage BEFORE UPDATE OR DELETE ON tor_lo.t FOR EACH ROW EXECUTE FUNCTION tor_lo.lo_manage(v);

--! requires: contrib=isn
CREATE SCHEMA tor_isn;
CREATE EXTENSION isn WITH SCHEMA tor_isn;
CREATE TABLE tor_isn.t (v tor_isn.isbn13, w tor_isn.upc);
INSERT INTO tor_isn.t VALUES ('978-0-11-000533-1', '220356483481');

--! requires: contrib=postgres_fdw, superuser
CREATE SCHEMA tor_fdw;
CREATE EXTENSION postgres_fdw WITH SCHEMA tor_fdw;
CREATE SERVER tor_remote FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'nowhere', fetch_size '77', extensions 'ltree');
CREATE USER MAPPING FOR tor_reader SERVER tor_remote OPTIONS ("user" 'x', password 'it''s \');
CREATE FOREIGN TABLE tor_fdw.remote (id int, v text OPTIONS (column_name 'V "x"')) SERVER tor_remote OPTIONS (schema_name 's', table_name 't');
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO tor_writer;

--! requires: contrib=file_fdw, superuser
CREATE SCHEMA tor_file;
CREATE EXTENSION file_fdw WITH SCHEMA tor_file;
CREATE SERVER tor_files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE tor_file.missing (a text, b text OPTIONS (force_not_null 'true')) SERVER tor_files OPTIONS (filename '/nonexistent/file.csv', format 'csv', delimiter ';', "null" '\N');

--! requires: contrib=vector
CREATE SCHEMA tor_vector;
CREATE EXTENSION vector WITH SCHEMA tor_vector;
CREATE TABLE tor_vector.t (id int, v tor_vector.vector(3), h tor_vector.halfvec(2), s tor_vector.sparsevec(9));
INSERT INTO tor_vector.t VALUES (1, '[1,-0,1e-45]', '[1,2]', '{1:1,9:-3.5}/9'), (2, NULL, NULL, '{}/9');
CREATE INDEX ON tor_vector.t USING hnsw (v tor_vector.vector_cosine_ops) WITH (m = 4, ef_construction = 20);

--! requires: contrib=holdfast_conf
-- Configuration tables: only rows that meet the condition belong to the database, the others come with the extension.
CREATE SCHEMA tor_conf;
CREATE EXTENSION holdfast_conf WITH SCHEMA tor_conf;
INSERT INTO tor_conf.settings (key, value) VALUES ('mine', E'tab\t \\N "x"'), ('also mine', NULL);
INSERT INTO tor_conf.notes VALUES (1, 'a note'), (2, '');
SELECT pg_catalog.setval('tor_conf.counter', 41, true);
CREATE TABLE tor_conf.uses (key text REFERENCES tor_conf.settings (key));
INSERT INTO tor_conf.uses VALUES ('mine'), ('given');

--! requires: contrib=holdfast_clash
-- Its rows collide with what CREATE EXTENSION puts there: pg_restore fails on them (see KNOWN_PG_DUMP_GAPS).
CREATE SCHEMA tor_clash;
CREATE EXTENSION holdfast_clash WITH SCHEMA tor_clash;
UPDATE tor_clash.defaults SET value = 'changed' WHERE key = 'b';
DELETE FROM tor_clash.defaults WHERE key = 'c';
INSERT INTO tor_clash.defaults VALUES ('mine', 'added');
