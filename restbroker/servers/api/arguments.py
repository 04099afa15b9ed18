"""The error of a job whose arguments make no request. The connectors' requests raise it before anything is sent."""


class InvalidArguments(Exception):
    """No request can be made of the job's arguments. The text names the argument that is wrong, and shows no value.

    If a kind knows them, `code` is the server's own word for the error, and `path` the argument that it is about.
    """

    def __init__(self, message: str, *, code: str = "", path: str = "") -> None:
        """Take the text of the error, and what a kind knows beyond it."""
        super().__init__(message)
        self.code = code
        self.path = path
