"""Contracts: one YAML file a table, checked here and compiled to the JSON that functions and jobs carry.

`model` is the one source: `check` validates with it, `compile` turns it into JSON, `reference` writes its
page and `tidegate tables schema` gives editors its JSON Schema.
"""
