"""From Redis to the workers: jobs are waited for, fetched in batches, and handed over one by one."""
