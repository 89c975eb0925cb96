"""Stand-ins that keep to tidegate.ports. The contract suites in tests/adapters run on them and on moto alike."""
