"""Extensions: services beside the pipelines."""
