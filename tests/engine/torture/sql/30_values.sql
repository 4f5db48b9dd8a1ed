-- Every built-in type with values at its edges. One table per type, so that a difference names the type.
CREATE SCHEMA tor_values;

CREATE TABLE tor_values.t_int2 AS SELECT * FROM (VALUES (1, (-32768)::int2), (2, 32767), (3, 0), (4, NULL)) v (id, v);
CREATE TABLE tor_values.t_int4 AS SELECT * FROM (VALUES (1, -2147483648), (2, 2147483647), (3, NULL)) v (id, v);
CREATE TABLE tor_values.t_int8 AS SELECT * FROM (VALUES (1, '-9223372036854775808'::int8), (2, 9223372036854775807), (3, NULL)) v (id, v);
CREATE TABLE tor_values.t_bool AS SELECT * FROM (VALUES (1, true), (2, false), (3, NULL)) v (id, v);

CREATE TABLE tor_values.t_float4 (id serial, v float4);
INSERT INTO tor_values.t_float4 (v) SELECT unnest(ARRAY['NaN', 'Infinity', '-Infinity', '-0', '0', '1e-45', '-1e-45', '1.1754944e-38',
  '1.17549e-38', '3.4028235e38', '-3.4028235e38', '0.1', '0.3', '16777217', '1.0000001', '9.999999e9', NULL])::float4;
CREATE TABLE tor_values.t_float8 (id serial, v float8);
INSERT INTO tor_values.t_float8 (v) SELECT unnest(ARRAY['NaN', 'Infinity', '-Infinity', '-0', '0', '5e-324', '-5e-324', '2.2250738585072014e-308',
  '2.225073858507201e-308', '1.7976931348623157e308', '-1.7976931348623157e308', '0.1', '0.30000000000000004', '9007199254740993',
  '1.0000000000000002', '123456789012345680', '9.5367431640625e-07', NULL])::float8;

CREATE TABLE tor_values.t_numeric (id serial, v numeric, fixed numeric(12, 4), negative_scale numeric(3, -2), tiny numeric(3, 5));
INSERT INTO tor_values.t_numeric (v) VALUES
  ('NaN'), ('Infinity'), ('-Infinity'), (0), ('-0.0'), ('0.00000'), ('1.10'), ('1.1000000000000000000000'), ('1e-16383'), ('1e131071'),
  ('-9.99e-1000'), (NULL), (repeat('1234567890', 1000)::numeric), (('0.' || repeat('0987654321', 1000))::numeric),
  (('-' || repeat('98765', 2000) || '.' || repeat('4321', 2500))::numeric);
INSERT INTO tor_values.t_numeric (fixed, negative_scale, tiny) VALUES (12345678.9012, 12345, 0.00123), ('NaN', 99900, -0.00999), (0, 0, 0);

CREATE TABLE tor_values.t_money (id serial, v money);
INSERT INTO tor_values.t_money (v) VALUES ('-92233720368547758.08'), ('92233720368547758.07'), (0), ('-0.01'), ('12,345.67'), (NULL);

