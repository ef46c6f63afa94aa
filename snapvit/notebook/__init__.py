"""The library's front door: what `snapvit.open` and `snapvit.run` give, for notebooks and scripts."""
