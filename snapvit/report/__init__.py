"""What a run found as one offline page, to attach to a decision."""
