"""Other tools on the same tables as ours, each in its own environment (``make bench-peers``).

``peer_*.py`` run there, with :mod:`.protocol` and nothing else of ours; the other modules run here.
"""
