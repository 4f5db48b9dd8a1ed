-- Views, materialized views and rules.
CREATE SCHEMA tor_views;

CREATE TABLE tor_views.base (id int PRIMARY KEY, v text, gone int, n numeric, owner name DEFAULT 'x');
INSERT INTO tor_views.base SELECT i, 'v' || i, i, i / 7.0, CASE i % 2 WHEN 0 THEN 'even' END FROM generate_series(1, 30) i;
ALTER TABLE tor_views.base DROP gone;

CREATE VIEW tor_views.star AS SELECT * FROM tor_views.base;
ALTER TABLE tor_views.base ADD later int;
CREATE VIEW tor_views.renamed ("a b", c) AS SELECT id, v FROM tor_views.base;
ALTER VIEW tor_views.renamed RENAME COLUMN c TO "c ""d""";
CREATE VIEW tor_views.barrier WITH (security_barrier = true) AS SELECT id FROM tor_views.base WHERE owner = current_user;
CREATE VIEW tor_views.invoker WITH (security_invoker = true, security_barrier = false) AS SELECT id FROM tor_views.base;
CREATE VIEW tor_views.local_check AS SELECT id, v FROM tor_views.base WHERE id > 0 WITH LOCAL CHECK OPTION;
CREATE VIEW tor_views.cascaded WITH (check_option = cascaded) AS SELECT id, v FROM tor_views.local_check WHERE v <> E'\\';
ALTER VIEW tor_views.cascaded ALTER COLUMN v SET DEFAULT 'from the view';
CREATE RECURSIVE VIEW tor_views.recursive (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM recursive WHERE n < 10;
CREATE VIEW tor_views.cycle AS WITH RECURSIVE t (i) AS NOT MATERIALIZED (SELECT 1 UNION ALL SELECT i % 3 + 1 FROM t) SEARCH DEPTH FIRST BY i SET ord CYCLE i SET is_cycle TO 1 DEFAULT 0 USING path SELECT i, is_cycle FROM t ORDER BY ord;
CREATE VIEW tor_views.windows AS SELECT id, sum(n) OVER w AS s, lag(v) OVER (PARTITION BY owner ORDER BY id DESC NULLS LAST ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE TIES) AS l FROM tor_views.base WINDOW w AS (ORDER BY id GROUPS 2 PRECEDING);
CREATE VIEW tor_views.grouped AS SELECT owner, count(*) FILTER (WHERE id > 3) AS n, grouping(owner, v), percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS p, string_agg(DISTINCT v, ', ' ORDER BY v DESC) FROM tor_views.base GROUP BY GROUPING SETS ((owner), ROLLUP (v), ()) HAVING count(*) > 0;
CREATE VIEW tor_views.joined AS SELECT a.id, u.id AS uid, b.v, l.o, t.i FROM tor_views.base a JOIN tor_views.base b USING (id) AS u LEFT JOIN LATERAL (SELECT g.o FROM generate_series(1, a.id) WITH ORDINALITY g (x, o)) l ON true CROSS JOIN (VALUES (1, 'x'), (2, NULL)) t (i, x) NATURAL FULL JOIN (SELECT 1 AS i) z;
CREATE VIEW tor_views.sampled AS SELECT id FROM ONLY tor_views.base TABLESAMPLE bernoulli (50.5) REPEATABLE (7) UNION (SELECT 1 INTERSECT SELECT 2 ORDER BY 1 FETCH FIRST 3 ROWS WITH TIES) EXCEPT ALL SELECT 3;
CREATE VIEW tor_views.literals AS SELECT E'it''s \\ \n "x"' AS t, NULL AS nothing, '1 day'::interval AS i, ARRAY[1, NULL] AS arr, ROW (1, 2, 3)::tor_types.point3 AS r, B'101' AS b, '{}'::jsonb AS j, 'NaN'::float8 AS f, -1 AS neg, 'x' COLLATE "C" AS c, 'ok'::tor_types.mood AS m, '2020-01-01'::date AS d;
CREATE VIEW tor_views.no_columns AS SELECT FROM tor_views.base;
CREATE VIEW tor_views.temp_sounding AS SELECT 'pg_temp'::text AS pg_temp;
CREATE VIEW tor_views.on_view AS SELECT c.id, s.v FROM tor_views.cascaded c, tor_views.star s WHERE c.id = s.id;
CREATE VIEW tor_views.locking AS SELECT id FROM tor_views.base FOR NO KEY UPDATE OF base SKIP LOCKED;
-- Grouped by a primary key: the view needs the constraint, which comes after the rows; others need the view.
CREATE VIEW tor_views.by_key AS SELECT b.id, b.v, b.n, count(*) AS many FROM tor_views.base b GROUP BY b.id;
CREATE VIEW tor_views.on_by_key AS SELECT id, v FROM tor_views.by_key;
CREATE TABLE tor_views.of_by_key (id int, r tor_views.on_by_key);
INSERT INTO tor_views.of_by_key SELECT 1, k FROM tor_views.on_by_key k WHERE id = 1;
CREATE FUNCTION tor_views.takes_by_key(tor_views.by_key) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).v';
CREATE VIEW tor_views.calls_by_key AS SELECT tor_views.takes_by_key(k) AS t FROM tor_views.by_key k;

