pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
admin_socket = "{directory}/admin.sock"
certificates = "{directory}"
run_as_root = true
log = {{ {{ levels = {{ min = "info" }}; to = "file"; filename = "{directory}/prosody.log"; timestamps = true }} }}
plugin_paths = {{ {plugin_paths} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s_port} }}
http_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {port} }}
https_ports = {{}}
http_default_host = "{host}"
modules_enabled = {{
    "saslauth", "disco", "ping", "version", "tokenauth", "invites", "test_control", "admin_adhoc", "admin_shell"
}}
modules_disabled = {{ "s2s", "tls", "posix" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
-- A login by PLAIN costs nothing; SCRAM would cost each side 10 ms.
disable_sasl_mechanisms = {{ "SCRAM-SHA-1", "SCRAM-SHA-256", "DIGEST-MD5" }}
authentication = "{authentication}"
admins = {{ "admin@{host}" }}
-- Without it, mod_http_admin_api crashes over its metrics.
statistics = "internal"
