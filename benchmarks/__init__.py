"""What the explorer costs in time and memory, measured on this machine and held against its targets."""
