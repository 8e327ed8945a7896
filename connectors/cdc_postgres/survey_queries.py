"""The survey's questions. Names come back as JSON lists, for any character may be in them."""

from __future__ import annotations

from typing import Final

SETTINGS: Final = "SELECT name, setting, vartype FROM pg_settings"

ROLE: Final = """
SELECT r.rolname, (r.oid = 10)::text, r.rolcanlogin::text, r.rolsuper::text, r.rolreplication::text,
  has_database_privilege(r.oid, current_database(), 'CONNECT')::text,
  has_database_privilege(r.oid, current_database(), 'CREATE')::text, r.rolcreaterole::text, r.rolcreatedb::text
FROM pg_roles r WHERE r.rolname = $role"""

# A role that does not exist has no rights: the functions answer NULL for it.
RIGHTS: Final = """
SELECT n.nspname, c.relname, has_schema_privilege(r.oid, n.oid, 'USAGE')::text,
  has_any_column_privilege(r.oid, c.oid, 'SELECT')::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_roles r ON r.rolname = $role
WHERE c.relkind IN ('r', 'p', 'f')"""

# Whether an UPDATE or DELETE of relation `$r` can name its row in the log (CheckCmdReplicaIdentity in the server).
_KEYED: Final = """
CASE $r.relreplident WHEN 'f' THEN true
  WHEN 'd' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $r.oid AND i.indisprimary)
  WHEN 'i' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $r.oid AND i.indisreplident) ELSE false END"""

# The candidate is an index that REPLICA IDENTITY USING INDEX takes (manual: "ALTER TABLE").
EXTRAS: Final = """
SELECT n.nspname, c.relname,
  (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attgenerated = 's' AND NOT a.attisdropped)::text,
  (SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid))
      ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped)::text,
  (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attlen = -1 AND a.attstorage <> 'p' AND NOT a.attisdropped)::text,
  (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a, pg_index i
    WHERE i.indrelid = c.oid AND a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
    AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)::text,
  (SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
    AND i.indexprs IS NULL AND NOT EXISTS (SELECT FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]) AND NOT a.attnotnull)
    ORDER BY x.relname LIMIT 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"""

RELATED: Final = """
SELECT n.nspname, c.relname,
  CASE c.relkind WHEN 'p' THEN (SELECT json_agg(json_build_array(ln.nspname, l.relname, l.relreplident, $keyed)
      ORDER BY ln.nspname, l.relname)
    FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace
    WHERE t.isleaf AND l.oid <> c.oid AND l.relkind = 'r') END::text,
  CASE WHEN c.relispartition THEN (SELECT json_agg(json_build_array(an.nspname, a.relname))
    FROM pg_partition_ancestors(c.oid) t JOIN pg_class a ON a.oid = t.relid JOIN pg_namespace an ON an.oid = a.relnamespace
    WHERE a.oid <> c.oid) END::text,
  (SELECT json_agg(json_build_array(hn.nspname, h.relname) ORDER BY hn.nspname, h.relname)
    FROM pg_inherits g JOIN pg_class h ON h.oid = g.inhrelid JOIN pg_namespace hn ON hn.oid = h.relnamespace
    WHERE g.inhparent = c.oid AND NOT h.relispartition)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND (c.relkind = 'p' OR c.relispartition OR c.relhassubclass)
AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""".replace("$keyed", _KEYED.replace("$r", "l"))

OTHER_KINDS: Final = """
SELECT c.relkind, c.relpersistence FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $schema AND c.relname = $name"""

OWNER: Final = """
SELECT pg_has_role(p.pubowner, 'USAGE')::text, NULL FROM pg_publication p WHERE p.pubname = $publication"""

OWNER_18: Final = OWNER.replace("NULL", "p.pubgencols::text")

# Tables that were named: a root is among them even where its partitions are published under their own names.
MEMBERS: Final = """
SELECT n.nspname, c.relname FROM pg_publication_rel pr JOIN pg_publication p ON p.oid = pr.prpubid
JOIN pg_class c ON c.oid = pr.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $publication"""

# Column lists and row filters are there from 15 on.
FILTERS: Final = """
SELECT n.nspname, c.relname, CASE WHEN pr.prattrs IS NOT NULL THEN (SELECT json_agg(a.attname ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (pr.prattrs::int2[])) END::text,
  pg_get_expr(pr.prqual, pr.prrelid)
FROM pg_publication_rel pr JOIN pg_publication p ON p.oid = pr.prpubid JOIN pg_class c ON c.oid = pr.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $publication AND (pr.prattrs IS NOT NULL OR pr.prqual IS NOT NULL)"""
