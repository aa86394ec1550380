"""A search log of any size whose truth is known: deterministic by seed, whatever the number of partitions."""
