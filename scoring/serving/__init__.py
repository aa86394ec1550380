"""What an online pre-ranker loads: vectors, interactions and towers in formats that other languages read."""
