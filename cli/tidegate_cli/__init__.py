"""The operator's command: contracts are checked here, and the state of tables and runs is shown."""
