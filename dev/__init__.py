"""What work on restbroker needs beside its tests: what makes pages (`tools`), and measurements (`benchmarks`)."""
