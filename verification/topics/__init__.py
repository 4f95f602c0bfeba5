"""One file a topic. Each has a ``TOPIC``; the registry finds the file, so that adding it is all there is to do."""
