"""What a reader without *see personal data* is shown of a session: the same story with its people hidden.

The story is correlated and diagnosed from what was captured, and masked as a whole afterwards, so that every page, document
and export made of it is masked and none can be forgotten.
"""

from ringback.sessions.masking.opened import masked_row, masked_session

__all__ = ["masked_row", "masked_session"]
