"""The toy receiver."""
