"""What the demo and the crash test both need: a stand-in for ejabberd, and brokers as child processes."""
