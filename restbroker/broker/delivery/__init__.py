"""One job at a time: let in, sent to the target through the gate, and given its settlement by its worker."""
