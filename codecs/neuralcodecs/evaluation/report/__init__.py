"""One HTML file to look at and listen to results: curves, tables, players, pictures; it opens without a network."""
