"""Prosody: stanzas through mod_rest, and what mod_http_admin_api and mod_post_msg offer beside it."""
