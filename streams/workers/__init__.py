"""What runs in child processes: the code that needs models, never imported by the process that serves Kafka."""
