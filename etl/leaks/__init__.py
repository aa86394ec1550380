"""``prerank check --leaks``: a trial of the user's own lake, whether any feature knows what came after its row."""
