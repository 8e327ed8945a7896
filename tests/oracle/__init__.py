"""The judge of every fault test: what was committed, what a consumer read, and whether the two agree.

It reads the broker (or the files), the source database and the checkpoint's position, and never what the connector says of itself.
"""
