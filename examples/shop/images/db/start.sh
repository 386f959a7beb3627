#!/bin/sh
# Start PostgreSQL on the data in $PGDATA; create it first when there is none.
#
# The data comes into being under another name and is renamed when it is whole: a start that was interrupted
# begins again, and one that succeeded never does.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    new="$PGDATA.new"
    rm -rf "$new"
    password="$(mktemp)"
    printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
    initdb --pgdata "$new" --username "$POSTGRES_USER" --pwfile "$password" \
        --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8
    rm "$password"
    echo 'host all all all scram-sha-256' >> "$new/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\";" | postgres --single -D "$new" -c jit=off postgres
    sync
    mv "$new" "$PGDATA"
fi

# A volume's fsGroup gives its group access to everything; PostgreSQL insists on having the folder for itself.
chmod 0700 "$PGDATA"

exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off "$@"
