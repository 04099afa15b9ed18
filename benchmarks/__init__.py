"""Benchmarks beside what restbroker could be replaced by: `make bench`; docs/performance.md has the figures."""
