"""What etl and models agree on: names, dates, heads, configuration layering, the export's manifest.

Pure Python. Everything that models may know of etl is here.
"""
