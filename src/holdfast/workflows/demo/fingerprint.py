"""What a database holds, judged by SQL of its own and not by Holdfast's reading: to compare before and after."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.postgres.address import ServerAddress
from holdfast.postgres.names import quote
from holdfast.postgres.session import connect

_TABLES = """
select n.nspname, c.relname, c.relkind::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1, 2
"""

# Text of definitions, as the server itself prints them, by what they belong to.
_DEFINITIONS = """
select 'column ' || c.oid::regclass || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
       || ' ' || a.attidentity::text || a.attgenerated::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'shop'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
union all select 'constraint ' || conname || ' on ' || conrelid::regclass, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'shop'::regnamespace and conrelid <> 0
union all select 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'shop'::regnamespace
union all select 'trigger ' || tgname, pg_get_triggerdef(oid) || tgenabled::text
from pg_trigger where not tgisinternal
union all select 'policy ' || polname, pg_get_expr(polqual, polrelid) from pg_policy
union all select 'view ' || c.oid::regclass, pg_get_viewdef(c.oid)
from pg_class c where c.relnamespace = 'shop'::regnamespace and c.relkind in ('v', 'm')
union all select 'function ' || oid::regprocedure, pg_get_functiondef(oid)
from pg_proc where pronamespace = 'shop'::regnamespace
union all select 'type ' || t.typname, string_agg(e.enumlabel, ',' order by e.enumsortorder)
from pg_type t join pg_enum e on e.enumtypid = t.oid group by 1
union all select 'sequence ' || schemaname || '.' || sequencename, last_value::text from pg_sequences
union all select 'large object ' || oid, md5(lo_get(oid)) || coalesce(obj_description(oid, 'pg_largeobject'), '')
from pg_largeobject_metadata
order by 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Per table, its rows and an MD5 over them in an order of their own; and every definition's text."""

    tables: dict[str, tuple[int, str]]
    definitions: dict[str, str]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.tables.values())


def fingerprint(address: ServerAddress) -> Fingerprint:
    with connect(address, application_name="holdfast/demo") as connection:
        tables = {}
        for schema, name, _ in connection.execute(_TABLES).fetchall():
            rows, digest = connection.execute(
                f"select count(*), coalesce(md5(string_agg(line, '' order by line)), '')"  # noqa: S608
                f" from (select md5(t::text) as line from only {quote(schema)}.{quote(name)} t) as lines".encode()
            ).fetchall()[0]
            tables[f"{schema}.{name}"] = (int(rows), str(digest))
        definitions = {str(key): str(text) for key, text in connection.execute(_DEFINITIONS).fetchall()}
    return Fingerprint(tables=tables, definitions=definitions)


def differences(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """Everything that is not the same, by name; empty if all is."""
    found = []
    for kind, left, right in (
        ("table", before.tables, after.tables),
        ("definition", before.definitions, after.definitions),
    ):
        found += [f"{kind} {name}" for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
    return tuple(found)
