"""What a worker process does besides answering: it keeps journals, keys and limits, and stops in order.

`worker` holds all of it, `granian_inline` decides in which thread requests are answered, `group_commit` lets answers wait for a
flush, `key_file` and `rate_limits` keep the keys. Nothing here knows Kafka but the line that starts the forwarder.
"""
