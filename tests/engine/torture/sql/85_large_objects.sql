-- Large objects: empty, all bytes, several pages, with a hole, at the ends of the oid range; owner, rights, comment.
SELECT pg_catalog.lo_create(61002);
SELECT pg_catalog.lo_from_bytea(61003, (SELECT decode(string_agg(lpad(to_hex(i), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, 255) i));
SELECT pg_catalog.lo_from_bytea(61004, (SELECT string_agg(sha512(i::text::bytea), '' ORDER BY i) FROM generate_series(1, 49152) i) || '\x01'::bytea);
SELECT pg_catalog.lo_create(61005);
SELECT pg_catalog.lo_put(61005, 1000000, '\x5c2e0a');
SELECT pg_catalog.lo_from_bytea(61006, decode(repeat('ab', 2048), 'hex'));
SELECT pg_catalog.lo_from_bytea(61007, decode(repeat('cd', 2049), 'hex'));
SELECT pg_catalog.lo_from_bytea(4294967295, 'the last oid');
SELECT pg_catalog.lo_from_bytea(1, 'the first oid');
COMMENT ON LARGE OBJECT 61003 IS E'it''s a "comment"\nof \\ lines';
COMMENT ON LARGE OBJECT 61002 IS 'empty';
GRANT SELECT ON LARGE OBJECT 61003 TO tor_reader WITH GRANT OPTION;
GRANT ALL ON LARGE OBJECT 61004 TO PUBLIC;
ALTER LARGE OBJECT 61006 OWNER TO tor_owner;
GRANT UPDATE ON LARGE OBJECT 61006 TO "tor Odd ""näme"" %s\";
REVOKE ALL ON LARGE OBJECT 61007 FROM CURRENT_USER;
