"""What an operator sees: counters, metrics and the process that serves them, the backlog on the disk, logs."""
