-- Values of 100 MB: compressible text, incompressible bytes stored out of line uncompressed.
CREATE SCHEMA tor_big;
CREATE TABLE tor_big.t (id int, v text, b bytea, e bytea);
ALTER TABLE tor_big.t ALTER e SET STORAGE external;
INSERT INTO tor_big.t VALUES (1, repeat(E'tab\t and \\ ', 10000000), NULL, NULL);
INSERT INTO tor_big.t SELECT i, NULL, CASE i WHEN 2 THEN r END, CASE i WHEN 3 THEN r END FROM (VALUES (2), (3)) two (i), (SELECT string_agg(sha512(i::text::bytea), '' ORDER BY i) AS r FROM generate_series(1, 1562500) i) x;
INSERT INTO tor_big.t VALUES (4, '', '', NULL);
