#!/bin/bash
# The release by hand: a level more in the organisation chart, Direction → Sous-direction → Service.
#
# The order matters: dumpdata before migrate dies with « Unknown column 'core_service.sous_direction_id' ».
# If a step fails, stop there: migrate does not roll back on MySQL and MariaDB; restore the backup.
#
# Environment: DATABASE_URL as for the project, BACKUPS (var/sauvegardes), GUNICORN_PID_FILE (var/gunicorn.pid).

set -euo pipefail
umask 077
cd "$(dirname "$0")"

BACKUPS=${BACKUPS:-var/sauvegardes}
GUNICORN_PID_FILE=${GUNICORN_PID_FILE:-var/gunicorn.pid}
mkdir -p "$BACKUPS"

title() { printf '\n== %s\n' "$*"; }
ask() { python manage.py shell -v 0 -c "$1"; }

database_settings() { # as shell variables: ENGINE NAME USER PASSWORD HOST PORT
    ask '
import shlex
from django.db import connection
for name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT"):
    value = shlex.quote(str(connection.settings_dict[name]))
    print(f"DB_{name}={value}")'
}

backup() { # passwords go through the environment: an argument is seen by everyone in ps
    local settings
    settings=$(database_settings)
    eval "$settings"
    case "$DB_ENGINE" in
        *mysql)
            local place=(${DB_HOST:+--host="$DB_HOST"} ${DB_PORT:+--port="$DB_PORT"})
            [[ $DB_HOST == /* ]] && place=(--socket="$DB_HOST")
            MYSQL_PWD=$DB_PASSWORD mysqldump --user="$DB_USER" "${place[@]}" \
                --single-transaction --routines --triggers "$DB_NAME" > "$BACKUPS/base.sql"
            ;;
        *postgresql)
            PGPASSWORD=$DB_PASSWORD pg_dump --format=custom --file="$BACKUPS/base.dump" \
                ${DB_USER:+--username="$DB_USER"} ${DB_HOST:+--host="$DB_HOST"} ${DB_PORT:+--port="$DB_PORT"} \
                --dbname="$DB_NAME"
            ;;
        *sqlite3) # not cp: it would miss what is still in the write-ahead log
            rm -f "$BACKUPS/base.sqlite3"
            TARGET=$BACKUPS/base.sqlite3 ask '
import os
from django.db import connection
connection.cursor().execute("VACUUM INTO %s", [os.environ["TARGET"]])'
            ;;
    esac
}

title "1. Sauvegarde"
backup
ls -l "$BACKUPS"

title "2. Migrations"
python manage.py migrate core 0033
python manage.py migrate core 0034

title "3. Déplacement des services"
python migrate_services_to_sous_directions.py

title "4. Services sans sous-direction (0 attendu)"
left=$(ask '
from core.models import Service
print(Service.objects.filter(direction__isnull=False, sous_direction__isnull=True).count())')
echo "$left"
[[ $left == 0 ]]

title "5. Export"
python manage.py dumpdata core.Service --output "$BACKUPS/backup_services.json"
python manage.py dumpdata core.SousDirection --output "$BACKUPS/backup_sousdirections.json"

title "6. Redémarrage"
if [[ -f $GUNICORN_PID_FILE ]]; then
    kill -HUP "$(< "$GUNICORN_PID_FILE")"
else
    echo "gunicorn ne tourne pas ($GUNICORN_PID_FILE n'existe pas)."
fi

title "Terminé"
