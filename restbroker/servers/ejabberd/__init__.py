"""ejabberd through its module `mod_http_api`."""
