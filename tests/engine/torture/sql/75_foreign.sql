-- Foreign data and logical replication, without anything at the other end.
--! requires: superuser
CREATE SCHEMA tor_foreign;
CREATE FOREIGN DATA WRAPPER tor_wrapper OPTIONS (debug 'true', "odd ""option""" 'it''s \');
CREATE SERVER "tor ""server""" TYPE 'kind' VERSION '1.2' FOREIGN DATA WRAPPER tor_wrapper OPTIONS (host 'nowhere', quoted 'a''b\c"d');
CREATE SERVER tor_plain FOREIGN DATA WRAPPER tor_wrapper;
CREATE USER MAPPING FOR PUBLIC SERVER tor_plain;
CREATE USER MAPPING FOR tor_reader SERVER "tor ""server""" OPTIONS ("user" 'me', password 'it''s \ secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER tor_plain OPTIONS ("user" 'x');
CREATE FOREIGN TABLE tor_foreign.remote (id int OPTIONS (column_name 'ID "x"') NOT NULL, v text COLLATE "C" DEFAULT 'x', CHECK (id > 0)) SERVER "tor ""server""" OPTIONS (table_name 'it''s');
CREATE FOREIGN TABLE tor_foreign.generated (id int, v int GENERATED ALWAYS AS (id) STORED) SERVER tor_plain;
CREATE TABLE tor_foreign.parent (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE tor_foreign.local_part PARTITION OF tor_foreign.parent FOR VALUES FROM (0) TO (10);
CREATE FOREIGN TABLE tor_foreign.foreign_part PARTITION OF tor_foreign.parent FOR VALUES FROM (10) TO (20) SERVER tor_plain;
INSERT INTO tor_foreign.parent VALUES (1, 'local');
CREATE TABLE tor_foreign.heir_parent (id int);
INSERT INTO tor_foreign.heir_parent VALUES (1);
CREATE FOREIGN TABLE tor_foreign.heir (extra text) INHERITS (tor_foreign.heir_parent) SERVER tor_plain;
COMMENT ON FOREIGN DATA WRAPPER tor_wrapper IS 'wrapper';
COMMENT ON SERVER tor_plain IS 'server';
COMMENT ON FOREIGN TABLE tor_foreign.remote IS 'foreign table';
CREATE TRIGGER on_foreign BEFORE INSERT ON tor_foreign.remote FOR EACH ROW EXECUTE FUNCTION tor_triggers.drop_row();
ALTER FOREIGN TABLE tor_foreign.remote ALTER v SET STATISTICS 33, ALTER v SET (n_distinct = 5);

CREATE PUBLICATION tor_everything FOR ALL TABLES WITH (publish = 'insert', publish_via_partition_root = true);
CREATE PUBLICATION "tor ""some"" %" FOR TABLE tor_indexes.many (id, t), tor_constraints.checks WHERE (id > 1 AND c <> E'it''s \\'), ONLY tor_parts.other_parent WITH (publish = 'insert, truncate');
CREATE PUBLICATION tor_schemas FOR TABLES IN SCHEMA "sp ace", tor_parts, TABLE tor_columns.added_later WITH (publish = '');
CREATE PUBLICATION tor_empty;
COMMENT ON PUBLICATION tor_empty IS 'publication';
CREATE SUBSCRIPTION "tor ""subscription""" CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere password=it''s' PUBLICATION p1, "p ""2""" WITH (connect = false, slot_name = NONE, binary = true, streaming = on, synchronous_commit = 'local', disable_on_error = true);
CREATE SUBSCRIPTION tor_subscription CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, enabled = false, slot_name = 'some_slot', two_phase = true);
COMMENT ON SUBSCRIPTION tor_subscription IS 'subscription';

--! requires: superuser, major>=16
CREATE SUBSCRIPTION tor_subscription_16 CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = NONE, origin = none, password_required = false, run_as_owner = true, streaming = parallel);

--! requires: superuser, major>=17
CREATE SUBSCRIPTION tor_subscription_17 CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = NONE, failover = true);

--! requires: superuser, major>=18
CREATE PUBLICATION tor_generated_18 FOR TABLE tor_columns.generated WITH (publish_generated_columns = stored, publish = 'insert');
