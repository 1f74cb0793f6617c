"""``python -m ringback.sessions.ingest.share_process``: one share of a file, imported beside the importer's own.

The work and the store's URL, pickled, come on standard input, whose end means that the importer is gone; the result, or
the error it met, goes out pickled on standard output.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading

from ringback.events import EventStoreError, open_store
from ringback.sessions.capture.pcap import NotACapture
from ringback.sessions.ingest.file_share import FileImport, ShareImport

_STDIN = 0


def main() -> None:
    with open(_STDIN, "rb", closefd=False) as stdin:
        work, store_url = pickle.load(stdin)  # noqa: S301 -- from the importer, our parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result: FileImport | Exception
    try:
        store = open_store(store_url)
        try:
            result = ShareImport(store, work).run()
        finally:
            store.close()
    except (OSError, NotACapture) as error:
        result = error
    except EventStoreError as error:
        result = EventStoreError(str(error))  # an engine's own kinds may not be made from their text alone
    sys.stdout.buffer.write(pickle.dumps(result))
    sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    """What is stored is stored; the next import goes on from there."""
    os.read(_STDIN, 1)  # not sys.stdin: its lock must be free when the interpreter ends
    os._exit(1)


if __name__ == "__main__":
    main()
