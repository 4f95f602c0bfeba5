"""How fast it is: every target beside what this machine measures, its baseline in the same run (``make bench``)."""