-- What COPY's text format escapes, and what looks as if it were escaped already.
CREATE TABLE tor_values.t_text (id serial, v text, w varchar(40), c char(12), n name, q "char");
INSERT INTO tor_values.t_text (v, w, c, n, q) VALUES
  ('', '', '', '', ''), (NULL, NULL, NULL, NULL, NULL), ('\N', '\N', '\N', '\N', '\'), ('\\N', '\\N', '\\N', '\\N', 'N'), ('\.', '\.', '\.', '\.', '.'),
  (E'tab\there', E'\t', E'\t', E'\t', E'\t'), (E'line\nfeed', E'\n', E'\n', E'\n', E'\n'), (E'car\rriage', E'\r', E'a\r', E'\r', E'\r'),
  (E'both\r\n', E'\r\n', E'\r\nx', E'\r\n', 'x'), ('back\slash', '\', '\', '\', 'y'), ('ends in \', '\\', '\\\', '\t', ' '),
  ('\t\n\r\b\f\v\x41\101', '\x41', '\101', '\x', 'z'), (E'\b\f\v\a\x01\x7f\x1b', E'\x01', E'\x02', E'\x03', E'\x7f'),
  ('  leading and trailing  ', '  x  ', '  x  ', '  x  ', '1'), ('NULL', 'null', 'Null', 'nUll', '2'), ('"quoted, ""csv"""', '"', '''', '""', '"'),
  ('{array,like}', '(row,like)', '[1,2)', '{}', '{'), ('$1 :x %s %% ${y}', '%', '$$', '--', '%'), ('; DROP TABLE x; --', ';', '/*', '*/', ';'),
  (U&'\FEFFbyte order mark', U&'\FEFF', U&'\200B', U&'\00A0', '3'), (U&'\+10FFFF\+01F600', U&'\+01F468\200D\+01F469', 'ü', 'ñ', '4'),
  (U&'e\0301 against \00E9', U&'e\0301', U&'\00E9', U&'e\0301', '5'), (U&'\05E9\05DC\05D5\05DD \202Eright to left\202C', 'שלום', 'ש', 'ש', '6'),
  (U&'\FFFD\FFFE\FFFF\E000', U&'\2028', U&'\2029', U&'\0085', '7'), (repeat('x', 7999), repeat('é', 40), repeat('é', 12), repeat('é', 31), '8'),
  (repeat('0123456789', 30000), 'compressed and toasted', '', '', '9');
INSERT INTO tor_values.t_text (v) SELECT 'character ' || chr(i) || ' end' FROM generate_series(1, 300) i;
INSERT INTO tor_values.t_text (v, q) SELECT 'char type', i::"char" FROM generate_series(-128, 127) i;
-- A column that is the whole line: an empty line, an end-of-data mark, a null mark.
CREATE TABLE tor_values.t_lone_text (v text);
INSERT INTO tor_values.t_lone_text VALUES (''), (NULL), ('\.'), ('\N'), ('\'), (E'\n'), (E'\\.\n\\.'), (''), (NULL);

CREATE TABLE tor_values.t_bytea (id serial, v bytea);
INSERT INTO tor_values.t_bytea (v) VALUES (''), (NULL), ('\x00'), ('\x5c'), ('\x5c4e'), ('\x0a0d09'), ('\xff'), (convert_to('\x41', 'UTF8'));
INSERT INTO tor_values.t_bytea (v) SELECT decode(string_agg(lpad(to_hex(i), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, 255) i;
INSERT INTO tor_values.t_bytea (v) SELECT string_agg(sha512(i::text::bytea), '' ORDER BY i) FROM generate_series(1, 400) i;

CREATE TABLE tor_values.t_date (id serial, v date);
INSERT INTO tor_values.t_date (v) SELECT unnest(ARRAY['4713-01-01 BC', '0001-12-31 BC', '0001-01-01', '1582-10-10', '1970-01-01', '2000-02-29',
  '9999-12-31', '10000-01-01', '5874897-12-31', 'infinity', '-infinity', NULL])::date;
CREATE TABLE tor_values.t_time (id serial, v time, z timetz, short time(2), shortz timetz(0));
INSERT INTO tor_values.t_time (v, z, short, shortz) VALUES ('00:00', '00:00+15:59:59', '00:00:00.01', '00:00-15'), ('24:00', '24:00-15:59:59', '24:00', '24:00+00'),
  ('23:59:59.999999', '23:59:59.999999+05:45', '12:34:56.78', '01:02:03+05:30:15'), (NULL, NULL, NULL, NULL);
CREATE TABLE tor_values.t_timestamp (id serial, v timestamp, z timestamptz, short timestamp(3), shortz timestamptz(0));
INSERT INTO tor_values.t_timestamp (v, z) SELECT x::timestamp, x::timestamptz FROM unnest(ARRAY['4713-01-01 00:00:00 BC', '0001-12-31 23:59:59.999999 BC',
  '0001-01-01', '1883-11-18 12:03:58', '1999-12-31 23:59:59.999999', '2000-01-01', '2024-02-29 12:00:00.000001', '2038-01-19 03:14:08',
  '294276-12-31 00:00:00.999999', 'infinity', '-infinity', NULL]) x;
INSERT INTO tor_values.t_timestamp (v, z) VALUES ('294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00'),
  ('4714-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC'), ('2021-03-28 02:30', '2021-10-31 02:30:00+02'), ('2021-03-28 02:30', '2021-10-31 02:30:00+01');
INSERT INTO tor_values.t_timestamp (short, shortz) VALUES ('2020-01-01 00:00:00.1239', '2020-01-01 00:00:00.5'), ('infinity', '-infinity');
CREATE TABLE tor_values.t_interval (id serial, v interval, m interval month, s interval day to second(2));
INSERT INTO tor_values.t_interval (v) SELECT unnest(ARRAY['0', '-178000000 years', '178000000 years', '2147483647 days', '-2147483648 days',
  '1 year -2 mons +3 days -04:05:06.789', '-1 year +2 mons -3 days +04:05:06.789', '-1 days +02:03:00', '1 mon', '30 days', '24:00:00', '-00:00:00.000001',
  '2562047788:00:54.775807', '-2562047788:00:54.775807', 'P1Y2M3DT4H5M6S', NULL])::interval;
INSERT INTO tor_values.t_interval (m, s) VALUES ('13 months', '4 days 05:06:07.899');

CREATE TABLE tor_values.t_uuid AS SELECT * FROM (VALUES (1, '00000000-0000-0000-0000-000000000000'::uuid), (2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
  (3, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), (4, NULL)) v (id, v);
CREATE TABLE tor_values.t_bit (id serial, v bit(3), w varbit, x varbit(9), one bit);
INSERT INTO tor_values.t_bit (v, w, x, one) VALUES (B'101', B'', B'', B'1'), (B'000', repeat('10', 5000)::varbit, B'111000111', B'0'), (NULL, NULL, NULL, NULL);
CREATE TABLE tor_values.t_network (id serial, i inet, c cidr, m macaddr, m8 macaddr8);
INSERT INTO tor_values.t_network (i, c, m, m8) VALUES ('0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00'),
  ('192.168.0.1/24', '192.168.0.0/24', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff'), ('255.255.255.255', '10.0.0.0/8', '08-00-2b-01-02-03', '08002b:0102030405'),
  ('::/0', '::/0', NULL, NULL), ('::ffff:1.2.3.4/128', 'fe80::/10', NULL, NULL), ('2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/1', '2001:db8::/32', NULL, NULL), (NULL, NULL, NULL, NULL);

CREATE TABLE tor_values.t_geometry (id serial, p point, l line, s lseg, b box, pa path, po polygon, c circle);
INSERT INTO tor_values.t_geometry (p, l, s, b, pa, po, c) VALUES
  ('(0,-0)', '{1,-1,0}', '[(0,0),(1,1)]', '(1,1),(0,0)', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(2,0))', '<(0,0),1>'),
  ('(NaN,Infinity)', '{0,1,-0}', '[(-Infinity,1e-300),(NaN,5e-324)]', '(Infinity,1),(-Infinity,0)', '[(0,0),(0.1,0.30000000000000004)]', '((NaN,0))', '<(1e308,-1e-308),0>'),
  (NULL, NULL, NULL, NULL, '[(1,2)]', NULL, '<(0,0),Infinity>'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE tor_values.t_json (id serial, v json, b jsonb, p jsonpath);
INSERT INTO tor_values.t_json (v, b, p) VALUES
  ('null', 'null', '$'), ('""', '""', '$.*'), ('{}', '{}', 'lax $.a[*] ? (@.b > 1 && @.c == "it''s \"q\"")'), ('[]', '[]', 'strict $[0 to last]'),
  ('  { "b" : 1,"a":2, "a" : 3 , "" : "" } ', '{"b":1,"a":2,"a":3,"":""}', '$."odd \"key\"\n"'), (E'[1,\n\t2]', '[1.10, -0, 1e-400, 1e400, 12345678901234567890123]', '$ like_regex "^a\\d+$" flag "i"'),
  ('"\u00e9\n\t\\ \" \/ \ud83d\ude00"', '"\u00e9\n\t\\ \" \/ \ud83d\ude00"', '$.datetime("YYYY-MM-DD")'), ('"\\N"', '"\\N"', 'exists($.x)'), (NULL, NULL, NULL);
INSERT INTO tor_values.t_json (b) SELECT jsonb_agg(jsonb_build_object('i', i, 'text', repeat('é"\', i % 7))) FROM generate_series(1, 3000) i;

CREATE TABLE tor_values.t_search (id serial, v tsvector, q tsquery);
INSERT INTO tor_values.t_search (v, q) VALUES ('', ''), ('''a b'':1A,2B ''it''''s'':3C ''\\'':16383D "x"', '''it''''s'' & !(b | ''c d'':*AB) <-> e <5> f'),
  ('plain words only', '!!a'), (to_tsvector('english', 'The quick brown foxes jumped, jumped & jumped'), to_tsquery('simple', 'a:ABCD* <0> b')), (NULL, NULL);

CREATE TABLE tor_values.t_system (id serial, o oid, l pg_lsn, t tid, x xid, x8 xid8, c cid, s pg_snapshot, ts txid_snapshot, ov oidvector, iv int2vector, rc refcursor);
INSERT INTO tor_values.t_system (o, l, t, x, x8, c, s, ts, ov, iv, rc) VALUES (0, '0/0', '(0,0)', '0', '0', '0', '1:1:', '1:1:', '', '', ''),
  (4294967295, 'FFFFFFFF/FFFFFFFF', '(4294967295,65535)', '4294967295', '18446744073709551615', '4294967295', '10:20:10,14,15', '10:20:10,14,15', '1 2 4294967295', '-32768 0 32767', 'a "cursor"'),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- Names in place of numbers: these texts depend on other catalogs.
CREATE TABLE tor_values.t_catalog (id serial, cl regclass, co regcollation, cf regconfig, d regdictionary, n regnamespace, o regoper, os regoperator, p regproc, ps regprocedure, r regrole, t regtype);
INSERT INTO tor_values.t_catalog (cl, co, cf, d, n, o, os, p, ps, r, t) VALUES
  ('pg_catalog.pg_class', 'pg_catalog."C"', 'pg_catalog.english', 'pg_catalog.simple', 'pg_catalog', 'pg_catalog.||/', 'pg_catalog.+(int4,int4)', 'pg_catalog.now', 'pg_catalog.abs(int4)', 'tor_owner', 'pg_catalog.int4[]'),
  ('"new
line"."new
line"', NULL, NULL, NULL, '"sp ace"', NULL, NULL, NULL, 'tor_types.is_even(int4)', '"tor Odd ""näme"" %s\"', 'tor_types.mood'),
  (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), (4294967295, 4294967295, 4294967295, 4294967295, 4294967295, 4294967295, 4294967295, 4294967295, 4294967295, 4294967295, 4294967295),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE tor_values.t_acl (id serial, v aclitem, vs aclitem[]);
INSERT INTO tor_values.t_acl (v, vs) VALUES ('tor_reader=r/tor_owner', '{=r/tor_owner,tor_writer=arw*/tor_owner}'), ('"tor Odd ""näme"" %s\"=r*w/tor_owner', '{}'), (NULL, NULL);

CREATE TABLE tor_values.t_range (id serial, i int4range, b int8range, n numrange, d daterange, t tsrange, z tstzrange, im int4multirange, nm nummultirange, dm datemultirange, zm tstzmultirange);
INSERT INTO tor_values.t_range (i, b, n, d, t, z, im, nm, dm, zm) VALUES
  ('empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}', '{}', '{}'), ('(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '{(,)}', '{(,)}', '{(,)}', '{(,)}'),
  ('[1,2]', '(1,9223372036854775807)', '[-Infinity,NaN]', '[-infinity,infinity]', '["2020-01-01 00:00:00.5",infinity)', '(-infinity,"2020-06-01 12:00+02"]',
   '{[1,3),[5,8)}', '{[1.10,1.2),(3,]}', '{[2020-01-01,2020-02-01),[infinity,infinity]}', '{["2020-01-01 00:00+00","2020-01-01 00:00:01+00"]}'),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE tor_values.t_array (id serial, i int[], t text[], d date[][], f float8[], b bytea[], j jsonb[], n numeric(5, 2)[], c char(3)[], iv interval[], bx box[], r int4range[], h oid[]);
INSERT INTO tor_values.t_array (i, t, d, f, b, j, n, c, iv, bx, r, h) VALUES
  ('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
  ('[-3:-1]={1,NULL,3}', '{NULL,"NULL",null,"","\\N","\\\\","a,b","{}","\"","tab	","line
feed"," spaced "}', '[0:1][5:6]={{2020-01-01,NULL},{infinity,-infinity}}', '{NaN,-0,5e-324,NULL,-Infinity}', '{"\\\\x00ff",NULL,""}',
   ARRAY['{"a": "b,c"}', 'null', NULL]::jsonb[], '{1.10,NaN,NULL}', '{a,"b ",""}', '{"1 day -00:00:01",NULL}', '{(1,1),(0,0);(2,2),(-0,0)}', '{"[1,3)",empty,"(,)",NULL}', '{0,4294967295}'),
  ('[1:2][2:3][3:4]={{{1,2},{3,4}},{{5,6},{7,8}}}', '[2147483646:2147483646]={max}', '{{NULL}}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  ('{{{{{{1}}}}}}', '{{"a"},{NULL}}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

--! requires: major>=17
CREATE TABLE tor_values.t_interval17 (id serial, v interval);
INSERT INTO tor_values.t_interval17 (v) VALUES ('infinity'), ('-infinity'), (NULL);

--! requires: xml
CREATE TABLE tor_values.t_xml (id serial, v xml);
INSERT INTO tor_values.t_xml (v) VALUES ('<a/>'), ('<?xml version="1.0"?><a b="c &amp; d"><![CDATA[<x>]]></a>'), (NULL),
  (xmlparse(CONTENT 'text <b>and</b> markup')), (xmlparse(CONTENT '')), (xmlparse(DOCUMENT '<?xml version="1.0"?><ü>é\t</ü>'));
CREATE VIEW tor_values.v_xml AS SELECT xmlelement(name foo, xmlattributes(id AS bar), v) AS e, x.name
  FROM tor_values.t_xml, XMLTABLE('/a' PASSING v COLUMNS name text PATH '@b' DEFAULT 'none') x;
