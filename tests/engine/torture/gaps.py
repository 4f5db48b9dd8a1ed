"""What pg_dump and pg_restore themselves do not bring back, so that the torture database leaves it out."""

from __future__ import annotations

KNOWN_PG_DUMP_GAPS: dict[str, str] = {
    "invalid indexes": "pg_dump leaves them out; tor_indexes.invalid_one exists in the source only",
    "foreign keys marked valid that rows violate": "ADD CONSTRAINT checks the rows; only NOT VALID ones are here",
    "ALTER TABLE … INHERIT with another column order": "pg_restore puts inherited columns first",
    "stale materialized views": "contents are computed anew at restore; all here are fresh when built",
    "a filled materialized view on an unfilled one": "REFRESH fails at restore",
    "ALTER DATABASE SET default_transaction_read_only": "pg_restore --create sets it before it restores the rest",
    "ALTER DATABASE SET array_nulls = off": "pg_dump does not reset it, so NULL elements come back as text",
    "checks that read other tables' rows": "whether they hold depends on the order in which tables are loaded",
    "exclusion constraints on partitioned tables of 17": "pg_restore cannot attach the partition's index; 18 can",
    "names of NOT NULL constraints of 18": "a table restored before its parent may take the name",
    "text marks in a view's CYCLE clause": "the server prints them with a cast that its own parser refuses",
    "interval of the smallest 64-bit time": "the server prints -2562047788:00:54.775808 and refuses to read it",
    "extension holdfast_clash": "rows of its configuration table collide with what CREATE EXTENSION puts there",
    "rows of extension tables outside extcondition": "they belong to the extension, not to the database",
    "versions of extensions": "pg_dump writes CREATE EXTENSION without one: the target's default comes back",
    "security labels": "need a label provider, which no server at hand has",
    "names of roles and databases with newlines": "refused by newer pg_dumpall and by pg_upgrade",
    "rights on parameters (GRANT SET ON PARAMETER)": "belong to the cluster; pg_dump does not see them",
    "passwords of roles": "not readable without superuser",
}
"""Case → why."""
