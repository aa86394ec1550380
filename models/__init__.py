"""Towers, losses, loader, training and evaluation. torch; never imports pyspark."""
