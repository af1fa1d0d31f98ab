#!/bin/sh
# A user for Grafana that reads, and changes nothing.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$LOOMSIGHT_GRAFANA_PASSWORD" -U loomsight loomsight <<'SQL'
CREATE ROLE grafana LOGIN PASSWORD :'password';
ALTER DEFAULT PRIVILEGES FOR ROLE loomsight IN SCHEMA public GRANT SELECT ON TABLES TO grafana;
SQL
