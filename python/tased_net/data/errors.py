"""The error of everything about data."""


class DataError(RuntimeError):
    """A dataset, or a file of one, that cannot be used."""
