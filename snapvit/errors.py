"""The two ways in which work ends early: somebody asked for something impossible, or cancelled."""


class InputError(ValueError):
    """Something given from outside cannot be used. The message is one sentence a user can act on."""


class Cancelled(Exception):
    """The person who started the work asked for it to stop. Everything finished so far is kept."""
