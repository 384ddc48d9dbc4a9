"""Everything that an operator observes: counters, metrics, backlog, stalls and logs.

- `counters` are the numbers of one process, in a file that outlives it.
- `metrics` sums them up in a separate process, which `metrics_process` starts and `metrics_server` serves.
- `backlog` computes lag from the journals on the disk, for any writer and forwarder.
- `stalls` notices that shipping makes no progress. `log` formats log lines.

Nothing here knows Kafka's client or answers requests, and nothing here prints a whole key or personal data.
"""
