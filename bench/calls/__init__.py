"""What `bench_calls.py` consists of: the processes, the set-up, the clients."""
