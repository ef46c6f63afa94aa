"""Campaigns that try to break the explorer: kills, damage, strangers' files, several processes, long use. Not in CI."""
