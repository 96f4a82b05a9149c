"""The one error that users see when their input is at fault."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be used: names the file, object or argument at fault, and says what to do.

    Texts name arguments of Python functions in backticks, alone (`n`) or with a value (`resume=True`).
    The command line writes its own options instead (-n, --resume).

    Parameters
    ----------
    where : str or path
        The file, object id or argument at fault.
    what : str
        What is wrong with it.
    hint : str, optional
        What the user can do.
    place : str
        Lines that stand below the sentence and point at the faulty part of a longer text.

    Examples
    --------
    >>> raise pix2spec.InputError("`n`", "0 candidates", "draw at least one")
    Traceback (most recent call last):
    pix2spec.errors.InputError: `n`: 0 candidates (draw at least one)
    """

    def __init__(self, where, what: str, hint: str = "", place: str = ""):
        self.where, self.what, self.hint, self.place = str(where), what, hint, place
        text = f"{where}: {what}" + (f" ({hint})" if hint else "")
        # Texts of files may hold line breaks and what steers a terminal.
        text = "".join(c if c.isprintable() else " " for c in text)
        super().__init__(f"{text}\n{place}" if place else text)

    def __reduce__(self):
        """Errors come back from other processes: without this, as something that kills the pool."""
        return type(self), (self.where, self.what, self.hint, self.place)
