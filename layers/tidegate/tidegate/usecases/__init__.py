"""One file a use case: it asks the ports, lets a pure function decide, and carries the decision out."""
