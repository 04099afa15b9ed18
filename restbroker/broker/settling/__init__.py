"""Back to Redis: finished jobs are settled in groups, reported, and remembered for a while."""
