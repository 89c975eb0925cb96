"""How a keyed merge is carried out: by Spark, which can do everything, or by delta-rs, where that is faster.

`choice` decides, `keyed` carries out; strategies call `keyed.plan_keyed_merge`.
"""
