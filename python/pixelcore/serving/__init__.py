"""The life of a worker process around the answering of requests (contract, sections 6 and 7).

- `worker` owns everything else here, starts it, and stops it in order.
- `granian_inline` chooses the thread that answers. `group_commit` lets answers wait for a flush. `scheduling` sets time slices.
- `housekeeping` flushes, repairs and measures the journals. `safety` is the state of ``/readyz``.
- `key_file`, `rate_limits` and `persons` keep the write keys, their limits, and the consent list up to date.
- `collector` makes the core's collector. `handover` stops a worker behind a proxy.

Invariants: a request always gets the GIF, and ``/readyz`` says 503 while events are being lost. A key file that becomes wrong
changes nothing. Only `worker` knows that there is a forwarder; nothing here knows Kafka.
"""
