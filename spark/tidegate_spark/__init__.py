"""The Spark job of Tidegate: merges the batches of one work file into their Delta tables.

The story, in the order of the modules: `job` takes a work file and starts a thread for each table;
`batch` merges one batch and answers with its receipt; on the way `changes` turns files into typed rows
(`sources/`, a file a format), `strategies/` plans and runs the merge, `table` and `commit` are all that
knows Delta. `storage` is the only way to files besides Spark's own reading.

It runs from a zip file on EMR's python3.11 and needs pyspark, delta and the standard library alone.
"""
