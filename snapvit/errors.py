"""The ways in which work ends early: somebody asked for something impossible, cancelled, or a process was lost."""

import re


class OneSentence(Exception):
    """An error whose message says all that there is to know. IPython shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython and Jupyter show."""
        return [str(self) or type(self).__name__]


class InputError(OneSentence, ValueError):
    """Something given from outside cannot be used. The message is one sentence a user can act on."""


class Lost(OneSentence):
    """One of several processes that make a run together is gone. Everything finished so far is kept."""


class Cancelled(OneSentence):
    """The person who started the work asked for it to stop. Everything finished so far is kept."""


def harmless(text: object, most: int = 100) -> str:
    """Text out of a stranger's file as it may stand in a message: on one line, short, and no markup on a page."""
    return re.sub(r"[^\w .,:;'\"()=+/*@%-]", "?", " ".join(str(text)[: 4 * most].split()))[:most]
