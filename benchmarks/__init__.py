"""What the explorer costs in time and memory, measured on this machine and held against its targets."""

from snapvit.environment import prepare

prepare()  # as the explorer itself does, before torch is imported
