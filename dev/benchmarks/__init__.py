"""Benchmarks beside what restbroker could be replaced by: `make bench`; docs/appendix/performance.md has figures."""
