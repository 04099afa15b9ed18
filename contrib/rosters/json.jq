# Writes a JSON file of rosters, {"john": {"ann@example.org": {"name": "Ann"}}}, as NDJSON for `restbroker roster import`:
#     jq -c -f json.jq rosters.json > rosters.ndjson
to_entries[] | {user: .key, contacts: .value}
