"""What one can run, one policy a file; tidegate_lab.registry names them."""
