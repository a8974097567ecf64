"""What servers themselves list as being in a database, whatever a client program makes of it.

A dump program that leaves something out leaves it out of the original's schema as well as of the copy's:
the two are then the same, and only these lists are not.
"""

from __future__ import annotations

OF_MYSQL = (
    "SELECT 'trigger', TRIGGER_NAME, EVENT_OBJECT_TABLE, CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION)"
    " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"
    " UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME, '', '' FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = DATABASE()"
    " UNION ALL SELECT 'event', EVENT_NAME, '', '' FROM information_schema.EVENTS"
    " WHERE EVENT_SCHEMA = DATABASE()"
    " UNION ALL SELECT TABLE_TYPE, TABLE_NAME, COALESCE(ENGINE, ''), COALESCE(TABLE_COLLATION, '')"
    " FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " UNION ALL SELECT 'index', INDEX_NAME, TABLE_NAME, CONCAT(SEQ_IN_INDEX, ' ', COALESCE(COLUMN_NAME, ''))"
    " FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()"
    " UNION ALL SELECT CONSTRAINT_TYPE, CONSTRAINT_NAME, TABLE_NAME, ''"
    " FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = DATABASE()"
    " ORDER BY 1, 2, 3, 4"
)
OF_POSTGRESQL = """
WITH own AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND left(nspname, 3) <> 'pg_'
), of_extensions AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
)
SELECT 'relation', relkind::text, nspname, relname FROM pg_class JOIN own ON own.oid = relnamespace
WHERE ('pg_class'::regclass, pg_class.oid) NOT IN (SELECT classid, objid FROM of_extensions)
UNION ALL
SELECT 'routine', prokind::text, nspname,
    proname || '(' || pg_get_function_identity_arguments(pg_proc.oid) || ')'
FROM pg_proc JOIN own ON own.oid = pronamespace
WHERE ('pg_proc'::regclass, pg_proc.oid) NOT IN (SELECT classid, objid FROM of_extensions)
UNION ALL
SELECT 'trigger', tgenabled::text, nspname || '.' || relname, tgname
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN own ON own.oid = relnamespace
WHERE NOT tgisinternal
UNION ALL
SELECT 'constraint', contype::text, nspname, conname FROM pg_constraint JOIN own ON own.oid = connamespace
UNION ALL
SELECT 'rule', ev_type::text, nspname || '.' || relname, rulename
FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class JOIN own ON own.oid = relnamespace
UNION ALL
SELECT 'policy', polcmd::text, nspname || '.' || relname, polname
FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid JOIN own ON own.oid = relnamespace
UNION ALL SELECT 'event trigger', evtenabled::text, '', evtname FROM pg_event_trigger
UNION ALL SELECT 'extension', '', '', extname FROM pg_extension
ORDER BY 1, 2, 3, 4
"""
