-- Lives in one session only; no backup may show it.
CREATE TEMPORARY TABLE tor_temporary (id serial, v text);
INSERT INTO tor_temporary (v) VALUES ('must be absent');
CREATE TEMPORARY SEQUENCE tor_temporary_sequence;
CREATE TEMPORARY VIEW tor_temporary_view AS SELECT * FROM tor_temporary;
CREATE FUNCTION pg_temp.tor_temporary() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TYPE pg_temp.tor_temporary_type AS ENUM ('must be absent');