-- Writable through rules and triggers.
CREATE VIEW tor_views.ruled AS SELECT id, v FROM tor_views.base;
CREATE RULE ins AS ON INSERT TO tor_views.ruled DO INSTEAD INSERT INTO tor_views.base (id, v) VALUES (new.id, new.v || E'\\') RETURNING base.id, base.v;
CREATE RULE upd AS ON UPDATE TO tor_views.ruled WHERE old.id <> new.id DO INSTEAD NOTHING;
CREATE RULE upd_all AS ON UPDATE TO tor_views.ruled DO INSTEAD (UPDATE tor_views.base SET v = new.v WHERE id = old.id; NOTIFY "tor views");
CREATE RULE del AS ON DELETE TO tor_views.ruled DO INSTEAD DELETE FROM tor_views.base WHERE base.id = old.id;
COMMENT ON RULE del ON tor_views.ruled IS 'a rule''s comment';
CREATE VIEW tor_views.triggered AS SELECT id, v FROM tor_views.base;
CREATE FUNCTION tor_views.write_through() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER through INSTEAD OF INSERT OR UPDATE OR DELETE ON tor_views.triggered FOR EACH ROW EXECUTE FUNCTION tor_views.write_through();

-- Rules which would swallow or multiply rows if they applied during a load.
CREATE TABLE tor_views.swallowing (id int, v text);
INSERT INTO tor_views.swallowing VALUES (1, 'kept'), (2, NULL);
CREATE RULE swallow AS ON INSERT TO tor_views.swallowing DO INSTEAD NOTHING;
CREATE RULE keep AS ON DELETE TO tor_views.swallowing DO INSTEAD NOTHING;
CREATE TABLE tor_views.multiplying (id int, v text);
INSERT INTO tor_views.multiplying VALUES (1, 'once');
CREATE TABLE tor_views.audit (id int, what text);
CREATE RULE multiply AS ON INSERT TO tor_views.multiplying DO ALSO INSERT INTO tor_views.audit VALUES (new.id, 'copy');
CREATE RULE always AS ON UPDATE TO tor_views.multiplying DO ALSO INSERT INTO tor_views.audit SELECT new.id, old.v;
CREATE RULE never AS ON DELETE TO tor_views.multiplying DO ALSO NOTIFY never;
ALTER TABLE tor_views.multiplying ENABLE ALWAYS RULE always;
ALTER TABLE tor_views.multiplying ENABLE REPLICA RULE multiply;
ALTER TABLE tor_views.multiplying DISABLE RULE never;
-- Two views whose rules write to each other.
CREATE VIEW tor_views.ping AS SELECT id FROM tor_views.base;
CREATE VIEW tor_views.pong AS SELECT id FROM tor_views.ping;
CREATE RULE to_pong AS ON INSERT TO tor_views.ping DO INSTEAD INSERT INTO tor_views.pong VALUES (new.id);
CREATE RULE to_ping AS ON INSERT TO tor_views.pong DO INSTEAD INSERT INTO tor_views.ping VALUES (new.id);

