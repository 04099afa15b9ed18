"""What people and machines look at over HTTP: the figures, and whether the process is well."""
