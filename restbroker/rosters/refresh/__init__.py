"""Prosody with mod_http_roster_admin: rosters in Redis, and the refreshes that tell Prosody of them."""
