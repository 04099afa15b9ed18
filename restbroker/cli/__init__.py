"""The command line: one file per command, loaded only when it is asked for. stdout is data, stderr is talk."""
