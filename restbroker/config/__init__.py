"""Configuration: what the operator wrote, checked and typed. The attrs classes here are the list of keys."""
