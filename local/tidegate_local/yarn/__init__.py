"""A real YARN for each cluster: a ResourceManager as its primary, and a NodeManager for each other instance.

Only with `tidegate local up --yarn`. Each daemon listens on a loopback address of its own, which macOS has only one of:
this needs Linux.
"""
