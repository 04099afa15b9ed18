"""What the demo and the crash test both need: stand-ins for servers, and brokers as child processes."""
