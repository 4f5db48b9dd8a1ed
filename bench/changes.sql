-- What a day changes in the benchmark's databases, and two ways of changing one row in a hundred.

-- name: newest
-- A tenth of the rows on the newest tenth of each table's pages: one row in a hundred.
UPDATE app.users SET credits = credits + 1
WHERE ctid >= format('(%s,0)', pg_relation_size('app.users') / 8192 * 9 / 10)::tid AND random() < 0.1;
UPDATE app.events SET score = score / 2
WHERE ctid >= format('(%s,0)', pg_relation_size('app.events') / 8192 * 9 / 10)::tid AND random() < 0.1;
UPDATE app.orders SET status = 'returned'
WHERE ctid >= format('(%s,0)', pg_relation_size('app.orders') / 8192 * 9 / 10)::tid AND random() < 0.1;
UPDATE pgbench_accounts SET abalance = abalance + 1
WHERE ctid >= format('(%s,0)', pg_relation_size('pgbench_accounts') / 8192 * 9 / 10)::tid AND random() < 0.1;

-- name: random
-- One row in a hundred, anywhere.
UPDATE app.users SET credits = credits + 1 WHERE random() < 0.01;
UPDATE app.events SET score = score / 2 WHERE random() < 0.01;
UPDATE app.orders SET status = 'returned' WHERE random() < 0.01;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE random() < 0.01;

-- name: day
-- A day of an application that mostly appends: one row in a hundred of app's tables. Three quarters are new rows; the
-- others are the last days' orders, the newest users, and a few rows of any age.
INSERT INTO app.events (user_id, kind, payload, ip, at, score)
SELECT gen_random_uuid(), (ARRAY['view', 'click', 'buy', 'login'])[1 + i % 4],
       jsonb_build_object('path', '/p/' || i % 5000, 'ref', md5(gen_random_uuid()::text), 'dur', (random() * 1000)::int),
       ('10.' || i % 256 || '.' || i / 256 % 256 || '.1')::inet, now(), random()
FROM generate_series(1, {rows} * 62 / 100) AS i;
INSERT INTO app.orders (user_id, total, status, notes, created_at, tags)
SELECT NULL, (random() * 500)::numeric(12, 2), 'new', CASE WHEN i % 3 = 0 THEN repeat('note ' || md5(i::text), 5) END,
       now(), ARRAY['t' || i % 10, 'u' || i % 7]
FROM generate_series(1, {rows} * 12 / 100) AS i;
INSERT INTO app.users (email, display_name, settings)
SELECT gen_random_uuid() || '@example.com', 'User ' || i, jsonb_build_object('theme', 'dark', 'n', i)
FROM generate_series(1, {rows} / 100) AS i;
UPDATE app.orders SET status = 'paid'
WHERE id > (SELECT max(id) - {rows} * 24 / 100 FROM app.orders) AND random() < 0.55;
UPDATE app.users SET last_seen = now()
WHERE ctid >= format('(%s,0)', pg_relation_size('app.users') / 8192 * 98 / 100)::tid AND random() < 0.5;
UPDATE app.events SET score = 0 WHERE id IN (SELECT (random() * {rows} * 67)::bigint FROM generate_series(1, 5));
