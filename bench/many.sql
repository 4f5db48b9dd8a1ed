-- Bench data: many tiny tables, as in a database with a schema per customer. :tables of 10 rows, 100 to a schema.
-- DO commits now and then: one transaction would hold the locks of all tables at once.
SET bench.tables = :'tables';
DO $$
DECLARE
  tables constant int := current_setting('bench.tables')::int;
  place text;
BEGIN
  FOR i IN 1..tables LOOP
    IF i % 100 = 1 THEN
      EXECUTE format('CREATE SCHEMA customer_%s', i / 100);
    END IF;
    place := format('customer_%s.t%s', (i - 1) / 100, i);
    EXECUTE format('CREATE TABLE %s (id bigint PRIMARY KEY, name text NOT NULL, made_at timestamptz NOT NULL)', place);
    EXECUTE format($insert$
      INSERT INTO %s SELECT n, md5((%s + n)::text), timestamptz '2026-01-01' + n * interval '1 hour'
      FROM generate_series(1, 10) AS n
    $insert$, place, i * 10);
    IF i % 500 = 0 THEN
      COMMIT;
    END IF;
  END LOOP;
END
$$;
VACUUM ANALYZE;
