"""HTTP to one target: a request goes out, a response or a truthful error comes back."""
