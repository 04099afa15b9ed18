"""The error of a job whose arguments make no request. The connectors' requests raise it before anything is sent."""


class InvalidArguments(Exception):
    """No request can be made of the job's arguments. The text names the argument that is wrong, and shows no value."""
