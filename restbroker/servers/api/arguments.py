"""Why a job's arguments make no request. The connectors' requests raise it before anything is sent."""


class InvalidArguments(Exception):
    """The job's arguments make no request. The text names the argument, and shows no value."""
