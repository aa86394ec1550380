"""What a cluster needs to run prerank without having it installed: code, Python packages, jars, command lines."""
