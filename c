{"command":"check_account","user":"a","host":"h"}
