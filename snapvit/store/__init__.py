"""The cache on disk: manifests, artifacts as files, keys, locks. It knows no stage by name."""
