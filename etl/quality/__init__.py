"""Quality gates: one Spark aggregation profiles the days, Great Expectations judges the profile."""
