"""What an operator does: looks, pushes, repairs. Plain functions on the store, for the command line and web pages."""
