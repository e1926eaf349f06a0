"""Every error that Cliploom raises on purpose.

    CliploomError
    ├── InputError            the footage or the request is not usable; says what, where and what to do
    ├── RecordError           bytes on a topic that are no record of ours
    ├── SettingsError         a profile, concepts file, flag or environment that cannot work
    ├── NotFound              an id or name that the store does not hold
    ├── Conflict              a name that is taken, or a request that the present state forbids
    ├── ModelUnavailable      weights or a model that are not on this machine
    └── Passing               a fault that a later try may not meet (a child process died)
        └── Unavailable       something that every record needs is away (object store, endpoint, disk full)

A message holds the offending value, what was expected, and the remedy.
"""


class CliploomError(Exception):
    """Root of the tree; never raised itself."""


class InputError(CliploomError):
    """The footage or the request is not usable."""


class RecordError(CliploomError):
    """Bytes on a topic that do not decode to a record of ours."""


class SettingsError(CliploomError):
    """A profile, concepts file, flag or environment that cannot work."""


class NotFound(CliploomError):
    """An id or name that the store does not hold."""


class Conflict(CliploomError):
    """A name that is taken, or a request that the present state forbids."""


class ModelUnavailable(CliploomError):
    """Weights or a model that are not on this machine."""


class Passing(CliploomError):
    """A fault that a later try may not meet."""


class Unavailable(Passing):
    """Something that every record needs is away; no record is to blame."""
