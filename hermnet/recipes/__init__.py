"""From a YAML file and overrides to checked options."""
