"""Assembly: the only room that knows every part. It makes a running broker of a configuration."""