CREATE MATERIALIZED VIEW tor_views.filled WITH (fillfactor = 60, autovacuum_enabled = false) AS SELECT id, v, n FROM tor_views.base WHERE id < 20;
CREATE UNIQUE INDEX filled_key ON tor_views.filled (id DESC);
CREATE INDEX filled_expression ON tor_views.filled (lower(v)) WHERE id > 3;
ALTER MATERIALIZED VIEW tor_views.filled CLUSTER ON filled_key;
ALTER MATERIALIZED VIEW tor_views.filled ALTER v SET STATISTICS 99, ALTER v SET STORAGE external;
CREATE MATERIALIZED VIEW tor_views."a first, by name" AS SELECT count(*) AS n FROM tor_views.filled;
CREATE MATERIALIZED VIEW tor_views.third AS SELECT f.n, r.n AS m FROM tor_views."a first, by name" f, tor_views.recursive r;
CREATE MATERIALIZED VIEW tor_views.unfilled AS SELECT id FROM tor_views.base WITH NO DATA;
CREATE UNIQUE INDEX ON tor_views.unfilled (id);
CREATE MATERIALIZED VIEW tor_views.unfilled_on_filled AS SELECT n FROM tor_views.third WITH NO DATA;
CREATE MATERIALIZED VIEW tor_views.nothing AS SELECT id FROM tor_views.base WHERE false;
CREATE MATERIALIZED VIEW tor_views.by_key_stored AS SELECT b.id, b.v FROM tor_views.base b GROUP BY b.id;
CREATE MATERIALIZED VIEW tor_views.generated ("1", "x y") AS SELECT i, 'it''s' || E'\t\\N' FROM generate_series(1, 5) i;
COMMENT ON MATERIALIZED VIEW tor_views.filled IS 'matview';
-- Its query finds its table by the function's own search_path.
CREATE FUNCTION tor_views.own_path() RETURNS bigint LANGUAGE sql STABLE SET search_path = tor_views AS 'SELECT count(*) FROM base';
CREATE MATERIALIZED VIEW tor_views.by_function AS SELECT tor_views.own_path() AS n;

--! requires: major>=16
CREATE VIEW tor_views.json_16 AS SELECT JSON_OBJECT('a': 1, 'b': NULL ABSENT ON NULL WITH UNIQUE KEYS RETURNING jsonb) AS o, JSON_ARRAYAGG(v ORDER BY id NULL ON NULL) AS a, (v IS JSON OBJECT) AS is_json FROM tor_views.base GROUP BY v;

--! requires: major>=17
CREATE VIEW tor_views.json_17 AS SELECT jt.* FROM JSON_TABLE('[{"a": 1, "b": [1, 2]}]'::jsonb, '$[*]' AS root COLUMNS (n FOR ORDINALITY, a int PATH '$.a' DEFAULT 0 ON EMPTY ERROR ON ERROR, NESTED PATH '$.b[*]' AS deep COLUMNS (b int PATH '$'))) jt;
CREATE VIEW tor_views.json_query_17 AS SELECT JSON_QUERY('{"a": [1]}'::jsonb, '$.a' WITH WRAPPER KEEP QUOTES) AS q, JSON_VALUE('1'::jsonb, '$' RETURNING int DEFAULT 3 ON ERROR) AS v, JSON_EXISTS('{}'::jsonb, '$.x' TRUE ON ERROR) AS e;

--! requires: major>=18
CREATE VIEW tor_views.virtual_18 AS SELECT id, v, s FROM tor_columns.virtual;
CREATE MATERIALIZED VIEW tor_views.virtual_stored_18 AS SELECT v, w FROM tor_columns.virtual;
CREATE PROCEDURE tor_views.returning_18() LANGUAGE sql BEGIN ATOMIC UPDATE tor_views.base SET v = 'x' RETURNING WITH (OLD AS o, NEW AS n) o.v, n.v; END;
