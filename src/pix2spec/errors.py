"""The one error that users see when their input is at fault."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be used: says which file or object, which field, and what to do about it.

    Parameters
    ----------
    where : str or path
        The file, object id or setting at fault.
    what : str
        What is wrong with it.
    hint : str, optional
        What the user can do.
    place : str
        Lines to stand below the sentence and show where in a text it is.
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
