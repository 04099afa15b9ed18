"""Why a job's arguments make no request. The connectors' requests raise it before anything is sent."""


class InvalidArguments(Exception):
    """The job's arguments make no request. The text names the argument, and shows no value.

    `code`: the server's own word for it, and `place`: the argument that it is about, where a kind knows them.
    """

    def __init__(self, message: str, *, code: str = "", place: str = "") -> None:
        """See the class."""
        super().__init__(message)
        self.code = code
        self.place = place
