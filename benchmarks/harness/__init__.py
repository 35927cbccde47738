"""What drives the benchmark: workloads, child processes, timing, tables and figures."""
