"""Config, stages, store and jobs: what turns a request into a finished, cached run."""
