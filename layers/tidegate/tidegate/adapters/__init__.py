"""One file a service: the only place that imports boto3 and knows its error codes."""
