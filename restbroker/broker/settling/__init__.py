"""Back to Redis: finished jobs are settled in groups, told of, and remembered for a while."""
