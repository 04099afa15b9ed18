"""Takes in what servers tell of by themselves, and makes a job of each event for the application's own workers."""
