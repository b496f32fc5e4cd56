"""What somebody who means harm sends over HTTP, and what must not come of it.

One gateway serves all cases of a worker, in a thread of its own: what a case leaves behind would
show in the next one. `rig.py` says what is checked after every case.
"""
