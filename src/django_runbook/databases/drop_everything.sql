-- Empties a PostgreSQL database, inside the transaction that then loads a dump into it.
--
-- An extension and what belongs to it stay: a dump creates extensions with IF NOT EXISTS, and an
-- application's role is seldom allowed to. Schemas other than "public" go as a whole, "public" object by
-- object, because a dump expects it to be there.

SELECT pg_catalog.set_config('search_path', '', false);

DO $runbook$
DECLARE
    command text;
    commands text[];
BEGIN
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;

    WITH found (place, classid, objid, command) AS (
        SELECT 1, 'pg_event_trigger'::regclass::oid, oid, format('DROP EVENT TRIGGER %I', evtname)
        FROM pg_event_trigger
        UNION ALL
        SELECT 2, 'pg_publication'::regclass::oid, oid, format('DROP PUBLICATION %I', pubname)
        FROM pg_publication
        UNION ALL
        SELECT 3, 'pg_namespace'::regclass::oid, oid, format('DROP SCHEMA %I CASCADE', nspname)
        FROM pg_namespace
        WHERE nspname NOT IN ('public', 'information_schema') AND left(nspname, 3) <> 'pg_'
        UNION ALL
        -- Whatever lies in a schema notes that it depends on that schema.
        SELECT 4, held.classid, held.objid,
            format('DROP %s IF EXISTS %s CASCADE', replace(object.type, ' object', ''), object.identity)
        FROM pg_depend AS held, pg_identify_object(held.classid, held.objid, 0) AS object
        WHERE held.refclassid = 'pg_namespace'::regclass
            AND held.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
            AND held.deptype = 'n'
            AND held.classid <> 'pg_extension'::regclass
        UNION ALL
        SELECT 5, 'pg_foreign_server'::regclass::oid, oid, format('DROP SERVER %I CASCADE', srvname)
        FROM pg_foreign_server
        UNION ALL
        SELECT 6, 'pg_foreign_data_wrapper'::regclass::oid, oid,
            format('DROP FOREIGN DATA WRAPPER %I CASCADE', fdwname)
        FROM pg_foreign_data_wrapper
    )
    SELECT array_agg(found.command ORDER BY place) INTO commands
    FROM found
    WHERE NOT EXISTS (
        -- "e": belongs to an extension. "i": goes with its owner, as an identity column's sequence does.
        SELECT FROM pg_depend AS part
        WHERE part.classid = found.classid AND part.objid = found.objid AND part.objsubid = 0
            AND part.deptype IN ('e', 'i')
    );

    FOREACH command IN ARRAY coalesce(commands, '{}') LOOP
        EXECUTE command;
    END LOOP;
END
$runbook$;
