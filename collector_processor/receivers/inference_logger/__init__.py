"""Inference events of KServe and Seldon: a request and a response, joined and read as predictions."""
